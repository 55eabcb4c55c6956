//! `/readyz` says what is wrong with a running system, and that it is over.

use anyhow::{Result, ensure};
use postrider_e2e::{Options, Receiver, Reply, Rest, Server, until};
use serde_json::{Value, json};

use crate::metrics::{scrape, sum};
use crate::support::start_with;

/// How long a position may stand still here.
const STALLED_AFTER: &str = "2s";
/// What a stalled shard is told as.
const STALLED: &str = "shards.stalled: ";

/// What each process says of itself.
async fn readiness(server: &Server) -> Result<Vec<(u16, Value)>> {
    let mut said = Vec::new();
    for address in server.addresses() {
        let answer = Rest::new(address).get("/readyz").await?;
        said.push((answer.status.as_u16(), answer.json));
    }
    Ok(said)
}

/// The reasons of all processes that begin so.
fn reasons(said: &[(u16, Value)], beginning: &str) -> Vec<String> {
    let all = said.iter().filter_map(|(_, said)| said["reasons"].as_array()).flatten();
    let all = all.filter_map(Value::as_str).filter(|reason| reason.starts_with(beginning));
    all.map(str::to_owned).collect()
}

/// The sum of a metric over all shards and processes.
async fn metric(server: &Server, name: &str) -> Result<f64> {
    Ok(sum(&scrape(server).await?.1, name, ""))
}

/// A receiver that does not answer holds the position of its event's shard: readiness and metrics name it until the request has ended.
#[tokio::test]
async fn a_shard_that_stands_still_is_named_until_it_moves() -> Result<()> {
    let options = Options::default().env("POSTRIDER_DELIVERY__STALLED_AFTER", STALLED_AFTER);
    let (server, api) = start_with(options).await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::hang()]);
    api.endpoint("slow", &receiver.url("/"), json!({ "timeout": "30s" })).await?;
    ensure!(reasons(&readiness(&server).await?, STALLED).is_empty(), "nothing waits yet");
    api.publish("a.b").await?;

    let said = until("readiness to name the shard", async || {
        let said = readiness(&server).await?;
        Ok((!reasons(&said, STALLED).is_empty()).then_some(said))
    })
    .await?;
    let [reason] = &reasons(&said, STALLED)[..] else { panic!("one worker has it: {said:?}") };
    ensure!(reason.contains("with up to 1 record(s) behind it"), "{reason}");
    for (status, said) in &said {
        ensure!(*status == 200 && said["ready"] == true, "traffic is still wanted: {said}");
    }
    ensure!(metric(&server, "postrider_shards_stalled").await? == 1.0, "one stalled shard");
    ensure!(metric(&server, "postrider_shard_lag_records").await? == 1.0, "one record behind");
    let age = metric(&server, "postrider_shard_lag_seconds").await?;
    ensure!(age >= 2.0, "it has waited for {age} s");
    ensure!(metric(&server, "postrider_deliveries_in_flight").await? == 1.0, "one in flight");
    server.wait_for_log("a shard stands still").await?;

    // The request ends, and its delivery waits in the backlog: the record is handed off.
    drop(receiver);
    until("readiness to have no such reason any more", async || {
        Ok(reasons(&readiness(&server).await?, STALLED).is_empty().then_some(()))
    })
    .await?;
    ensure!(metric(&server, "postrider_shards_stalled").await? == 0.0, "none stalled");
    ensure!(metric(&server, "postrider_shard_lag_records").await? == 0.0, "none behind");
    server.wait_for_log("a shard moves again").await?;
    Ok(())
}
