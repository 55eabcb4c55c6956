//! Ordering by key (DL-6): one delivery of a key at a time, in the order of publishing; one that fails holds back its key alone.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Options, Receiver, Reply, Request, Server};
use serde_json::{Value, json};

use crate::kill::Chance;
use crate::support::{Api, TENANT, report, start, start_with, text};

/// A policy with the ordering and this schedule.
fn by_key(schedule: &[&str]) -> Value {
    json!({ "ordering": "BY_KEY", "retrySchedule": schedule })
}

/// Publishes an event of a key in a call of its own, and returns its id.
async fn publish(api: &Api, key: &str, id: &str) -> Result<String> {
    let event = json!({ "type": "a.b", "id": id, "orderingKey": key, "data": { "key": key } });
    let result = api.publish_event(event).await?;
    Ok(text(&result, "id").to_owned())
}

async fn publish_all(api: &Api, key: &str, ids: &[&str]) -> Result<()> {
    for id in ids {
        publish(api, key, id).await?;
    }
    Ok(())
}

async fn cancel(api: &Api, endpoint: &str, event: &str) -> Result<Value> {
    let path = format!("{TENANT}/endpoints/{endpoint}/deliveries/{event}:cancel");
    api.rest.post(&path, json!({})).await?.ok()
}

fn ids_of(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(Request::event_id).collect()
}

/// The requests of each key, as the numbers of its events: they never go back.
fn check_order(requests: &[Request]) -> Result<BTreeMap<String, usize>> {
    let mut last: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for request in requests {
        let (key, number) = request.event_id().rsplit_once('-').context("key and number")?;
        let number: usize = number.parse()?;
        let known = last.entry(key.to_owned()).or_default();
        ensure!(known.0 <= number, "{} came after {}", request.event_id(), known.1);
        *known = (number, request.event_id().to_owned());
    }
    Ok(last.into_iter().map(|(key, (number, _))| (key, number)).collect())
}

#[tokio::test]
async fn a_key_that_fails_waits_alone_and_goes_on_in_order() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500), Reply::status(200)]);
    api.endpoint("shop", &receiver.url("/"), by_key(&["600s"])).await?;
    publish(&api, "a", "a-1").await?;
    api.delivery_when("shop", "a-1", "failed once", |d| d["attemptCount"] == 1).await?;
    publish_all(&api, "a", &["a-2", "a-3"]).await?;
    publish_all(&api, "b", &["b-1", "b-2"]).await?;
    // One without a key waits for nobody.
    let free = api.publish("a.b").await?;
    for id in ["b-1", "b-2", free.as_str()] {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
    }
    api.endpoint_when("shop", "a waits", |e| e["health"]["backlogSize"] == 3).await?;
    let shown = api.get_endpoint("shop").await?;
    assert_eq!(text(&shown["delivery"], "ordering"), "BY_KEY");
    let before = receiver.requests();
    ensure!(ids_of(&before).iter().all(|id| !["a-2", "a-3"].contains(id)), "a waits: {before:?}");

    cancel(&api, "shop", "a-1").await?;
    api.delivery_in("shop", "a-3", "SUCCEEDED").await?;
    let after = receiver.requests();
    assert_eq!(ids_of(&after[before.len()..]), ["a-2", "a-3"]);
    Ok(())
}

#[tokio::test]
async fn a_key_waits_on_over_a_kill_and_goes_on_behind_its_dead_letter() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500)]);
    api.endpoint("shop", &receiver.url("/"), by_key(&["5s"])).await?;
    publish(&api, "a", "a-1").await?;
    api.delivery_when("shop", "a-1", "failed once", |d| d["attemptCount"] == 1).await?;
    publish_all(&api, "a", &["a-2", "a-3"]).await?;

    let server = server.kill().await?.start().await?;
    let api = Api::of(&server);
    publish_all(&api, "a", &["a-4"]).await?;
    api.dead_letter("shop", "a-1").await?;
    receiver.reply([Reply::status(200)]);
    api.delivery_in("shop", "a-4", "SUCCEEDED").await?;
    let requests = receiver.requests();
    check_order(&requests)?;
    let firsts: Vec<_> = requests.iter().filter(|r| r.attempt() == 1).cloned().collect();
    assert_eq!(ids_of(&firsts), ["a-1", "a-2", "a-3", "a-4"], "each begins once");

    // A person's redrive waits for nobody.
    let letter = api.dead_letter("shop", "a-1").await?;
    api.redrive(&letter).await?.ok()?;
    api.delivery_in("shop", "a-1", "SUCCEEDED").await?;
    Ok(())
}

