//! The same work with the log on Kafka and with the embedded one.

use std::fmt::Write as _;

use serde::Serialize;

use crate::drain::Drained;
use crate::figures::{median, ratio};
use crate::scenario::Run;

/// What the scenario `kafka` found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Comparison {
    /// There is no broker here.
    LeftOut { reason: String },
    Measured {
        /// Through the API.
        pairs: Vec<Pair<Run>>,
        /// Without it.
        drained: Pair<Drained>,
    },
}

/// Runs of the same work, by turns.
#[derive(Debug, Serialize)]
pub(crate) struct Pair<T> {
    pub(crate) name: String,
    pub(crate) embedded: Vec<T>,
    pub(crate) kafka: Vec<T>,
}

impl Comparison {
    pub(crate) fn describe(&self, out: &mut String) {
        match self {
            // Writing to a String cannot fail.
            Self::LeftOut { reason } => {
                let _ = writeln!(out, "Kafka: left out: {reason}\n");
            }
            Self::Measured { pairs, drained } => {
                out.push_str("The log on Kafka (one broker on this machine, one replica) beside the embedded one; the store is the embedded one in both. The broker takes CPU from the others: rates are of this machine, CPU a delivery compares.\n\n");
                out.push_str("| scenario | log | events/s accepted | deliveries/s | CPU µs/delivery (user) | × embedded | broker's CPU µs/delivery | latency p50 / p99 ms | ack p50 / p99 ms | refused | missing |\n");
                out.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
                for pair in pairs {
                    row(out, &pair.name, "embedded", &pair.embedded, &pair.embedded);
                    row(out, &pair.name, "Kafka", &pair.kafka, &pair.embedded);
                }
                out.push('\n');
                describe_drained(out, drained);
            }
        }
    }
}

fn row(out: &mut String, name: &str, log: &str, runs: &[Run], embedded: &[Run]) {
    let cpu = |runs: &[Run]| median(runs, |run| run.cpu_us);
    let broker: Vec<f64> = runs.iter().filter_map(|run| run.broker_us).collect();
    let broker = match broker.as_slice() {
        [] => String::new(),
        all => format!("{:.1}", median(all, |us| *us)),
    };
    let _ = writeln!(
        out,
        "| {name} | {log} | {:.0} | {:.0} | {:.1} ({:.1}) | {:.2} | {broker} | {:.1} / {:.1} | {:.1} / {:.1} | {} | {} |",
        median(runs, |run| run.events_per_second),
        median(runs, |run| run.deliveries_per_second),
        cpu(runs),
        median(runs, |run| run.user_us),
        ratio(cpu(runs), cpu(embedded)),
        median(runs, |run| run.latency.p50_ms),
        median(runs, |run| run.latency.p99_ms),
        median(runs, |run| run.ack.p50_ms),
        median(runs, |run| run.ack.p99_ms),
        runs.iter().map(|run| run.refused).sum::<u64>(),
        runs.iter().map(|run| run.missing).sum::<i64>(),
    );
}

fn describe_drained(out: &mut String, drained: &Pair<Drained>) {
    let cpu = |runs: &[Drained]| median(runs, |run| run.cpu_us);
    let rate = |runs: &[Drained]| median(runs, |run| run.deliveries_per_second);
    let missing = |runs: &[Drained]| runs.iter().map(|run| run.missing).sum::<u64>();
    let (embedded, kafka) = (&drained.embedded, &drained.kafka);
    let _ = writeln!(
        out,
        "The worker alone ({}, a process starts and delivers them): embedded {:.0} deliveries/s, {:.1} µs of CPU each; Kafka {:.0} deliveries/s, {:.1} µs each: **its own cost on Kafka is {:.2} × embedded** (goal: 1.3 at most; missing: {} and {}).\n",
        drained.name,
        rate(embedded),
        cpu(embedded),
        rate(kafka),
        cpu(kafka),
        ratio(cpu(kafka), cpu(embedded)),
        missing(embedded),
        missing(kafka),
    );
}
