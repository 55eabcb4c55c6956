//! What a person asks for: redriving dead letters, resending events, testing endpoints, cancelling deliveries.

use anyhow::{Context, Result};
use postrider_e2e::{Receiver, Reply, hmac, until};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, answering, last_part, quick, reason, start, text};

/// An endpoint `shop` whose receiver rejects an event, and the dead letter of that.
async fn rejected(api: &Api, receiver: &Receiver) -> Result<(String, Value)> {
    receiver.reply([Reply::status(400)]);
    api.endpoint("shop", &receiver.url("/"), quick(2)).await?;
    let id = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &id).await?;
    Ok((id, letter))
}

#[tokio::test]
async fn a_redrive_that_succeeds_removes_the_dead_letter() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (id, letter) = rejected(&api, &receiver).await?;
    let path = format!("/v1/{}", text(&letter, "name"));
    let got = api.rest.get(&path).await?.ok()?["deadLetter"].clone();
    assert_eq!(got["event"]["data"], json!({ "amount": 1 }));
    assert_eq!(got["event"]["type"], "payment.completed");

    receiver.reply([Reply::status(200)]);
    let answer = api.redrive(&letter).await?.ok()?;
    assert_eq!(last_part(&answer["delivery"]), id);
    let delivery = api.delivery_in("shop", &id, "SUCCEEDED").await?;
    assert_eq!(delivery["attemptCount"], 2);
    until("the dead letter is gone", async || {
        Ok(api.dead_letters("shop").await?.is_empty().then_some(()))
    })
    .await?;
    api.rest.get(&path).await?.expect(404)?;
    api.redrive(&letter).await?.expect(404)?;

    let requests = receiver.wait_for_event(&id, 2).await?;
    assert_eq!((requests[1].attempt(), requests[1].trigger()), (1, "redrive"));
    assert_eq!(requests[1].body, requests[0].body);
    let attempts = api.attempts("shop", &id).await?;
    assert_eq!(text(&attempts[0], "trigger"), "REDRIVE");
    Ok(())
}

#[tokio::test]
async fn a_redrive_that_fails_comes_back_with_its_new_reason_and_count() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (id, letter) = rejected(&api, &receiver).await?;
    assert_eq!(letter["redriveCount"].as_i64().unwrap_or(0), 0);
    receiver.reply([Reply::status(500)]);
    api.redrive(&letter).await?.ok()?;
    // The letter and the attempts that count are read one after the other: an old letter may come with a new count.
    let is_new = |l: &Value| l["redriveCount"] == 1 && text(l, "reason") == "RETRIES_EXHAUSTED";
    let back = api.dead_letter_when("shop", &id, is_new).await?;
    assert_eq!(back["name"], letter["name"], "the same dead letter");
    assert_ne!(back["redriving"], true);
    // A whole new schedule: one rejected attempt, then three of the redrive.
    assert_eq!(back["attemptCount"], 4);
    let seen: Vec<_> = receiver.requests().iter().map(|r| r.attempt()).collect();
    assert_eq!(seen, [1, 1, 2, 3]);
    let triggers: Vec<_> = receiver.requests().iter().map(|r| r.trigger().to_owned()).collect();
    assert_eq!(triggers[1], "redrive");

    // And again, this time with success.
    receiver.reply([Reply::status(200)]);
    api.redrive(&back).await?.ok()?;
    api.delivery_in("shop", &id, "SUCCEEDED").await?;
    Ok(())
}

#[tokio::test]
async fn a_second_redrive_is_refused_while_one_is_under_way() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (id, letter) = rejected(&api, &receiver).await?;
    receiver.reply([Reply::hang()]);
    api.redrive(&letter).await?.ok()?;
    receiver.wait_for_event(&id, 2).await?;
    let refused = api.redrive(&letter).await?.expect(409)?;
    assert_eq!(refused["error"]["status"], "ABORTED");
    assert_eq!(reason(&refused), "REDRIVE_IN_PROGRESS");
    let shown = api.dead_letter("shop", &id).await?;
    assert_eq!(shown["redriving"], true);
    assert_eq!(receiver.count_by_event()[&id], 2);
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_listed_by_endpoint_and_reason_in_pages() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/rejects", [Reply::status(400)]);
    receiver.reply_to("/fails", [Reply::status(500)]);
    api.subscribe("rejects", &receiver.url("/rejects"), quick(0), &["a.*"]).await?;
    api.subscribe("fails", &receiver.url("/fails"), quick(0), &["b.*"]).await?;
    let rejected = api.publish_many("a.one", 3).await?;
    let failed = api.publish("b.one").await?;
    for id in &rejected {
        api.dead_letter("rejects", id).await?;
    }
    api.dead_letter("fails", &failed).await?;

    let list = |query: &str| format!("{TENANT}/endpoints/-/deadLetters?{query}");
    let all = api.rest.get(&list("")).await?.ok()?;
    assert_eq!(all["deadLetters"].as_array().map(Vec::len), Some(4));
    let only = api.rest.get(&list("reason=RETRIES_EXHAUSTED")).await?.ok()?;
    assert_eq!(only["deadLetters"].as_array().map(Vec::len), Some(1));
    assert_eq!(only["deadLetters"][0]["event"]["id"], Value::from(failed));

    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = api.rest.get(&list(&format!("pageSize=1&pageToken={token}"))).await?.ok()?;
        let letters = page["deadLetters"].as_array().context("a page")?;
        seen.extend(letters.iter().map(|letter| text(letter, "name").to_owned()));
        token = text(&page, "nextPageToken").to_owned();
        if token.is_empty() {
            break;
        }
    }
    let names = all["deadLetters"].as_array().context("all")?;
    let names: Vec<_> = names.iter().map(|letter| text(letter, "name").to_owned()).collect();
    assert_eq!(seen, names, "pages give the same in the same order");
    Ok(())
}

