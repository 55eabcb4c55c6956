//! Endpoints that fail: the circuit breaker, disabling, probing, catching up; and those that a person stops (spec §3).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postrider_e2e::{Receiver, Reply, until};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, answering, quick, start, text};

fn is_open(endpoint: &Value) -> bool {
    endpoint["health"]["breaker"] == "OPEN"
}

/// A schedule whose steps lie beyond the deadline of a scenario.
fn slow() -> Value {
    json!({ "retrySchedule": ["300s"] })
}

#[tokio::test]
async fn five_failures_open_the_breaker_and_one_success_flushes_what_waits() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(500).await?;
    let witness = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), slow()).await?;
    api.endpoint("witness", &witness.url("/"), json!({})).await?;
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.extend(api.publish_in_order("payment.completed", 1).await?);
        receiver.wait_for_count(n).await?;
        let counted = move |e: &Value| e["health"]["consecutiveFailures"] == n;
        let endpoint = api.endpoint_when("shop", &format!("{n} failures"), counted).await?;
        assert_eq!(is_open(&endpoint), n == 5, "after {n} failures");
    }
    ids.extend(api.publish_in_order("payment.completed", 10).await?);
    witness.wait_for_count(15).await?;
    let all_wait = |e: &Value| e["health"]["backlogSize"] == 15;
    let endpoint = api.endpoint_when("shop", "15 in the backlog", all_wait).await?;
    assert_eq!(receiver.requests().len(), 5, "an open breaker lets nothing through");
    assert_eq!(text(&endpoint, "state"), "ACTIVE");
    assert_ne!(text(&endpoint["health"], "oldestUndeliveredTime"), "");
    assert_ne!(text(&endpoint["health"], "lastFailureTime"), "");
    let waiting = api.delivery_in("shop", &ids[14], "PENDING").await?;
    assert_eq!(waiting["attemptCount"].as_i64().unwrap_or(0), 0, "waiting uses up no attempts");

    // A change of its headers allows a probe at once; the success closes the breaker.
    receiver.reply([Reply::status(200)]);
    let change = json!({ "headers": { "X-Fixed": "yes" } });
    let path = format!("{TENANT}/endpoints/shop?updateMask=headers");
    api.rest.patch(&path, change).await?.ok()?;
    for id in &ids[5..] {
        let delivery = api.delivery_in("shop", id, "SUCCEEDED").await?;
        assert_eq!(delivery["attemptCount"], 1);
    }
    // Those that failed wait for their own next attempts.
    for id in &ids[..5] {
        let delivery = api.delivery_in("shop", id, "PENDING").await?;
        assert_eq!(delivery["attemptCount"], 1);
    }
    let endpoint = api.endpoint_when("shop", "closed", |e| !is_open(e)).await?;
    assert_eq!(endpoint["health"]["consecutiveFailures"].as_i64().unwrap_or(0), 0);
    assert_ne!(text(&endpoint["health"], "lastSuccessTime"), "");
    assert_eq!(receiver.requests().len(), 15, "each was sent once");
    Ok(())
}

#[tokio::test]
async fn an_open_breaker_tries_by_itself_at_the_pace_of_the_schedule() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let fails = vec![Reply::status(500); 7];
    receiver.reply(fails.into_iter().chain([Reply::status(200)]));
    api.endpoint("shop", &receiver.url("/"), json!({ "retrySchedule": vec!["0.5s"; 9] })).await?;
    let ids = api.publish_many("payment.completed", 5).await?;
    for id in &ids {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
    }
    let endpoint = api.endpoint_when("shop", "closed", |e| !is_open(e)).await?;
    assert_eq!(text(&endpoint, "state"), "ACTIVE");
    // Five that opened it, two that failed one after the other, and the successes.
    assert_eq!(receiver.requests().len(), 12);
    Ok(())
}

#[tokio::test]
async fn a_lone_event_to_a_dead_endpoint_gets_exactly_its_schedule() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(500).await?;
    api.endpoint("shop", &receiver.url("/"), quick(7)).await?;
    let id = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &id).await?;
    assert_eq!(
        (text(&letter, "reason"), &letter["attemptCount"]),
        ("RETRIES_EXHAUSTED", &json!(8))
    );
    assert_eq!(receiver.requests().len(), 8);
    let endpoint = api.endpoint_when("shop", "open", is_open).await?;
    assert_eq!(text(&endpoint, "state"), "ACTIVE");
    Ok(())
}

/// Publishes to a failing endpoint until it is disabled; gives the event that waits.
async fn fail_until_disabled(api: &Api, receiver: &Receiver) -> Result<String> {
    receiver.reply([Reply::status(500)]);
    api.endpoint("shop", &receiver.url("/"), quick(15)).await?;
    let id = api.publish("payment.completed").await?;
    api.endpoint_when("shop", "disabled", |e| e["state"] == "DISABLED").await?;
    Ok(id)
}

