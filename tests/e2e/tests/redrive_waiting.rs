//! Redrives that wait: for a place, for their retry, over a restart; and what ends them meanwhile.

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Receiver, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Api, TENANT, answering, last_part, start, text};

/// A policy that lets one request go out at a time, and whose retries lie beyond the deadline of a scenario.
fn one_at_a_time() -> Value {
    json!({ "retrySchedule": ["3600s"], "maxConcurrency": 1 })
}

/// An endpoint `shop` with so many dead letters, in the order of their events.
async fn with_letters(
    api: &Api,
    receiver: &Receiver,
    policy: Value,
    count: usize,
) -> Result<(Vec<String>, Vec<Value>)> {
    receiver.reply([Reply::status(400)]);
    api.endpoint("shop", &receiver.url("/"), policy).await?;
    let ids = api.publish_in_order("payment.completed", count).await?;
    let mut letters = Vec::new();
    for id in &ids {
        letters.push(api.dead_letter("shop", id).await?);
    }
    Ok((ids, letters))
}

/// Redrives the first letter, which the receiver never answers: the others find no place.
async fn take_the_place(api: &Api, receiver: &Receiver, id: &str, letter: &Value) -> Result<()> {
    receiver.reply([Reply::hang()]);
    api.redrive(letter).await?.ok()?;
    receiver.wait_for_event(id, 2).await?;
    Ok(())
}

async fn make_room(api: &Api) -> Result<()> {
    let path = format!("{TENANT}/endpoints/shop?updateMask=delivery.maxConcurrency");
    api.rest.patch(&path, json!({ "delivery": { "maxConcurrency": 16 } })).await?.ok()?;
    Ok(())
}

async fn cancel(api: &Api, id: &str) -> Result<()> {
    let path = format!("{TENANT}/endpoints/shop/deliveries/{id}:cancel");
    let answer = api.rest.post(&path, json!({})).await?.ok()?;
    assert_eq!(text(&answer["delivery"], "state"), "CANCELLED");
    let delivery = api.delivery_in("shop", id, "CANCELLED").await?;
    assert_eq!(text(&delivery, "nextAttemptTime"), "");
    Ok(())
}

/// Waits until the letter of an event is listed and no redrive holds it.
async fn back(api: &Api, id: &str) -> Result<Value> {
    api.dead_letter_when("shop", id, |letter| letter["redriving"] != true).await
}

async fn redrive_succeeds(api: &Api, id: &str, letter: &Value) -> Result<()> {
    api.redrive(letter).await?.ok()?;
    api.delivery_in("shop", id, "SUCCEEDED").await?;
    gone(api, id).await
}

