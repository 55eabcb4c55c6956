//! `docs/reference/metrics.md`: every metric, as the roles register them.
//!
//! `POSTRIDER_BLESS=1 cargo test -p postrider metrics_reference` writes it anew.

use std::collections::BTreeSet;
use std::path::Path;

use control_plane::server::{Readiness, Server, ServerOptions};
use delivery_worker::{Alarms, Progress};
use runtime::metrics::Described;
use tokio::sync::watch;
use tonic::service::Routes;

use super::*;

const INTRODUCTION: &str = "\
# Metrics

Generated from the sources; `POSTRIDER_BLESS=1 cargo test -p postrider metrics_reference` writes it anew.

`GET /metrics` of every process, on the port of its API and health, in Prometheus's text format. It needs no token: no label names a tenant, an endpoint or
an event. Counters begin at 0 with the process. What a worker knows of the log is at most 5 s old.

";

const WATCHING: &str = "
## What to watch

| expression | what it means |
|---|---|
| `max(postrider_shard_lag_seconds) > 60` | events wait: workers are too few or too slow, or something holds a shard |
| `sum(postrider_shards_stalled) > 0` | a shard stands still; the worker's warnings say why |
| `sum(postrider_shards_stopped) > 0`, `increase(postrider_records_quarantined_total[10m]) > 0` | a producer writes what is no event |
| `sum(postrider_shards)` | less than the partitions: some have no worker. More, for longer than a rebalance takes: two processes think they own one |
| `increase(postrider_records_lost_total[1h]) > 0` | events are lost: the retention is too short for the lag |
| `max(postrider_egress_degraded) > 0` | the workers' own network or DNS is at fault |
| `increase(postrider_dead_letters_total[1h])` | deliveries that a person may want to redrive |
| `increase(postrider_store_write_failures_total[5m]) > 0` | the store is slow or away; nothing is lost, and work waits |
| `postrider_ready == 0` | `/readyz` of that process says why |
";

/// Everything that any process can show.
fn everything() -> Vec<Described> {
    let registry = of_process();
    let alarms = Alarms {
        egress_degraded: watch::channel(false).1,
        stopped_shards: watch::channel(BTreeSet::new()).1,
        progress: watch::channel(Progress::default()).1,
    };
    delivery_worker::Metrics::default().register(&registry, &alarms);
    control_plane::Metrics::default().register(&registry);
    let mut options = ServerOptions::default();
    options.metrics = registry.clone();
    let (_, readiness) = watch::channel(Readiness::ready());
    Server::new(Routes::default(), readiness, options).expect("a listener");
    registry.described()
}

fn line(metric: &Described) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = labels.join(", ");
    format!("| `{}` | {} | {labels} | {} |\n", metric.name, metric.kind, metric.help)
}

#[test]
fn metrics_reference_is_what_processes_show() {
    let mut lines: Vec<String> = everything().iter().map(line).collect();
    lines.sort();
    let table: String = lines.concat();
    let head = "| metric | kind | labels | what it says |\n|---|---|---|---|\n";
    let wanted = format!("{INTRODUCTION}{head}{table}{WATCHING}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("the reference is written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "docs/reference/metrics.md is out of date: POSTRIDER_BLESS=1");
}

#[test]
fn metrics_are_named_once_with_our_prefix_and_labels_that_name_nobody() {
    let mut names = BTreeSet::new();
    for metric in everything() {
        assert!(metric.name.starts_with("postrider_"), "{}", metric.name);
        assert!(names.insert(metric.name.clone()), "{} is there twice", metric.name);
        for label in metric.labels {
            assert!(
                !["tenant", "endpoint", "event", "url", "key"].contains(&label),
                "{}: {label} has no bound",
                metric.name
            );
        }
    }
}

#[test]
fn expressions_to_watch_name_metrics_that_there_are() {
    let names: BTreeSet<String> = everything().into_iter().map(|metric| metric.name).collect();
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = WATCHING.split(|c: char| !is_of_a_name(c));
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("postrider_")).collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(names.contains(name), "there is no metric {name}");
    }
}
