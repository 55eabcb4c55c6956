//! Operational events: what a tenant is told of its endpoints, to whoever subscribes to it by name (spec §9).

use anyhow::{Result, ensure};
use postrider_e2e::{Receiver, Reply, Request, until};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, quick, start, text};

/// The operational events of a type that have arrived at a path, as their data.
fn told(receiver: &Receiver, path: &str, event_type: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for request in receiver.requests_to(path) {
        let body: Value = request.json()?;
        if text(&body, "type") == event_type {
            found.push(body["data"].clone());
        }
    }
    Ok(found)
}

async fn first(receiver: &Receiver, path: &str, event_type: &str) -> Result<Value> {
    until(format!("{event_type} at {path}"), async || {
        Ok(told(receiver, path, event_type)?.first().cloned())
    })
    .await
}

#[tokio::test]
async fn whoever_asks_is_told_that_an_endpoint_was_disabled_and_of_its_dead_letters() -> Result<()>
{
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/gone", [Reply::status(410)]);
    api.subscribe("gone", &receiver.url("/gone"), quick(0), &["a.*"]).await?;
    api.subscribe("ops", &receiver.url("/ops"), json!({}), &["postrider.*"]).await?;
    api.subscribe("letters", &receiver.url("/letters"), json!({}), &["postrider.delivery.*"])
        .await?;
    api.endpoint("all", &receiver.url("/all"), json!({})).await?;
    let event = api.publish("a.one").await?;

    let disabled = first(&receiver, "/ops", "postrider.endpoint.disabled").await?;
    assert_eq!(text(&disabled, "endpoint"), "tenants/default/endpoints/gone");
    assert_eq!((text(&disabled, "reason"), &disabled["status"]), ("ANSWER", &json!(410)));
    ensure!(text(&disabled, "time").ends_with('Z') && disabled["count"] == 1, "{disabled}");
    let dead = first(&receiver, "/ops", "postrider.delivery.dead_lettered").await?;
    assert_eq!(text(&dead["event"], "id"), event);
    assert_eq!(text(&dead["event"], "type"), "a.one");
    assert_eq!(text(&dead, "reason"), "endpoint_disabled");
    first(&receiver, "/letters", "postrider.delivery.dead_lettered").await?;
    assert!(told(&receiver, "/letters", "postrider.endpoint.disabled")?.is_empty());

    // `*` is for the tenant's own events.
    let mark = api.publish("b.one").await?;
    api.delivery_in("all", &mark, "SUCCEEDED").await?;
    let to_all: Vec<Request> = receiver.requests_to("/all");
    let ids: Vec<&str> = to_all.iter().map(Request::event_id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_fails_and_works_again_is_told_of_both_times() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/shop", [Reply::status(500)]);
    let schedule = json!({ "retrySchedule": vec!["0.1s"; 15] });
    api.subscribe("shop", &receiver.url("/shop"), schedule, &["a.*"]).await?;
    api.subscribe("ops", &receiver.url("/ops"), json!({}), &["postrider.endpoint.*"]).await?;
    let event = api.publish("a.one").await?;
    let disabled = first(&receiver, "/ops", "postrider.endpoint.disabled").await?;
    assert_eq!(text(&disabled, "reason"), "FAILING");
    api.endpoint_when("shop", "disabled", |e| e["state"] == "DISABLED").await?;

    // A change of its headers allows a probe at once.
    receiver.reply_to("/shop", [Reply::status(200)]);
    let path = format!("{TENANT}/endpoints/shop?updateMask=headers");
    api.rest.patch(&path, json!({ "headers": { "x-fixed": "1" } })).await?.ok()?;
    api.delivery_in("shop", &event, "SUCCEEDED").await?;
    let recovered = first(&receiver, "/ops", "postrider.endpoint.recovered").await?;
    assert_eq!(text(&recovered, "endpoint"), "tenants/default/endpoints/shop");
    Ok(())
}

/// Publishes events of one key: one worker serves them, and so counts them all.
async fn rejected(api: &Api, n: usize) -> Result<()> {
    for id in api.publish_in_order("a.one", n).await? {
        api.dead_letter("shop", &id).await?;
    }
    Ok(())
}

#[tokio::test]
async fn many_dead_letters_are_one_event_a_minute_and_those_of_the_events_themselves_none()
-> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/shop", [Reply::status(400)]);
    receiver.reply_to("/deaf", [Reply::status(400)]);
    api.subscribe("shop", &receiver.url("/shop"), quick(0), &["a.*"]).await?;
    api.subscribe("ops", &receiver.url("/ops"), json!({}), &["postrider.*"]).await?;
    // Refuses what it asked to be told.
    api.subscribe("deaf", &receiver.url("/deaf"), quick(0), &["postrider.*"]).await?;
    rejected(&api, 6).await?;
    first(&receiver, "/ops", "postrider.delivery.dead_lettered").await?;
    until("the dead letter of an operational event", async || {
        Ok((!api.dead_letters("deaf").await?.is_empty()).then_some(()))
    })
    .await?;
    // Once more, so that what might have been told of either is here.
    let mark = api.publish("a.two").await?;
    api.dead_letter("shop", &mark).await?;
    let all = told(&receiver, "/ops", "postrider.delivery.dead_lettered")?;
    ensure!(all.iter().all(|data| text(data, "endpoint").ends_with("/shop")), "{all:?}");
    assert!(all.len() < 3, "one of a minute and worker: {all:?}");
    Ok(())
}