async fn gone(api: &Api, id: &str) -> Result<()> {
    postrider_e2e::until(format!("the dead letter of {id} is gone"), async || {
        let all = api.dead_letters("shop").await?;
        let is_listed = all.iter().any(|letter| text(&letter["event"], "id") == id);
        Ok((!is_listed).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_redrive_cancelled_before_its_first_attempt_is_listed_and_redrivable_again() -> Result<()>
{
    for paused in [false, true] {
        let (_server, api) = start().await?;
        let receiver = Receiver::start().await?;
        let (ids, letters) = with_letters(&api, &receiver, one_at_a_time(), 2).await?;
        take_the_place(&api, &receiver, &ids[0], &letters[0]).await?;
        if paused {
            api.verb("shop", "pause", json!({})).await?.ok()?;
        }
        api.redrive(&letters[1]).await?.ok()?;
        api.dead_letter_when("shop", &ids[1], |letter| letter["redriving"] == true).await?;
        cancel(&api, &ids[1]).await?;
        let letter = back(&api, &ids[1]).await?;
        assert_eq!(letter["name"], letters[1]["name"]);
        assert_eq!(letter["attemptCount"], 1);
        assert_eq!(receiver.count_by_event()[&ids[1]], 1, "it was never sent");

        receiver.reply([Reply::status(200)]);
        make_room(&api).await?;
        redrive_succeeds(&api, &ids[1], &letter).await?;
        assert_eq!(receiver.count_by_event()[&ids[1]], 2, "the cancelled one stays away");
    }
    Ok(())
}

#[tokio::test]
async fn a_redrive_cancelled_while_it_waits_for_its_retry_is_redrivable_again() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (ids, letters) = with_letters(&api, &receiver, one_at_a_time(), 1).await?;
    receiver.reply([Reply::status(500)]);
    api.redrive(&letters[0]).await?.ok()?;
    api.delivery_when("shop", &ids[0], "a failed redrive", |d| d["attemptCount"] == 2).await?;
    cancel(&api, &ids[0]).await?;
    let letter = back(&api, &ids[0]).await?;
    assert_eq!(letter["name"], letters[0]["name"]);

    receiver.reply([Reply::status(200)]);
    redrive_succeeds(&api, &ids[0], &letter).await?;
    assert_eq!(receiver.requests().len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_burst_of_redrives_to_a_dead_endpoint_does_not_disable_it() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (ids, letters) = with_letters(&api, &receiver, one_at_a_time(), 40).await?;
    receiver.reply([Reply::status(500)]);
    let mut calls = JoinSet::new();
    for letter in letters {
        let api = api.clone();
        calls.spawn(async move { api.redrive(&letter).await?.ok() });
    }
    while let Some(call) = calls.join_next().await {
        call??;
    }
    for id in &ids {
        api.delivery_when("shop", id, "a failed redrive", |d| d["attemptCount"] == 2).await?;
    }
    let open = |e: &Value| e["health"]["breaker"] == "OPEN";
    let endpoint = api.endpoint_when("shop", "open", open).await?;
    assert_eq!(text(&endpoint, "state"), "ACTIVE");
    let failures = endpoint["health"]["consecutiveFailures"].as_i64();
    assert!(failures.is_some_and(|n| n < 10), "{failures:?}");
    assert_eq!(receiver.requests().len(), 80, "each went out once");
    Ok(())
}

#[tokio::test]
async fn redrives_that_wait_when_the_endpoint_is_disabled_by_hand_end_as_dead_letters() -> Result<()>
{
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (ids, letters) = with_letters(&api, &receiver, one_at_a_time(), 4).await?;
    take_the_place(&api, &receiver, &ids[0], &letters[0]).await?;
    for letter in &letters[1..] {
        api.redrive(letter).await?.ok()?;
    }
    receiver.reply([Reply::status(200)]);
    api.verb("shop", "disable", json!({})).await?.ok()?;
    let mut ended = Vec::new();
    for id in &ids[1..] {
        let letter = back(&api, id).await?;
        assert_eq!(text(&letter, "reason"), "ENDPOINT_DISABLED");
        assert_eq!(letter["attemptCount"], 1, "it was never sent");
        api.delivery_in("shop", id, "DEAD_LETTERED").await?;
        ended.push(letter);
    }
    let refused = api.redrive(&ended[0]).await?.expect(400)?;
    assert_eq!(refused["error"]["status"], "FAILED_PRECONDITION");
    make_room(&api).await?;
    let test = last_part(&api.verb("shop", "test", json!({})).await?.ok()?["event"]);
    receiver.wait_for_event(&test, 1).await?;
    assert_eq!(receiver.requests().len(), 6, "nothing but the test");

    api.verb("shop", "resume", json!({})).await?.ok()?;
    for (id, letter) in ids[1..].iter().zip(&ended) {
        redrive_succeeds(&api, id, letter).await?;
    }
    Ok(())
}

#[tokio::test]
async fn redrives_that_meet_a_410_end_as_dead_letters_and_one_request_goes_out() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (ids, letters) = with_letters(&api, &receiver, one_at_a_time(), 8).await?;
    receiver.reply([Reply::status(410)]);
    let mut calls = JoinSet::new();
    for letter in letters {
        let api = api.clone();
        calls.spawn(async move { api.redrive(&letter).await });
    }
    let mut accepted = 0;
    while let Some(call) = calls.join_next().await {
        let answer = call??;
        // Those that came too late are refused.
        match answer.status.as_u16() {
            200 => accepted += 1,
            _ => ensure!(answer.expect(400)?["error"]["status"] == "FAILED_PRECONDITION"),
        }
    }
    ensure!(accepted > 0, "one at least was taken");
    api.endpoint_when("shop", "disabled", |e| e["state"] == "DISABLED").await?;
    let mut disabled = 0;
    for id in &ids {
        let letter = back(&api, id).await?;
        disabled += usize::from(text(&letter, "reason") == "ENDPOINT_DISABLED");
    }
    assert_eq!(disabled, accepted, "those that were refused are as they were");
    assert_eq!(receiver.requests().len(), 9, "one at a time, and the first one's answer ends all");
    Ok(())
}

#[tokio::test]
async fn a_redrives_retry_waits_at_a_paused_endpoint_over_a_restart_and_goes_out_on_resuming()
-> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let witness = answering(200).await?;
    let policy = json!({ "retrySchedule": ["0.1s"] });
    let (ids, letters) = with_letters(&api, &receiver, policy, 1).await?;
    receiver.reply([Reply::status(500)]);
    api.verb("shop", "pause", json!({})).await?.ok()?;
    // What a person asks for goes out at once, its retry does not.
    api.redrive(&letters[0]).await?.ok()?;
    api.delivery_when("shop", &ids[0], "a failed redrive", |d| d["attemptCount"] == 2).await?;
    api.endpoint("witness", &witness.url("/"), json!({})).await?;

    let server = server.kill().await?.start().await?;
    let api = Api::of(&server);
    receiver.reply([Reply::status(200)]);
    let event = api.publish("payment.completed").await?;
    witness.wait_for_event(&event, 1).await?;
    assert_eq!(receiver.requests().len(), 2, "it waits");
    api.verb("shop", "resume", json!({})).await?.ok()?;
    let requests = receiver.wait_for_event(&ids[0], 3).await?;
    assert_eq!((requests[2].attempt(), requests[2].trigger()), (2, "retry"));
    gone(&api, &ids[0]).await
}

#[tokio::test]
async fn a_redrive_that_waits_for_its_place_goes_out_after_a_restart_also_when_paused() -> Result<()>
{
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (ids, letters) = with_letters(&api, &receiver, one_at_a_time(), 3).await?;
    take_the_place(&api, &receiver, &ids[0], &letters[0]).await?;
    for letter in &letters[1..] {
        api.redrive(letter).await?.ok()?;
    }
    api.verb("shop", "pause", json!({})).await?.ok()?;
    assert_eq!(receiver.requests().len(), 4, "the others wait");

    receiver.reply([Reply::status(200)]);
    let server = server.kill().await?.start().await?;
    let api = Api::of(&server);
    for id in &ids {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
        gone(&api, id).await?;
    }
    let last = receiver.requests();
    let last = last.last().context("a request")?;
    assert_eq!((last.attempt(), last.trigger()), (1, "redrive"));
    // The first one was under way when the process died, and the kill cut its answer off.
    assert_eq!(receiver.requests().len(), 7);
    assert_eq!(text(&api.get_endpoint("shop").await?, "state"), "PAUSED");
    Ok(())
}