#[tokio::test]
async fn what_waited_at_a_paused_endpoint_comes_in_order_and_so_does_what_was_skipped() -> Result<()>
{
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(200).after(Duration::from_millis(2))]);
    api.endpoint("shop", &receiver.url("/"), by_key(&["0.1s", "0.1s"])).await?;
    let keys = ["a", "b", "c"];
    let mut next = 1;
    let mut some = async |api: &Api, rounds: usize| -> Result<usize> {
        for _ in 0..rounds {
            for key in keys {
                publish(api, key, &format!("{key}-{next}")).await?;
            }
            next += 1;
        }
        Ok(next - 1)
    };
    some(&api, 5).await?;
    api.verb("shop", "pause", json!({})).await?.ok()?;
    api.endpoint_when("shop", "paused", |e| e["state"] == "PAUSED").await?;
    some(&api, 40).await?;
    api.verb("shop", "resume", json!({})).await?.ok()?;
    some(&api, 20).await?;
    // Disabled, it skips; what was skipped comes before what is published after the resume.
    api.verb("shop", "disable", json!({})).await?.ok()?;
    some(&api, 20).await?;
    api.verb("shop", "resume", json!({})).await?.ok()?;
    let last = some(&api, 20).await?;
    for key in keys {
        api.delivery_in("shop", &format!("{key}-{last}"), "SUCCEEDED").await?;
    }
    let requests = receiver.requests();
    let ends = check_order(&requests)?;
    ensure!(ends.values().all(|end| *end == last), "{ends:?}");
    assert_eq!(receiver.count_by_event().len(), keys.len() * last, "nothing was left out");
    Ok(())
}

/// Publishes rounds of all keys, one event a key and round.
async fn publish_rounds(api: &Api, keys: usize, rounds: std::ops::Range<usize>) -> Result<()> {
    for round in rounds {
        let events: Vec<Value> = (0..keys)
            .map(|key| {
                json!({ "type": "a.b", "id": format!("k{key}-{round}"), "data": round,
                        "orderingKey": format!("k{key}") })
            })
            .collect();
        api.publish_all(json!(events)).await?.ok()?;
    }
    Ok(())
}

#[tokio::test]
async fn every_key_keeps_its_order_over_failures_and_kills() -> Result<()> {
    const KEYS: usize = 8;
    const ROUNDS: usize = 20;
    const KILLS: usize = 3;
    let receiver = Receiver::start().await?;
    // A mix in which no five failures follow each other: the breaker stays closed.
    let mut chance = Chance(7);
    let replies = (0..4_000).map(|n| {
        let fails = n % 3 == 0 && chance.below(3) > 0;
        let delay = Duration::from_millis(chance.below(12) as u64);
        Reply::status(if fails { 503 } else { 200 }).after(delay)
    });
    receiver.reply(replies);
    let (mut server, mut api): (Server, Api) = start_with(Options::default()).await?;
    api.endpoint("shop", &receiver.url("/"), by_key(&["0.1s"; 12])).await?;
    for kill in 0..=KILLS {
        publish_rounds(&api, KEYS, kill * ROUNDS..(kill + 1) * ROUNDS).await?;
        if kill < KILLS {
            server = server.kill().await?.start().await?;
            api = Api::of(&server);
        }
    }
    let last = (KILLS + 1) * ROUNDS - 1;
    for key in 0..KEYS {
        api.delivery_in("shop", &format!("k{key}-{last}"), "SUCCEEDED").await?;
    }
    let requests = receiver.requests();
    check_order(&requests)?;
    let counts = receiver.count_by_event();
    assert_eq!(counts.len(), KEYS * (last + 1), "nothing was left out");
    let retried = requests.iter().filter(|request| request.attempt() > 1).count();
    ensure!(retried > 0, "some failed");
    report(&format!(
        "by key: {} events of {KEYS} keys, {} requests, {retried} retries, {KILLS} kills: in order",
        counts.len(),
        requests.len()
    ));
    Ok(())
}