#[tokio::test]
async fn ten_failures_disable_and_the_first_success_of_a_probe_activates_and_catches_up()
-> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let witness = answering(200).await?;
    api.endpoint("witness", &witness.url("/"), json!({})).await?;
    let waiting = fail_until_disabled(&api, &receiver).await?;
    let endpoint = api.get_endpoint("shop").await?;
    assert_eq!(text(&endpoint, "stateReason"), "FAILING");
    assert_ne!(text(&endpoint, "stateTime"), "");
    assert_ne!(text(&endpoint, "stateMessage"), "");
    let ten: Vec<_> = receiver.requests().iter().take(10).map(|r| r.attempt()).collect();
    assert_eq!(ten, (1..=10).collect::<Vec<_>>());

    // Probes go on with the oldest waiting delivery and use up no attempts.
    let probes = receiver
        .wait_for("three probes", |all| all.iter().filter(|r| r.trigger() == "probe").count() >= 3)
        .await?;
    for probe in probes.iter().filter(|request| request.trigger() == "probe") {
        assert_eq!((probe.event_id(), probe.attempt()), (waiting.as_str(), 11));
    }
    // New events are skipped: no attempt but a probe goes out.
    let skipped = api.publish_many("payment.skipped", 3).await?;
    witness.wait_for_count(4).await?;
    let n = receiver.requests().len();
    let more = receiver.wait_for_count(n + 3).await?;
    assert!(more[10..].iter().all(|request| request.trigger() == "probe"));
    assert_eq!(text(&api.get_endpoint("shop").await?, "state"), "DISABLED");

    receiver.reply([Reply::status(200)]);
    let active = api.endpoint_when("shop", "active", |e| e["state"] == "ACTIVE").await?;
    assert_eq!(text(&active, "stateReason"), "");
    for id in [&waiting].into_iter().chain(&skipped) {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
        receiver.wait_for_event(id, 1).await?;
    }
    let healthy = |e: &Value| e["health"]["consecutiveFailures"].as_i64().unwrap_or(0) == 0;
    api.endpoint_when("shop", "healthy", healthy).await?;
    let next = api.publish("payment.completed").await?;
    assert_eq!(receiver.wait_for_event(&next, 1).await?[0].trigger(), "event");
    assert!(api.dead_letters("shop").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_fails_is_resumed_by_hand_at_once() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let waiting = fail_until_disabled(&api, &receiver).await?;
    let skipped = api.publish("payment.skipped").await?;
    receiver.reply([Reply::status(200)]);
    api.verb("shop", "resume", json!({})).await?.ok()?;
    for id in [&waiting, &skipped] {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
    }
    assert_eq!(text(&api.get_endpoint("shop").await?, "state"), "ACTIVE");
    Ok(())
}