#[tokio::test]
async fn an_event_can_be_resent_to_all_or_to_one() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.subscribe("shop", &receiver.url("/shop"), json!({}), &["payment.*"]).await?;
    let id = api.publish("payment.completed").await?;
    api.delivery_in("shop", &id, "SUCCEEDED").await?;

    // An endpoint that was made later, and one that did not subscribe.
    api.subscribe("later", &receiver.url("/later"), json!({}), &["*"]).await?;
    api.subscribe("other", &receiver.url("/other"), json!({}), &["refund.*"]).await?;
    let path = format!("{TENANT}/events/{id}:resend");
    let answer = api.rest.post(&path, json!({})).await?.ok()?;
    assert_eq!(answer["deliveries"].as_array().map(Vec::len), Some(2));
    receiver.wait_for("both", |all| all.len() >= 3).await?;
    let to_shop = receiver.requests_to("/shop");
    assert_eq!((to_shop[1].attempt(), to_shop[1].trigger()), (1, "resend"));
    assert_eq!(to_shop[1].body, to_shop[0].body);
    assert_eq!(receiver.requests_to("/later").len(), 1);

    let one = json!({ "endpoint": "tenants/default/endpoints/other" });
    api.rest.post(&path, one).await?.ok()?;
    receiver.wait_for("the other", |all| all.len() >= 4).await?;
    assert_eq!(receiver.requests_to("/other").len(), 1);
    api.rest.post(&format!("{TENANT}/events/evt_none:resend"), json!({})).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_test_event_goes_to_one_endpoint_at_once_whatever_its_state() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let secret = api.subscribe("shop", &receiver.url("/"), json!({}), &["payment.*"]).await?;
    api.subscribe("other", &receiver.url("/other"), json!({}), &["*"]).await?;
    let answer = api.verb("shop", "test", json!({})).await?.ok()?;
    let id = last_part(&answer["event"]);
    let request = receiver.wait_for_event(&id, 1).await?.remove(0);
    assert_eq!(request.trigger(), "test");
    assert!(hmac::verifies_standard(&secret, &request));
    assert_eq!(request.json()?["type"], "postrider.test");
    api.delivery_in("shop", &id, "SUCCEEDED").await?;

    let own = json!({ "eventType": "payment.tested" });
    let answer = api.verb("shop", "test", own).await?.ok()?;
    let second = receiver.wait_for_event(&last_part(&answer["event"]), 1).await?.remove(0);
    assert_eq!(second.json()?["type"], "payment.tested");

    for state in ["pause", "disable"] {
        api.verb("shop", state, json!({})).await?.ok()?;
        let answer = api.verb("shop", "test", json!({})).await?.ok()?;
        receiver.wait_for_event(&last_part(&answer["event"]), 1).await?;
    }
    assert_eq!(text(&api.get_endpoint("shop").await?, "state"), "DISABLED");
    assert!(receiver.requests_to("/other").is_empty());
    Ok(())
}

#[tokio::test]
async fn a_pending_delivery_can_be_cancelled_and_no_other() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(500).await?;
    api.endpoint("shop", &receiver.url("/"), json!({ "retrySchedule": ["3600s"] })).await?;
    let id = api.publish("payment.completed").await?;
    api.delivery_when("shop", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    let path = format!("{TENANT}/endpoints/shop/deliveries/{id}:cancel");
    api.rest.post(&path, json!({})).await?.ok()?;
    let delivery = api.delivery_in("shop", &id, "CANCELLED").await?;
    assert_eq!(text(&delivery, "nextAttemptTime"), "");
    let refused = api.rest.post(&path, json!({})).await?.expect(400)?;
    assert_eq!(refused["error"]["status"], "FAILED_PRECONDITION");
    assert_eq!(receiver.requests().len(), 1);
    assert!(api.dead_letters("shop").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_redrive_goes_out_although_the_breaker_is_open() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(400)]);
    // The breaker's own next attempt lies beyond the deadline of the scenario.
    api.endpoint("shop", &receiver.url("/"), json!({ "retrySchedule": ["300s"] })).await?;
    let id = api.publish_in_order("payment.completed", 1).await?.remove(0);
    let letter = api.dead_letter("shop", &id).await?;
    receiver.reply([Reply::status(500)]);
    api.publish_in_order("payment.completed", 5).await?;
    let open = |endpoint: &Value| endpoint["health"]["breaker"] == "OPEN";
    api.endpoint_when("shop", "its breaker is open", open).await?;

    receiver.reply([Reply::status(200)]);
    api.redrive(&letter).await?.ok()?;
    let requests = receiver.wait_for_event(&id, 2).await?;
    assert_eq!(requests[1].trigger(), "redrive");
    api.delivery_in("shop", &id, "SUCCEEDED").await?;
    Ok(())
}
