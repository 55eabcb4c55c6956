//! The main job over the command line: tables for people, JSON for programs, exit codes.

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Cli, Output, Receiver, Reply, hmac, until};
use serde_json::Value;

use crate::support::{answering, last_part, start, text};

async fn json(cli: &Cli, args: &[&str]) -> Result<Value> {
    let args: Vec<_> = args.iter().copied().chain(["-o", "json"]).collect();
    cli.run(&args).await?.json().with_context(|| args.join(" "))
}

/// Waits until a list, read as JSON, has a first item that looks as wanted.
async fn first_of(
    cli: &Cli,
    args: &[&str],
    list: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    until(args.join(" "), async || {
        let first = json(cli, args).await?[list][0].clone();
        Ok((!first.is_null() && wanted(&first)).then_some(first))
    })
    .await
}

#[tokio::test]
async fn the_main_job_works_over_the_command_line() -> Result<()> {
    let (server, _) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(400).body("no thanks")]);
    let cli = server.cli()?;
    let url = receiver.url("/hook");
    let create = ["endpoint", "create", &url, "--id", "shop", "--event", "payment.*"];
    let policy =
        ["--retry-schedule", "100ms,200ms", "--timeout", "5s", "--header", "X-Shop: north"];
    let made = json(&cli, &[&create[..], &policy[..]].concat()).await?;
    let secret = made["secret"]["key"].as_str().context("the secret")?;
    assert_eq!(made["endpoint"]["delivery"]["retrySchedule"], serde_json::json!(["0.1s", "0.2s"]));

    let publish = ["event", "publish", "payment.completed", "--data", r#"{"amount": 12}"#];
    let published = json(&cli, &publish).await?;
    let event = text(&published["results"][0], "id").to_owned();
    let request = receiver.wait_for_event(&event, 1).await?.remove(0);
    assert!(hmac::verifies_standard(secret, &request));
    assert_eq!(request.header("x-shop"), "north");

    let list = ["dead-letter", "list", "--endpoint", "shop"];
    let letter = first_of(&cli, &list, "deadLetters", |_| true).await?;
    let letter_id = last_part(&letter["name"]);
    assert_eq!(text(&letter, "reason"), "REJECTED");
    let shown = cli.run(&list).await?.ok()?;
    for word in ["ID", "REASON", "REJECTED", &event, "shop"] {
        ensure!(shown.contains(word), "{word} is not in the table:\n{shown}");
    }

    receiver.reply([Reply::status(200)]);
    cli.run(&["dead-letter", "redrive", &letter_id]).await?.ok()?;
    let deliveries = ["delivery", "list", "--event", &event];
    first_of(&cli, &deliveries, "deliveries", |d| d["state"] == "SUCCEEDED").await?;
    let attempts = json(&cli, &["attempt", "list", &event]).await?;
    let triggers: Vec<_> =
        attempts["attempts"].as_array().into_iter().flatten().map(|a| text(a, "trigger")).collect();
    assert_eq!(triggers, ["REDRIVE", "EVENT"]);
    let table = cli.run(&["attempt", "list", &event, "--endpoint", "shop"]).await?.ok()?;
    ensure!(table.contains("REDRIVE") && table.contains("no thanks"), "{table}");
    let none = cli.run(&list).await?;
    assert_eq!((none.code, none.stdout.trim()), (0, ""));
    Ok(())
}

#[tokio::test]
async fn endpoints_and_subscriptions_are_managed_over_the_command_line() -> Result<()> {
    let (server, _) = start().await?;
    let receiver = answering(200).await?;
    let cli = server.cli()?;
    let url = receiver.url("/");
    let ok = async |args: &[&str]| cli.run(args).await?.ok().with_context(|| args.join(" "));
    let made = cli.run(&["endpoint", "create", &url, "--id", "shop"]).await?;
    ensure!(made.stdout.contains("whsec_"), "the secret is shown: {}", made.stdout);
    ensure!(made.stderr.contains("subscription"), "a hint on standard error: {}", made.stderr);
    made.ok()?;
    ok(&["subscription", "create", "shop", "--id", "all", "--event", "*"]).await?;
    ok(&["subscription", "update", "shop", "all", "--event", "payment.*"]).await?;
    let subscriptions = json(&cli, &["subscription", "list", "shop"]).await?;
    assert_eq!(subscriptions["subscriptions"][0]["eventTypes"][0], "payment.*");

    ok(&["endpoint", "update", "shop", "--display-name", "Shop"]).await?;
    for (verb, state) in
        [("pause", "PAUSED"), ("resume", "ACTIVE"), ("disable", "DISABLED"), ("resume", "ACTIVE")]
    {
        ok(&["endpoint", verb, "shop"]).await?;
        let got = json(&cli, &["endpoint", "get", "shop"]).await?;
        assert_eq!(
            (&got["endpoint"]["state"], &got["endpoint"]["displayName"]),
            (&state.into(), &"Shop".into())
        );
    }
    let rotated =
        json(&cli, &["endpoint", "rotate-secret", "shop", "--grace-period", "1h"]).await?;
    assert_eq!(rotated["endpoint"]["secrets"].as_array().map(Vec::len), Some(2));
    let tested = ok(&["endpoint", "test", "shop"]).await?;
    ensure!(tested.contains("SUCCEEDED"), "{tested}");
    let stats = ok(&["endpoint", "stats", "shop"]).await?;
    ensure!(stats.contains("Backlog"), "{stats}");
    let table = ok(&["endpoint", "list"]).await?;
    ensure!(table.lines().count() == 2 && table.starts_with("ID"), "{table}");

    ok(&["subscription", "delete", "shop", "all"]).await?;
    ok(&["endpoint", "delete", "shop"]).await?;
    let listed = json(&cli, &["endpoint", "list"]).await?;
    assert_eq!(listed["endpoints"].as_array().map_or(0, Vec::len), 0);
    Ok(())
}

