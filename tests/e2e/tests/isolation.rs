//! One dead endpoint among twenty under load hurts none of the others (DL-5).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Receiver, Reply};
use serde_json::json;
use tokio::time::interval;

use crate::support::{TENANT, report, start};

const ENDPOINTS: usize = 20;
const BATCHES: usize = 80;
const BATCH: usize = 2;
/// The pace of the load, 50 events a second: below what two busy cores do, so that queues are nobody's but the dead one's.
const EVERY: Duration = Duration::from_millis(40);

/// Publishes a load to twenty endpoints; gives the time from the call to the arrival of every delivery to all but the
/// first of them, sorted.
async fn run(dead: bool) -> Result<Vec<Duration>> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    for n in 0..ENDPOINTS {
        api.endpoint(&format!("e{n}"), &receiver.url(&format!("/{n}")), json!({})).await?;
    }
    if dead {
        receiver.reply_to("/0", [Reply::hang()]);
    }
    let mut published: BTreeMap<String, Instant> = BTreeMap::new();
    let mut pace = interval(EVERY);
    for _ in 0..BATCHES {
        pace.tick().await;
        let event = json!({ "type": "load.sent", "data": { "text": "x".repeat(1_000) } });
        let body = json!({ "events": vec![event; BATCH] });
        let began = Instant::now();
        let answer = api.rest.post(&format!("{TENANT}/events:publish"), body).await?.ok()?;
        for result in answer["results"].as_array().context("results")? {
            let id = result["id"].as_str().context("an id")?;
            published.insert(id.to_owned(), began);
        }
    }
    let expected = BATCHES * BATCH * (ENDPOINTS - 1);
    let others = |all: &[postrider_e2e::Request]| all.iter().filter(|r| r.path != "/0").count();
    receiver.reaches(expected).await?;
    let requests =
        receiver.wait_for("everything at the others", |all| others(all) >= expected).await?;
    let mut by_path: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waits = Vec::new();
    for request in requests.iter().filter(|request| request.path != "/0") {
        *by_path.entry(&request.path).or_default() += 1;
        let began = published.get(request.event_id()).context("an event of this run")?;
        waits.push(request.at.saturating_duration_since(*began));
    }
    ensure!(by_path.len() == ENDPOINTS - 1, "{by_path:?}");
    ensure!(
        by_path.values().all(|n| *n == BATCHES * BATCH),
        "everyone gets everything: {by_path:?}"
    );
    waits.sort_unstable();
    Ok(waits)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_endpoint_hurts_none_of_the_others() -> Result<()> {
    let healthy = run(false).await?;
    let with_dead = run(true).await?;
    let ratio = |percent| {
        percentile(&with_dead, percent).as_secs_f64() / percentile(&healthy, percent).as_secs_f64()
    };
    report(&format!(
        "isolation: {} deliveries to {} endpoints; p99 {:?} without and {:?} with a dead one: ratio {:.2} (p50 {:.2})",
        healthy.len(),
        ENDPOINTS - 1,
        percentile(&healthy, 99),
        percentile(&with_dead, 99),
        ratio(99),
        ratio(50),
    ));
    Ok(())
}
