//! Changes of an endpoint while it is in trouble or under load (spec §3).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postrider_e2e::{Receiver, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Api, TENANT, answering, start};

/// Within this time after the answer of a delete attempts may still start (spec §3).
const DELETED_AFTER: Duration = Duration::from_secs(2);

/// Waits for a retry of another endpoint, due longer after this than owners of shards take to look for commands.
async fn a_while(api: &Api, name: &str) -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500), Reply::status(200)]);
    let policy = json!({ "retrySchedule": ["2.5s"] });
    let event_type = format!("clock.{name}");
    api.subscribe(name, &receiver.url("/"), policy, &[&event_type]).await?;
    let tick = api.publish(&event_type).await?;
    receiver.wait_for_event(&tick, 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_change_while_the_breaker_is_open_lets_one_attempt_out_and_not_one_a_shard() -> Result<()>
{
    let (_server, api) = start().await?;
    let receiver = answering(500).await?;
    let policy = json!({ "retrySchedule": ["300s"] });
    api.subscribe("shop", &receiver.url("/"), policy, &["payment.*"]).await?;
    // Several at once would leave some that do not count, since they were in flight when it opened.
    for n in 1..=5 {
        api.publish("payment.completed").await?;
        let counted = move |e: &Value| e["health"]["consecutiveFailures"] == n;
        api.endpoint_when("shop", &format!("{n} failures"), counted).await?;
    }
    api.publish_many("payment.completed", 30).await?;
    api.endpoint_when("shop", "35 wait", |e| e["health"]["backlogSize"] == 35).await?;
    assert_eq!(receiver.requests().len(), 5);

    api.verb("shop", "rotateSecret", json!({})).await?.ok()?;
    receiver.wait_for_count(6).await?;
    a_while(&api, "first").await?;
    assert_eq!(receiver.requests().len(), 6, "one after the rotation");

    let path = format!("{TENANT}/endpoints/shop?updateMask=url");
    api.rest.patch(&path, json!({ "url": receiver.url("/moved") })).await?.ok()?;
    receiver.wait_for_count(7).await?;
    a_while(&api, "second").await?;
    assert_eq!(receiver.requests().len(), 7, "one after the move");
    assert_eq!(receiver.requests_to("/moved").len(), 1);
    api.endpoint_when("shop", "7 failures", |e| e["health"]["consecutiveFailures"] == 7).await?;
    Ok(())
}

/// Publishes until a time that is yet to be told has passed.
async fn publish_until(
    api: Api,
    mut end: tokio::sync::watch::Receiver<Option<Instant>>,
) -> Result<usize> {
    let mut count = 0;
    while end.borrow_and_update().is_none_or(|end| Instant::now() < end) {
        api.publish("load.sent").await?;
        count += 1;
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_under_load_stops_every_attempt_within_two_seconds() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (ok, fails) = (Reply::status(200), Reply::status(500));
    receiver.reply_to("/shop", (0..50_000).flat_map(|_| [ok.clone(), fails.clone()]));
    let policy = json!({ "retrySchedule": vec!["0.2s"; 20] });
    api.endpoint("shop", &receiver.url("/shop"), policy).await?;
    api.endpoint("witness", &receiver.url("/witness"), json!({})).await?;
    let (end, ends) = tokio::sync::watch::channel(None);
    let mut publishers = JoinSet::new();
    for _ in 0..4 {
        publishers.spawn(publish_until(api.clone(), ends.clone()));
    }
    let is_loaded =
        |all: &[postrider_e2e::Request]| all.iter().filter(|r| r.path == "/shop").count() >= 100;
    receiver.wait_for("a load", is_loaded).await?;
    api.rest.delete(&format!("{TENANT}/endpoints/shop")).await?.ok()?;
    let deleted = Instant::now();
    // The load goes on for as long again as attempts may still start.
    end.send_replace(Some(deleted + 2 * DELETED_AFTER));
    let mut published = 0;
    while let Some(publisher) = publishers.join_next().await {
        published += publisher??;
    }
    receiver
        .wait_for("everything at the witness", |all| {
            all.iter().filter(|r| r.path == "/witness").count() >= published
        })
        .await?;
    for request in receiver.requests_to("/shop") {
        let after = request.at.saturating_duration_since(deleted);
        ensure!(after <= DELETED_AFTER, "an attempt {after:?} after the answer");
    }
    Ok(())
}
