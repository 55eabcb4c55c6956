//! Reading over the command line: the same JSON as REST, and what is looked at one by one.

use anyhow::{Context, Result, ensure};
use postrider_e2e::Reply;
use serde_json::{Value, json};

use crate::support::{TENANT, answering, last_part, quick, start};

#[tokio::test]
async fn json_is_what_rest_answers() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    let cli = server.cli()?;
    let as_json = async |args: &[&str]| -> Result<Value> {
        let args = [args, &["-o", "json"]].concat();
        cli.run(&args).await?.json().with_context(|| args.join(" "))
    };
    // Empty lists first: what is not there is where the two could differ.
    let empty = as_json(&["dead-letter", "list"]).await?;
    assert_eq!(empty, json!({ "deadLetters": [] }));
    api.endpoint("shop", &receiver.url("/"), quick(0)).await?;
    api.verb("shop", "pause", json!({})).await?.ok()?;
    let publish = ["event", "publish", "a.b", "--id", "e1", "--data", r#"{"n": 1.0, "a": []}"#];
    let published = as_json(&publish).await?;
    assert_eq!(published, json!({ "results": [{ "id": "e1", "duplicate": false }] }));
    api.endpoint_when("shop", "1 waits", |e| e["health"]["backlogSize"] == 1).await?;
    let shop = format!("{TENANT}/endpoints/shop");
    for (args, path) in [
        (&["endpoint", "list"][..], format!("{TENANT}/endpoints")),
        (&["endpoint", "get", "shop"], shop.clone()),
        (&["subscription", "list", "shop"], format!("{shop}/subscriptions")),
        (&["event", "list"], format!("{TENANT}/events")),
        (&["event", "get", "e1"], format!("{TENANT}/events/e1")),
        (&["delivery", "list", "--endpoint", "shop"], format!("{shop}/deliveries")),
        (&["delivery", "get", "e1", "--endpoint", "shop"], format!("{shop}/deliveries/e1")),
        (
            &["attempt", "list", "e1", "--endpoint", "shop"],
            format!("{shop}/deliveries/e1/attempts"),
        ),
        (&["dead-letter", "list", "--endpoint", "shop"], format!("{shop}/deadLetters")),
    ] {
        assert_eq!(as_json(args).await?, api.rest.get(&path).await?.ok()?, "{args:?}");
    }
    let yaml = cli.run(&["dead-letter", "list", "-o", "yaml"]).await?.ok()?;
    assert_eq!(yaml.trim(), "deadLetters: []");
    Ok(())
}

#[tokio::test]
async fn deliveries_and_dead_letters_are_read_cancelled_and_found_by_time() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(500).await?;
    let slow = json!({ "retrySchedule": ["3600s"] });
    api.endpoint("shop", &receiver.url("/"), slow).await?;
    let cli = server.cli()?;
    let id = api.publish("a.b").await?;
    api.delivery_when("shop", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    let get = cli.run(&["delivery", "get", &id, "--endpoint", "shop"]).await?.ok()?;
    ensure!(get.contains("PENDING") && get.contains("500"), "{get}");
    cli.run(&["delivery", "cancel", &id, "--endpoint", "shop"]).await?.ok()?;
    api.delivery_in("shop", &id, "CANCELLED").await?;
    let again = cli.run(&["delivery", "cancel", &id, "--endpoint", "shop"]).await?;
    ensure!(again.code == 1 && again.stderr.contains("CANCELLED"), "{}", again.stderr);

    receiver.reply([Reply::status(400)]);
    let rejected = api.publish("a.c").await?;
    let letter = last_part(&api.dead_letter("shop", &rejected).await?["name"]);
    for which in [&[letter.as_str()][..], &[letter.as_str(), "--endpoint", "shop"]] {
        let args = [&["dead-letter", "get"], which].concat();
        let shown = cli.run(&args).await?.ok()?;
        ensure!(shown.contains("REJECTED") && shown.contains("\"amount\""), "{shown}");
    }
    let unknown = cli.run(&["dead-letter", "get", "nobody"]).await?;
    ensure!(unknown.code == 1 && unknown.stderr.contains("dead-letter list"), "{}", unknown.stderr);

    for (range, count) in [
        (&["--since", "1h"][..], 1),
        (&["--since", "2020-01-01T00:00:00Z"], 1),
        (&["--until", "1h"], 0),
        (&["--since", "2h", "--until", "1h"], 0),
        (&["--since", "1h", "--reason", "expired"], 0),
    ] {
        let args = [&["dead-letter", "list", "-o", "json"], range].concat();
        let found = cli.run(&args).await?.json()?;
        assert_eq!(found["deadLetters"].as_array().map(Vec::len), Some(count), "{range:?}");
    }
    let wrong = cli.run(&["dead-letter", "list", "--since", "yesterday"]).await?;
    ensure!(wrong.code == 2 && wrong.stderr.contains("yesterday"), "{}", wrong.stderr);
    Ok(())
}