#[tokio::test]
async fn after_a_410_resuming_catches_up_unless_told_not_to() -> Result<()> {
    for catch_up in [true, false] {
        let (_server, api) = start().await?;
        let receiver = answering(410).await?;
        let witness = answering(200).await?;
        api.endpoint("shop", &receiver.url("/"), quick(3)).await?;
        api.endpoint("witness", &witness.url("/"), json!({})).await?;
        let refused = api.publish("payment.refused").await?;
        let letter = api.dead_letter("shop", &refused).await?;
        api.endpoint_when("shop", "disabled", |e| e["state"] == "DISABLED").await?;
        let skipped = api.publish_many("payment.skipped", 3).await?;
        witness.wait_for_count(4).await?;
        assert_eq!(receiver.requests().len(), 1, "a disabled endpoint gets nothing");

        receiver.reply([Reply::status(200)]);
        let body = if catch_up { json!({}) } else { json!({ "catchUp": false }) };
        api.verb("shop", "resume", body).await?.ok()?;
        let next = api.publish("payment.next").await?;
        receiver.wait_for_event(&next, 1).await?;
        if catch_up {
            for id in &skipped {
                api.delivery_in("shop", id, "SUCCEEDED").await?;
            }
        }
        api.redrive(&letter).await?.ok()?;
        api.delivery_in("shop", &refused, "SUCCEEDED").await?;
        let counts = receiver.count_by_event();
        let caught_up = skipped.iter().filter(|id| counts.contains_key(*id)).count();
        assert_eq!(caught_up, if catch_up { 3 } else { 0 });
        assert!(
            counts.iter().all(|(id, n)| *n == if *id == refused { 2 } else { 1 }),
            "{counts:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_disabled_by_hand_gets_nothing_until_it_is_resumed() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let witness = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    api.endpoint("witness", &witness.url("/"), json!({})).await?;
    api.verb("shop", "disable", json!({})).await?.ok()?;
    let endpoint = api.get_endpoint("shop").await?;
    assert_eq!((text(&endpoint, "state"), text(&endpoint, "stateReason")), ("DISABLED", "BY_HAND"));
    let refused = api.verb("shop", "pause", json!({})).await?.expect(400)?;
    assert_eq!(refused["error"]["status"], "FAILED_PRECONDITION");
    let ids = api.publish_many("payment.completed", 3).await?;
    witness.wait_for_count(3).await?;
    assert!(receiver.requests().is_empty());
    api.verb("shop", "resume", json!({})).await?.ok()?;
    for id in &ids {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
    }
    assert_eq!(receiver.requests().len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_paused_endpoint_keeps_its_backlog_and_gets_it_on_resuming() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let witness = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    api.endpoint("witness", &witness.url("/"), json!({})).await?;
    let paused = api.verb("shop", "pause", json!({})).await?.ok()?;
    assert_eq!(text(&paused["endpoint"], "state"), "PAUSED");
    let ids = api.publish_many("payment.completed", 5).await?;
    witness.wait_for_count(5).await?;
    api.endpoint_when("shop", "5 wait", |e| e["health"]["backlogSize"] == 5).await?;
    assert!(receiver.requests().is_empty());
    api.delivery_in("shop", &ids[0], "PENDING").await?;

    api.verb("shop", "resume", json!({})).await?.ok()?;
    for id in &ids {
        let delivery = api.delivery_in("shop", id, "SUCCEEDED").await?;
        assert_eq!(delivery["attemptCount"], 1);
    }
    let empty = |e: &Value| e["health"]["backlogSize"].as_i64().unwrap_or(0) == 0;
    api.endpoint_when("shop", "nothing waits", empty).await?;
    assert_eq!(receiver.requests().len(), 5);
    Ok(())
}

#[tokio::test]
async fn deleting_cancels_what_is_pending_and_its_successor_inherits_nothing() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/old", [Reply::status(500)]);
    let policy = json!({ "retrySchedule": vec!["0.2s"; 9] });
    api.subscribe("shop", &receiver.url("/old"), policy, &["payment.*"]).await?;
    let old = api.publish("payment.completed").await?;
    receiver.wait_for_event(&old, 2).await?;
    let path = format!("{TENANT}/endpoints/shop");
    api.rest.delete(&path).await?.ok()?;
    let deleted = Instant::now();
    api.rest.get(&path).await?.expect(404)?;

    api.subscribe("shop", &receiver.url("/new"), quick(3), &["payment.*"]).await?;
    let endpoint = api.get_endpoint("shop").await?;
    assert_eq!(endpoint["health"]["consecutiveFailures"].as_i64().unwrap_or(0), 0);
    assert!(api.dead_letters("shop").await?.is_empty());
    let new = api.publish("payment.completed").await?;
    api.delivery_in("shop", &new, "SUCCEEDED").await?;
    // Another endpoint's retry tells that three seconds have passed.
    receiver.reply_to("/clock", [Reply::status(500), Reply::status(200)]);
    let policy = json!({ "retrySchedule": ["3.5s"] });
    api.subscribe("clock", &receiver.url("/clock"), policy, &["clock.tick"]).await?;
    let tick = api.publish("clock.tick").await?;
    receiver.wait_for_event(&tick, 2).await?;

    let late = receiver.requests_to("/old").iter().filter(|r| r.at > deleted).count();
    for request in receiver.requests_to("/old") {
        let after = request.at.saturating_duration_since(deleted);
        ensure!(after <= Duration::from_secs(2), "an attempt {after:?} after the answer");
    }
    assert!(late <= 10);
    let of_new: Vec<_> =
        receiver.requests_to("/new").iter().map(|r| r.event_id().to_owned()).collect();
    assert_eq!(of_new, [new]);
    Ok(())
}

#[tokio::test]
async fn a_slow_endpoint_that_hangs_is_a_failing_one() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::hang()]);
    let policy = json!({ "timeout": "0.1s", "retrySchedule": ["0.1s", "0.1s", "0.1s", "0.1s"] });
    api.endpoint("shop", &receiver.url("/"), policy).await?;
    let id = api.publish("payment.completed").await?;
    api.dead_letter("shop", &id).await?;
    api.endpoint_when("shop", "open", is_open).await?;
    until("its failures are shown", async || {
        Ok((api.get_endpoint("shop").await?["health"]["consecutiveFailures"] == 5).then_some(()))
    })
    .await?;
    Ok(())
}
