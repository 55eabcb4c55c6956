//! Jobs: replays, and redrives and purges of many dead letters, also across a kill.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Receiver, Reply, until};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, quick, reason, report, start, text, wrong_fields};

/// Long before the first event of any scenario.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// Events of a replay, killed half-way; a hundred thousand in the long form.
const EVENTS: usize = 3_000;
const EVENTS_LONG: usize = 100_000;

async fn replay(api: &Api, endpoint: &str, mut body: Value) -> Result<String> {
    if body["startTime"].is_null() {
        body["startTime"] = json!(LONG_AGO);
    }
    let answer = api.verb(endpoint, "replay", body).await?.ok()?;
    Ok(text(&answer["job"], "name").to_owned())
}

async fn job(api: &Api, name: &str) -> Result<Value> {
    Ok(api.rest.get(&format!("/v1/{name}")).await?.ok()?["job"].clone())
}

async fn ended(api: &Api, name: &str) -> Result<Value> {
    let mut seen = -1;
    loop {
        let job = until("the job goes on", async || {
            let job = job(api, name).await?;
            let went_on = has_ended(&job) || count(&job, "doneCount") > seen;
            Ok(went_on.then_some(job))
        })
        .await?;
        if has_ended(&job) {
            return Ok(job);
        }
        seen = count(&job, "doneCount");
    }
}

fn has_ended(job: &Value) -> bool {
    !matches!(text(job, "state"), "QUEUED" | "RUNNING")
}

fn count(job: &Value, field: &str) -> i64 {
    job[field].as_i64().unwrap_or(0)
}

/// Publishes in batches; gives the ids in their order.
async fn publish(api: &Api, event_type: &str, n: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    while ids.len() < n {
        let size = (n - ids.len()).min(500);
        let events: Vec<Value> = (0..size)
            .map(|i| json!({ "type": event_type, "data": { "n": ids.len() + i } }))
            .collect();
        let answer = api.publish_all(json!(events)).await?.ok()?;
        let results = answer["results"].as_array().cloned().unwrap_or_default();
        ids.extend(results.iter().map(|result| text(result, "id").to_owned()));
    }
    Ok(ids)
}

#[tokio::test]
async fn a_replay_delivers_a_range_to_an_endpoint_that_came_later() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    api.endpoint("witness", &receiver.url("/witness"), json!({})).await?;
    let early = publish(&api, "payment.completed", 5).await?;
    publish(&api, "order.made", 5).await?;
    api.subscribe("late", &receiver.url("/late"), json!({}), &["payment.*", "refund.*"]).await?;
    let name = replay(&api, "late", json!({})).await?;
    let done = ended(&api, &name).await?;
    assert_eq!(text(&done, "state"), "SUCCEEDED", "{done}");
    assert_eq!((count(&done, "lookedAtCount"), count(&done, "doneCount")), (10, 5));
    assert_eq!(text(&done["replay"], "endpoint"), "tenants/default/endpoints/late");
    let requests = receiver.requests_to("/late");
    let got: BTreeSet<String> = receiver.count_by_event().into_keys().collect();
    ensure!(early.iter().all(|id| got.contains(id)));
    assert_eq!(requests.len(), 5, "what its subscriptions match, once");
    assert!(requests.iter().all(|request| request.trigger() == "replay"));
    let attempts = api.attempts("late", &early[0]).await?;
    assert_eq!(text(&attempts[0], "trigger"), "REPLAY");
    assert_eq!(text(&api.delivery_in("late", &early[0], "SUCCEEDED").await?, "state"), "SUCCEEDED");

    // Again, and only some of it: whether it was delivered before does not matter.
    let name = replay(&api, "late", json!({ "eventTypes": ["refund.*"] })).await?;
    assert_eq!(count(&ended(&api, &name).await?, "doneCount"), 0);
    let name = replay(&api, "late", json!({ "eventTypes": ["payment.completed"] })).await?;
    assert_eq!(count(&ended(&api, &name).await?, "doneCount"), 5);
    assert_eq!(receiver.requests_to("/late").len(), 10);

    let listed = api.rest.get(&format!("{TENANT}/jobs?pageSize=2")).await?.ok()?;
    let jobs = listed["jobs"].as_array().cloned().unwrap_or_default();
    assert_eq!((jobs.len(), text(&jobs[0], "name")), (2, name.as_str()), "newest first");
    let token = text(&listed, "nextPageToken");
    let rest = api.rest.get(&format!("{TENANT}/jobs?pageSize=2&pageToken={token}")).await?.ok()?;
    assert_eq!(rest["jobs"].as_array().map_or(0, Vec::len), 1);
    Ok(())
}

