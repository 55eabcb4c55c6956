//! Ending and starting again: everything is found, one process a directory, no silent loss, a clean end.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Options, Receiver, Reply, Stopped, hmac};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, answering, quick, start, start_with, text};

#[tokio::test]
async fn a_restart_finds_everything_also_what_waits() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/fails", [Reply::status(500)]);
    receiver.reply_to("/rejects", [Reply::status(400)]);
    let secret = api.endpoint("ok", &receiver.url("/ok"), json!({})).await?;
    let slow = json!({ "retrySchedule": ["2s"] });
    api.endpoint("fails", &receiver.url("/fails"), slow).await?;
    api.endpoint("rejects", &receiver.url("/rejects"), quick(0)).await?;
    api.endpoint("paused", &receiver.url("/paused"), json!({})).await?;
    api.verb("paused", "pause", json!({})).await?.ok()?;
    let event = json!({ "type": "a.b", "data": { "n": 1 }, "idempotencyKey": "once" });
    let id = text(&api.publish_event(event.clone()).await?, "id").to_owned();
    api.delivery_in("ok", &id, "SUCCEEDED").await?;
    let letter = api.dead_letter("rejects", &id).await?;
    api.delivery_when("fails", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    let endpoints = api.rest.get(&format!("{TENANT}/endpoints")).await?.ok()?;

    receiver.reply_to("/fails", [Reply::status(200)]);
    let server = server.terminate().await?.start().await?;
    let api = Api::of(&server);
    let found = api.rest.get(&format!("{TENANT}/endpoints")).await?.ok()?;
    for (before, after) in array(&endpoints, "endpoints").iter().zip(array(&found, "endpoints")) {
        for field in ["name", "uid", "url", "state", "delivery", "secrets", "createTime", "etag"] {
            assert_eq!(after[field], before[field], "{field} of {}", before["name"]);
        }
    }
    let again = api.publish_event(event).await?;
    assert_eq!((&again["id"], &again["duplicate"]), (&json!(id), &json!(true)));
    assert_eq!(api.dead_letter("rejects", &id).await?["name"], letter["name"]);
    assert_eq!(api.attempts("ok", &id).await?.len(), 1);

    // The pending retry comes, and what was paused waits on.
    let retried = api.delivery_in("fails", &id, "SUCCEEDED").await?;
    assert_eq!(retried["attemptCount"], 2);
    api.verb("paused", "resume", json!({})).await?.ok()?;
    api.delivery_in("paused", &id, "SUCCEEDED").await?;
    // The secret is the same, and old events are not sent again.
    let next = api.publish("c.d").await?;
    receiver
        .wait_for("the next event", |all| all.iter().filter(|r| r.event_id() == next).count() == 4)
        .await?;
    let to_ok = receiver.requests_to("/ok");
    assert_eq!(to_ok.len(), 2);
    assert!(to_ok.iter().all(|request| hmac::verifies_standard(&secret, request)));
    Ok(())
}

fn array(value: &Value, field: &str) -> Vec<Value> {
    value[field].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_open_breaker_and_a_disabled_endpoint_stay_so_over_a_restart() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply_to("/fails", [Reply::status(500)]);
    receiver.reply_to("/gone", [Reply::status(410)]);
    let slow = json!({ "retrySchedule": ["300s"] });
    api.subscribe("fails", &receiver.url("/fails"), slow, &["a.*"]).await?;
    api.subscribe("gone", &receiver.url("/gone"), quick(3), &["b.*"]).await?;
    api.publish_in_order("a.one", 5).await?;
    api.publish("b.one").await?;
    let open = |e: &Value| e["health"]["breaker"] == "OPEN";
    // What is shown is durable; the rest of a lane's row follows within a second.
    let shown = |e: &Value| open(e) && e["health"]["backlogSize"] == 5;
    api.endpoint_when("fails", "open, and 5 wait", shown).await?;
    api.endpoint_when("gone", "disabled", |e| e["state"] == "DISABLED").await?;

    let server = server.kill().await?.start().await?;
    let api = Api::of(&server);
    let endpoint = api.get_endpoint("fails").await?;
    assert_eq!((open(&endpoint), &endpoint["health"]["consecutiveFailures"]), (true, &json!(5)));
    assert_eq!(text(&api.get_endpoint("gone").await?, "state"), "DISABLED");
    let skipped = api.publish("b.two").await?;
    api.publish_in_order("a.two", 1).await?;
    api.endpoint_when("fails", "6 wait", |e| e["health"]["backlogSize"] == 6).await?;
    assert_eq!(receiver.requests_to("/fails").len(), 5);
    receiver.reply([Reply::status(200)]);
    receiver.reply_to("/gone", [Reply::status(200)]);
    api.verb("gone", "resume", json!({})).await?.ok()?;
    api.delivery_in("gone", &skipped, "SUCCEEDED").await?;
    Ok(())
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() -> Result<()> {
    let (server, api) = start_with(Options::default().embedded_log()).await?;
    let dir = server.data_dir().to_str().context("a path in UTF-8")?.to_owned();
    let cli = server.cli()?;
    let second = cli.run(&["dev", "--listen", "127.0.0.1:0", "--data-dir", &dir]).await?;
    assert_eq!(second.code, 1, "{}{}", second.stdout, second.stderr);
    for word in [dir.as_str(), "in use", "--data-dir"] {
        ensure!(second.stderr.contains(word), "`{word}` is not in: {}", second.stderr);
    }
    ensure!(!second.stdout.contains("ready"), "{}", second.stdout);
    // The first one is not harmed.
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let id = api.publish("payment.completed").await?;
    receiver.wait_for_event(&id, 1).await?;
    Ok(())
}

/// Starts once with some data, and gives the directory after a clean end.
async fn ended() -> Result<Stopped> {
    let (server, api) = start_with(Options::default().embedded_log()).await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let id = api.publish("payment.completed").await?;
    api.delivery_in("shop", &id, "SUCCEEDED").await?;
    server.terminate().await
}

/// Damages the data and asserts that the next start refuses, names the file, and changes nothing more.
async fn assert_refused_after(
    damage: impl FnOnce(&Path) -> Result<()>,
    words: &[&str],
) -> Result<()> {
    let stopped = ended().await?;
    damage(stopped.data_dir())?;
    let files = |dir: &Path| -> Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".db") {
                files.push((name, entry.metadata()?.len()));
            }
        }
        files.sort_unstable();
        Ok(files)
    };
    let before = files(stopped.data_dir())?;
    let said = stopped.refuses().await?;
    for word in words {
        ensure!(said.contains(word), "`{word}` is not in: {said}");
    }
    assert_eq!(files(stopped.data_dir())?, before, "no file was made, removed or emptied");
    Ok(())
}