#[tokio::test]
async fn events_come_from_files_and_standard_input_and_are_resent() -> Result<()> {
    let (server, _) = start().await?;
    let receiver = answering(200).await?;
    let cli = server.cli()?;
    cli.run(&[
        "endpoint",
        "create",
        &receiver.url("/"),
        "--id",
        "shop",
        "--event",
        "*",
        "--format",
        "raw",
    ])
    .await?
    .ok()?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), r#"{"from": "a file"}"#)?;
    let at = format!("@{}", file.path().display());
    cli.run(&["event", "publish", "a.b", "--data", &at, "--id", "from-file"]).await?.ok()?;
    let publish = ["event", "publish", "a.b", "--data", "-", "--id", "from-stdin"];
    cli.run_with_input(&publish, br#"{"from": "stdin"}"#).await?.ok()?;
    for (id, body) in
        [("from-file", r#"{"from": "a file"}"#), ("from-stdin", r#"{"from": "stdin"}"#)]
    {
        let request = receiver.wait_for_event(id, 1).await?.remove(0);
        assert_eq!(String::from_utf8_lossy(&request.body), body);
    }
    let again =
        json(&cli, &["event", "publish", "a.b", "--data", &at, "--id", "from-file"]).await?;
    assert_eq!(again["results"][0]["duplicate"], true);
    cli.run(&["event", "resend", "from-file", "--endpoint", "shop"]).await?.ok()?;
    receiver.wait_for_event("from-file", 2).await?;
    let got = cli.run(&["event", "get", "from-file"]).await?.ok()?;
    ensure!(got.contains("a file"), "{got}");
    let listed = json(&cli, &["event", "list"]).await?;
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(2));
    Ok(())
}

fn assert_fails(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    ensure!(output.code == code, "{} instead of {code}: {}", output.code, output.stderr);
    ensure!(output.stdout.is_empty(), "nothing on standard output: {}", output.stdout);
    for word in words {
        ensure!(output.stderr.contains(word), "`{word}` is not in: {}", output.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn failures_end_with_1_and_wrong_usage_with_2() -> Result<()> {
    let (server, _) = start().await?;
    let cli = server.cli()?;
    let failed = cli.run(&["endpoint", "get", "nobody"]).await?;
    assert_fails(&failed, 1, &["error:", "nobody", "does not exist", "hint:", "endpoint list"])?;
    let failed = cli.run(&["endpoint", "create", "ftp://example.com"]).await?;
    assert_fails(&failed, 1, &["endpoint.url"])?;
    let failed = cli.run(&["event", "publish", "not a type", "--data", "1"]).await?;
    assert_fails(&failed, 1, &["events[0].type"])?;
    let failed = cli.run(&["event", "publish", "a.b", "--data", "{"]).await?;
    assert_fails(&failed, 1, &["events[0].data"])?;
    for usage in [
        &["endpoint"][..],
        &["endpoint", "create"],
        &["endpoint", "create", "http://127.0.0.1:9", "--colour", "red"],
        &["endpoint", "create", "http://127.0.0.1:9", "--retry-schedule", "soon"],
        &["endpoint", "create", "http://127.0.0.1:9", "--header", "no colon"],
        &["event", "publish", "a.b"],
        &["dead-letter", "redrive"],
        &["nonsense"],
        &["endpoint", "list", "-o", "xml"],
    ] {
        let output = cli.run(usage).await?;
        assert_fails(&output, 2, &[]).with_context(|| usage.join(" "))?;
        ensure!(!output.stderr.is_empty(), "{usage:?} says what is wrong");
    }
    let failed = cli.run(&["--server", "http://127.0.0.1:1", "endpoint", "list"]).await?;
    assert_fails(&failed, 1, &["no server at http://127.0.0.1:1", "postrider dev"])?;
    let listed = json(&cli, &["endpoint", "list"]).await?;
    assert_eq!(listed["endpoints"].as_array().map_or(0, Vec::len), 0, "nothing was made");
    Ok(())
}

#[tokio::test]
async fn a_failed_test_ends_with_1_and_shows_the_attempt() -> Result<()> {
    let (server, _) = start().await?;
    let receiver = answering(500).await?;
    let cli = server.cli()?;
    cli.run(&["endpoint", "create", &receiver.url("/"), "--id", "shop"]).await?.ok()?;
    let tested = cli.run(&["endpoint", "test", "shop"]).await?;
    assert_eq!(tested.code, 1);
    ensure!(tested.stdout.contains("500"), "{}", tested.stdout);
    Ok(())
}

#[tokio::test]
async fn what_was_signed_is_verified_without_a_server() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    let secret = api.endpoint("shop", &receiver.url("/"), serde_json::json!({})).await?;
    api.publish("payment.completed").await?;
    let request = receiver.wait_for_count(1).await?.remove(0);
    let cli = server.cli()?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &request.body)?;
    let body = format!("@{}", file.path().display());
    let headers: Vec<String> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .iter()
        .map(|name| format!("{name}: {}", request.header(name)))
        .collect();
    let mut args = vec!["verify", "--secret", &secret, "--body", &body];
    for header in &headers {
        args.extend(["--header", header.as_str()]);
    }
    let verified = cli.run(&args).await?;
    ensure!(verified.code == 0, "{}{}", verified.stdout, verified.stderr);
    std::fs::write(file.path(), "another body")?;
    assert_eq!(cli.run(&args).await?.code, 1);
    Ok(())
}
