//! Trouble of our own network is nobody's fault (`architecture.md` §6).

use anyhow::{Result, ensure};
use postrider_e2e::{Receiver, until};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, start, text};

const ENDPOINTS: usize = 25;
/// More than the failures that disable an endpoint.
const EVENTS: usize = 12;
/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// Whether readiness tells of the network.
async fn is_degraded(api: &Api) -> Result<bool> {
    let answer = api.rest.get("/readyz").await?;
    let reasons = answer.json["reasons"].as_array().cloned().unwrap_or_default();
    Ok(reasons.iter().any(|r| r.as_str().is_some_and(|r| r.starts_with("egress.degraded"))))
}

async fn deliveries(api: &Api, endpoint: &str) -> Result<Vec<Value>> {
    let path = format!("{TENANT}/endpoints/{endpoint}/deliveries?pageSize=100");
    let list = api.rest.get(&path).await?.ok()?;
    Ok(list["deliveries"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn endpoints_that_all_refuse_connections_are_our_own_trouble_and_none_is_disabled()
-> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    api.endpoint("healthy", &receiver.url("/healthy"), json!({})).await?;
    ensure!(!is_degraded(&api).await?);
    let ids: Vec<String> = (0..ENDPOINTS).map(|n| format!("e{n}")).collect();
    for id in &ids {
        api.endpoint(id, NOWHERE, json!({ "retrySchedule": vec!["2s"; 20] })).await?;
    }
    api.publish("payment.completed").await?;
    until("readiness tells", async || Ok(is_degraded(&api).await?.then_some(()))).await?;
    api.publish_many("payment.completed", EVENTS - 1).await?;
    let tried = |d: &Value| d["attemptCount"].as_i64().unwrap_or(0) > 0;
    for id in &ids {
        until(format!("{id} was tried with each event"), async || {
            let all = deliveries(&api, id).await?;
            Ok((all.len() == EVENTS && all.iter().all(tried)).then_some(()))
        })
        .await?;
    }
    receiver.wait_for_count(EVENTS).await?;
    for id in &ids {
        assert_eq!(text(&api.get_endpoint(id).await?, "state"), "ACTIVE", "{id}");
    }
    ensure!(is_degraded(&api).await?, "it lasts");

    for id in &ids {
        let path = format!("{TENANT}/endpoints/{id}?updateMask=url");
        let url = receiver.url(&format!("/{id}"));
        api.rest.patch(&path, json!({ "url": url })).await?.ok()?;
    }
    until("readiness is whole again", async || Ok((!is_degraded(&api).await?).then_some(())))
        .await?;
    for id in &ids {
        until(format!("{id} got everything"), async || {
            let all = deliveries(&api, id).await?;
            let done = |d: &Value| text(d, "state") == "SUCCEEDED";
            Ok((all.len() == EVENTS && all.iter().all(done)).then_some(()))
        })
        .await?;
        let endpoint = api.get_endpoint(id).await?;
        assert_eq!(text(&endpoint, "state"), "ACTIVE");
    }
    assert_eq!(receiver.requests().len(), EVENTS * (ENDPOINTS + 1), "each was delivered once");
    Ok(())
}