#[tokio::test]
async fn a_damaged_file_is_named_and_never_replaced() -> Result<()> {
    for file in ["log.db", "store.db"] {
        let damage = |dir: &Path| {
            let path = dir.join(file);
            let mut bytes = fs::read(&path)?;
            bytes.iter_mut().take(4_096).for_each(|byte| *byte = b'x');
            Ok(fs::write(path, bytes)?)
        };
        assert_refused_after(damage, &[file, "backup"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_or_missing_file_is_named_and_never_replaced() -> Result<()> {
    for file in ["log.db", "store.db"] {
        let empty = |dir: &Path| Ok(fs::write(dir.join(file), "")?);
        assert_refused_after(empty, &[file]).await?;
        let remove = |dir: &Path| Ok(fs::remove_file(dir.join(file))?);
        assert_refused_after(remove, &[file, "missing"]).await?;
    }
    Ok(())
}

/// Kills a server that has acknowledged something, damages what it left, and asserts that the next start refuses.
async fn assert_refused_after_a_kill(
    file: &str,
    damage: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let (server, api) = start_with(Options::default().embedded_log()).await?;
    api.endpoint("shop", "http://127.0.0.1:9/", json!({})).await?;
    api.publish("payment.completed").await?;
    let stopped = server.kill().await?;
    let wal = format!("{file}-wal");
    damage(&stopped.data_dir().join(&wal))?;
    let said = stopped.refuses().await?;
    for word in [wal.as_str(), "backup", "remove", &format!("{file}-open")] {
        ensure!(said.contains(word), "`{word}` is not in: {said}");
    }
    ensure!(!said.contains("postrider ready"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_wal_that_is_lost_or_damaged_after_a_kill_is_named_and_never_replaced() -> Result<()> {
    for file in ["log.db", "store.db"] {
        assert_refused_after_a_kill(file, |wal| Ok(fs::remove_file(wal)?)).await?;
        let overwrite = |wal: &Path| {
            let mut bytes = fs::read(wal)?;
            bytes.iter_mut().take(4_096).for_each(|byte| *byte = 0);
            Ok(fs::write(wal, bytes)?)
        };
        assert_refused_after_a_kill(file, overwrite).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_damaged_in_the_middle_is_named_before_ready() -> Result<()> {
    for file in ["log.db", "store.db"] {
        let damage = |dir: &Path| {
            let path = dir.join(file);
            let mut bytes = fs::read(&path)?;
            bytes.iter_mut().skip(16_384).for_each(|byte| *byte = 0xee);
            Ok(fs::write(path, bytes)?)
        };
        assert_refused_after(damage, &[file, "cannot be used", "backup"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_key_file_is_named_and_never_replaced() -> Result<()> {
    let remove = |dir: &Path| Ok(fs::remove_file(dir.join("keys"))?);
    assert_refused_after(remove, &["keys"]).await
}

#[tokio::test]
async fn sigterm_lets_what_is_in_flight_finish_and_exits_0() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(200).after(std::time::Duration::from_millis(800))]);
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let ids = api.publish_many("payment.completed", 3).await?;
    receiver.wait_for_count(3).await?;
    // Ends with 0, or the harness complains.
    let server = server.terminate().await?.start().await?;
    let api = Api::of(&server);
    for id in &ids {
        let delivery = api.delivery_in("shop", id, "SUCCEEDED").await?;
        assert_eq!(delivery["attemptCount"], 1);
    }
    let next = api.publish("payment.completed").await?;
    receiver.wait_for_event(&next, 1).await?;
    assert_eq!(receiver.requests().len(), 4, "nothing is sent twice after a clean end");
    Ok(())
}

#[tokio::test]
async fn an_idle_process_ends_with_0() -> Result<()> {
    for signal in ["TERM", "INT"] {
        let (server, api) = start().await?;
        api.rest.get("/readyz").await?.ok()?;
        server.end_with(signal).await?;
    }
    Ok(())
}
