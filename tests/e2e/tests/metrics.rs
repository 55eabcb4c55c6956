//! `/metrics` of a running system, whatever it runs on: what its processes show together is what happened.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Rest, Server, until};
use serde_json::json;

use crate::support::{TENANT, answering, quick, start};

/// Series with their values, of all processes together.
pub(crate) type Series = BTreeMap<String, f64>;

/// What the processes show: each one's text, and the sum of all.
pub(crate) async fn scrape(server: &Server) -> Result<(Vec<String>, Series)> {
    let mut texts = Vec::new();
    let mut sums = Series::new();
    for address in server.addresses() {
        let answer = Rest::new(address).get("/metrics").await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        let media_type = answer.headers.get("content-type").context("a media type")?;
        ensure!(media_type == "text/plain; version=0.0.4; charset=utf-8", "{media_type:?}");
        let text = answer.text();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            *sums.entry(series.to_owned()).or_default() += value.parse::<f64>()?;
        }
        texts.push(text);
    }
    Ok((texts, sums))
}

/// The sum of a metric's series whose labels hold `part`.
pub(crate) fn sum(series: &Series, metric: &str, part: &str) -> f64 {
    let of_it = |name: &str| name.split('{').next() == Some(metric) && name.contains(part);
    series.iter().filter(|(name, _)| of_it(name)).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn what_processes_show_together_is_what_happened() -> Result<()> {
    let (server, api) = start().await?;
    let (well, refusing) = (answering(200).await?, answering(400).await?);
    api.endpoint("e2e-well", &well.url("/"), quick(1)).await?;
    api.endpoint("e2e-refusing", &refusing.url("/"), quick(1)).await?;
    let event = |key: &str| json!({ "type": "a.b", "data": {}, "idempotencyKey": key });
    api.publish_event(event("one")).await?;
    api.publish_event(event("two")).await?;
    api.publish_event(event("two")).await?;
    let publish = format!("{TENANT}/events:publish");
    api.rest.post(&publish, json!({ "events": "none" })).await?.expect(400)?;
    api.rest.get(&format!("{TENANT}/nothing")).await?.expect(404)?;

    let wanted = [
        ("postrider_events_published_total", "result=\"appended\"", 2.0),
        ("postrider_events_published_total", "result=\"duplicate\"", 1.0),
        ("postrider_events_published_total", "result=\"failed\"", 0.0),
        ("postrider_api_requests_total", "\"rest\",method=\"PublishEvents\",code=\"200\"", 3.0),
        ("postrider_api_requests_total", "\"rest\",method=\"PublishEvents\",code=\"400\"", 1.0),
        ("postrider_api_requests_total", "\"rest\",method=\"other\",code=\"404\"", 1.0),
        ("postrider_attempts_total", "\"event\",outcome=\"2xx\",disposition=\"delivered\"", 2.0),
        ("postrider_attempts_total", "outcome=\"4xx\",disposition=\"dead_lettered\"", 2.0),
        ("postrider_attempts_total", "", 4.0),
        ("postrider_attempt_duration_seconds_count", "", 4.0),
        ("postrider_dead_letters_total", "reason=\"rejected\"", 2.0),
        ("postrider_dead_letters_total", "", 2.0),
        ("postrider_deliveries_in_flight", "", 0.0),
        ("postrider_store_writes_pending", "", 0.0),
        ("postrider_shard_lag_records", "", 0.0),
        ("postrider_shard_lag_seconds", "", 0.0),
        ("postrider_shards_stalled", "", 0.0),
        ("postrider_shards_stopped", "", 0.0),
        ("postrider_records_quarantined_total", "", 0.0),
        ("postrider_records_lost_total", "", 0.0),
        ("postrider_egress_degraded", "", 0.0),
    ];
    let mut wrong = Vec::new();
    let settled = until("the metrics to say what happened", async || {
        let (_, series) = scrape(&server).await?;
        let told = |(metric, part, value): &(&str, &str, f64)| {
            let shown = series.keys().any(|name| name.starts_with(metric));
            let is = sum(&series, metric, part);
            (!shown || (is - value).abs() > 1e-9).then(|| format!("{metric}{{{part}}} is {is}"))
        };
        wrong = wanted.iter().filter_map(told).collect();
        Ok(wrong.is_empty().then_some(()))
    });
    settled.await.with_context(|| wrong.join(", "))?;

    let (texts, series) = scrape(&server).await?;
    // A shard that changes hands is read again from its position on.
    ensure!(sum(&series, "postrider_records_read_total", "") >= 2.0, "{series:?}");
    let processes = server.addresses().len();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    ensure!(sum(&series, "postrider_build_info", &version) as usize == processes, "{series:?}");
    ensure!(sum(&series, "postrider_ready", "") as usize == processes, "{series:?}");
    let shards = series.keys().filter(|name| name.starts_with("postrider_shard_lag_records{"));
    let (shards, owned) = (shards.count(), sum(&series, "postrider_shards", ""));
    ensure!(shards > 0 && shards == owned as usize, "{shards} shards are shown of {owned}");
    for text in &texts {
        for name in ["e2e-", "default", "evt_", "whsec_", "127.0.0.1"] {
            ensure!(!text.contains(name), "{name} is in\n{text}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_metric_of_a_running_system_is_in_the_reference() -> Result<()> {
    const REFERENCE: &str = include_str!("../../../docs/reference/metrics.md");
    let (server, _) = start().await?;
    let (texts, _) = scrape(&server).await?;
    for text in texts {
        let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for (name, kind) in described.filter_map(|line| line.split_once(' ')) {
            let line = format!("| `{name}` | {kind} |");
            ensure!(REFERENCE.contains(&line), "docs/reference/metrics.md has no {line}");
        }
    }
    Ok(())
}