#[tokio::test]
async fn a_replay_goes_at_the_endpoints_pace_and_ends_when_it_is_cancelled() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    api.endpoint("witness", &receiver.url("/witness"), json!({})).await?;
    publish(&api, "a.b", 2_000).await?;
    api.endpoint("paused", &receiver.url("/paused"), json!({})).await?;
    api.verb("paused", "pause", json!({})).await?.ok()?;
    let name = replay(&api, "paused", json!({})).await?;
    let waits = until("the job waits for its endpoint", async || {
        let job = job(&api, &name).await?;
        let endpoint = api.get_endpoint("paused").await?;
        let waiting = endpoint["health"]["backlogSize"].as_i64().unwrap_or(0);
        Ok((waiting > 500 && waiting == count(&job, "doneCount")).then_some(waiting))
    })
    .await?;
    ensure!(waits <= 1_000, "{waits} wait ahead of live traffic");
    let cancelled = api.rest.post(&format!("/v1/{name}:cancel"), json!({})).await?.ok()?;
    assert_eq!(text(&cancelled["job"], "state"), "CANCELLED");
    let again = api.rest.post(&format!("/v1/{name}:cancel"), json!({})).await?.expect(400)?;
    assert_eq!(reason(&again), "JOB_ENDED");
    api.verb("paused", "resume", json!({})).await?.ok()?;
    until("what was started is delivered", async || {
        let endpoint = api.get_endpoint("paused").await?;
        let waiting = endpoint["health"]["backlogSize"].as_i64().unwrap_or(0);
        Ok((waiting == 0).then_some(()))
    })
    .await?;
    let done = job(&api, &name).await?;
    assert_eq!(text(&done, "state"), "CANCELLED");
    let sent = receiver.requests_to("/paused").len();
    ensure!(sent <= 1_000, "{sent} of 2000 were delivered");
    Ok(())
}

#[tokio::test]
async fn a_replay_that_is_killed_half_way_ends_complete_beside_live_traffic() -> Result<()> {
    let n = if std::env::var_os("POSTRIDER_LONG").is_some() { EVENTS_LONG } else { EVENTS };
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    // Nobody gets them when they are published.
    let ids = publish(&api, "a.b", n).await?;
    api.endpoint("late", &receiver.url("/late"), json!({})).await?;
    api.subscribe("live", &receiver.url("/live"), json!({}), &["live.*"]).await?;
    let name = replay(&api, "late", json!({})).await?;
    until("a third is done", async || {
        Ok((receiver.requests_to("/late").len() > n / 3).then_some(()))
    })
    .await?;
    let server = server.kill().await?.start().await?;
    let api = Api::of(&server);
    let before = receiver.requests_to("/late").len();
    ensure!(before < n, "the kill came too late: {before}");
    let live = publish(&api, "live.one", 20).await?;
    for id in &live {
        api.delivery_in("live", id, "SUCCEEDED").await?;
    }
    let done = ended(&api, &name).await?;
    assert_eq!(text(&done, "state"), "SUCCEEDED", "{done}");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for request in receiver.requests_to("/late") {
        *seen.entry(request.event_id().to_owned()).or_default() += 1;
    }
    let missing = ids.iter().filter(|id| !seen.contains_key(*id)).count();
    assert_eq!(missing, 0, "of {n}");
    let twice = seen.values().filter(|times| **times > 1).count();
    report(&format!(
        "replay: {n} events, killed after {before}, {twice} twice, live ones of the endpoint included"
    ));
    Ok(())
}

#[tokio::test]
async fn many_dead_letters_are_redriven_and_purged_by_filter() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/rejects", [Reply::status(400)]);
    receiver.reply_to("/fails", [Reply::status(500)]);
    api.endpoint("rejects", &receiver.url("/rejects"), quick(0)).await?;
    api.endpoint("fails", &receiver.url("/fails"), quick(0)).await?;
    let ids = publish(&api, "a.b", 3).await?;
    for id in &ids {
        api.dead_letter("rejects", id).await?;
        api.dead_letter("fails", id).await?;
    }
    receiver.reply_to("/rejects", [Reply::status(200)]);
    receiver.reply_to("/fails", [Reply::status(200)]);
    let cli = server.cli()?;
    let all = ["dead-letter", "redrive", "--all", "--reason", "rejected", "-o", "json"];
    let done = cli.run(&all).await?.json()?["job"].clone();
    assert_eq!((text(&done, "state"), count(&done, "doneCount")), ("SUCCEEDED", 3), "{done}");
    assert_eq!(text(&done["redrive"], "reason"), "REJECTED");
    for id in &ids {
        api.delivery_in("rejects", id, "SUCCEEDED").await?;
    }
    until("the dead letters are gone", async || {
        Ok(api.dead_letters("rejects").await?.is_empty().then_some(()))
    })
    .await?;
    assert_eq!(api.dead_letters("fails").await?.len(), 3, "another reason");

    let purge = ["dead-letter", "purge", "--older-than", "0s", "--endpoint", "fails"];
    let shown = cli.run(&purge).await?.ok()?;
    ensure!(shown.contains("SUCCEEDED") && shown.contains("purge"), "{shown}");
    assert!(api.dead_letters("fails").await?.is_empty());
    assert_eq!(
        text(&api.delivery_in("fails", &ids[0], "DEAD_LETTERED").await?, "state"),
        "DEAD_LETTERED"
    );
    assert_eq!(receiver.requests_to("/fails").len(), 3, "nothing of them was sent again");
    let listed = cli.run(&["job", "list"]).await?.ok()?;
    ensure!(listed.contains("redrive") && listed.contains("purge"), "{listed}");
    Ok(())
}

