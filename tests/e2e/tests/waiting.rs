//! Deliveries that wait are seen where their endpoint's deliveries are listed.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{TENANT, answering, start, text};

fn ids(list: &Value) -> Vec<String> {
    let all = list["deliveries"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|delivery| text(delivery, "name").rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_paused_endpoint_lists_what_waits() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let before = api.publish("a.one").await?;
    api.delivery_in("shop", &before, "SUCCEEDED").await?;
    api.verb("shop", "pause", json!({})).await?.ok()?;
    api.endpoint_when("shop", "paused", |e| e["state"] == "PAUSED").await?;
    let held = api.publish_many("a.two", 3).await?;
    api.endpoint_when("shop", "3 wait", |e| e["health"]["backlogSize"] == 3).await?;

    let path = format!("{TENANT}/endpoints/shop/deliveries");
    let list = api.rest.get(&path).await?.ok()?;
    let (mut listed, mut expected) = (ids(&list), held.clone());
    assert_eq!(listed.last(), Some(&before), "what had an attempt comes behind what waits");
    listed.pop();
    // Three shards may hold them, and they are due within milliseconds of each other.
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    assert!(
        list["deliveries"]
            .as_array()
            .into_iter()
            .flatten()
            .take(3)
            .all(|d| { text(d, "state") == "PENDING" && d["attemptCount"] == 0 })
    );

    // Page by page it is the same list.
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = api.rest.get(&format!("{path}?pageSize=1&pageToken={token}")).await?.ok()?;
        paged.extend(ids(&page));
        text(&page, "nextPageToken").clone_into(&mut token);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, ids(&list));

    // Once they are delivered, each is there once.
    api.verb("shop", "resume", json!({})).await?.ok()?;
    for id in &held {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
    }
    let list = api.rest.get(&path).await?.ok()?;
    let mut listed = ids(&list);
    listed.sort();
    let mut all = held;
    all.push(before);
    all.sort();
    assert_eq!(listed, all);
    Ok(())
}