#[tokio::test]
async fn a_redrive_of_many_that_fails_again_comes_back_once() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(400)]);
    api.endpoint("shop", &receiver.url("/"), quick(0)).await?;
    let ids = publish(&api, "a.b", 4).await?;
    for id in &ids {
        api.dead_letter("shop", id).await?;
    }
    let path = format!("{TENANT}/endpoints/shop/deadLetters:redrive");
    let request = json!({ "requestId": "5f0c2a4e-3b1d-4c6f-9a7e-2d8b1c0e4f63" });
    let made = api.rest.post(&path, request.clone()).await?.ok()?["job"].clone();
    let again = api.rest.post(&path, request).await?.ok()?["job"].clone();
    assert_eq!(made["name"], again["name"], "the same request makes one job");
    let done = ended(&api, text(&made, "name")).await?;
    assert_eq!((text(&done, "state"), count(&done, "doneCount")), ("SUCCEEDED", 4), "{done}");
    for id in &ids {
        api.dead_letter_when("shop", id, |letter| letter["redriveCount"] == 1).await?;
    }
    assert_eq!(receiver.count(), 8, "those that came back are not taken up again");
    Ok(())
}

#[tokio::test]
async fn a_job_of_an_endpoint_that_is_deleted_fails_and_says_why() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    publish(&api, "a.b", 1_500).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    api.verb("shop", "pause", json!({})).await?.ok()?;
    let name = replay(&api, "shop", json!({})).await?;
    until("it has begun", async || {
        Ok((count(&job(&api, &name).await?, "doneCount") > 0).then_some(()))
    })
    .await?;
    api.rest.delete(&format!("{TENANT}/endpoints/shop")).await?.ok()?;
    let done = ended(&api, &name).await?;
    assert_eq!(text(&done, "state"), "FAILED", "{done}");
    ensure!(text(&done, "error").contains("deleted"), "{done}");
    Ok(())
}

#[tokio::test]
async fn bad_jobs_are_refused_and_nothing_is_made() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    for (body, field) in [
        (json!({}), "startTime"),
        (json!({ "startTime": "2100-01-01T00:00:00Z" }), "startTime"),
        (json!({ "startTime": LONG_AGO, "endTime": LONG_AGO }), "endTime"),
        (json!({ "startTime": LONG_AGO, "eventTypes": ["a b"] }), "eventTypes[0]"),
        (json!({ "startTime": LONG_AGO, "eventTypes": vec!["a.b"; 101] }), "eventTypes"),
    ] {
        let refused = api.verb("shop", "replay", body).await?.expect(400)?;
        assert_eq!(wrong_fields(&refused), [field], "{refused}");
    }
    api.verb("nobody", "replay", json!({ "startTime": LONG_AGO })).await?.expect(404)?;
    for (path, body) in [
        ("deadLetters:redrive", json!({ "reason": 77 })),
        ("deadLetters:purge", json!({ "startTime": "2100-01-01T00:00:00Z" })),
    ] {
        let path = format!("{TENANT}/endpoints/shop/{path}");
        api.rest.post(&path, body).await?.expect(400).context(path)?;
    }
    api.rest.get(&format!("{TENANT}/jobs/0000")).await?.expect(400)?;
    let nothing = format!("{TENANT}/jobs/{:032x}", 7);
    api.rest.get(&nothing).await?.expect(404)?;
    api.verb("shop", "disable", json!({})).await?.ok()?;
    let refused =
        api.verb("shop", "replay", json!({ "startTime": LONG_AGO })).await?.expect(400)?;
    assert_eq!(refused["error"]["status"], "FAILED_PRECONDITION");
    let cli = server.cli()?;
    let failed = cli.run(&["replay", "nobody", "--from", "1h"]).await?;
    assert_eq!(failed.code, 1);
    let usage = cli.run(&["replay", "shop"]).await?;
    assert_eq!(usage.code, 2);
    let listed = api.rest.get(&format!("{TENANT}/jobs")).await?.ok()?;
    assert!(listed["jobs"].as_array().is_none_or(Vec::is_empty), "{listed}");
    Ok(())
}
