//! The table for people and the figures for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::engine;
use crate::figures::{median, ratio};
use crate::idle::Idle;
use crate::kafka::Comparison;
use crate::limit::Limit;
use crate::machine::Machine;
use crate::options::{Options, Rate, Scenario, TARGET_ENDPOINTS};
use crate::pending::Pending;
use crate::scenario::Run;
use crate::targets::{self, Figures, Target};
use crate::waiting::Waiting;

/// W0 before and after may differ by so much; above it the machine was too busy for the figures to be published.
const DRIFT_MAX: f64 = 0.05;

/// Callers that the targets of publishing are for.
const TARGET_CALLERS: u16 = 64;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
    pub(crate) configuration: String,
    /// W0: the first half before, the second half after.
    pub(crate) limits: Vec<Limit>,
    pub(crate) idle: Option<Vec<Idle>>,
    pub(crate) rows: Vec<Row>,
    /// By fan-out.
    pub(crate) engine: Vec<engine::Row>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) pending: Option<Pending>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) kafka: Option<Comparison>,
    pub(crate) targets: Vec<Target>,
}

/// A scenario and its runs.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) name: String,
    pub(crate) runs: Vec<Run>,
}

impl Row {
    fn p99(&self) -> f64 {
        median(&self.runs, |run| run.latency.p99_ms)
    }
}

/// The same load without and with dead and slow endpoints.
#[derive(Debug, Serialize)]
pub(crate) struct Isolation {
    pub(crate) without: Row,
    pub(crate) with: Row,
}

/// Says on standard error what goes on.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

impl Report {
    /// Writes `report.md` and `report.json`; returns the path of the first.
    pub(crate) fn write(&self, dir: &Path) -> Result<PathBuf> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let path = dir.join("report.md");
        fs::write(&path, self.markdown()).with_context(|| format!("writing {}", path.display()))?;
        fs::write(dir.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    /// The report as Markdown; figures are medians of the runs.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# Postrider under load\n\n");
        let m = &self.machine;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Commit {}; {}; {} × {}; load average {} before, {} after.\n\n{}. Medians; CPU is user + system time of the postrider process alone.\n",
            m.commit,
            m.system,
            m.cores,
            m.processor,
            self.load_before,
            self.load_after,
            self.configuration
        );
        self.limit_table(&mut out);
        self.load_table(&mut out);
        if !self.engine.is_empty() {
            engine::describe(&self.engine, TARGET_ENDPOINTS, self.limit_cpu(), &mut out);
        }
        if let Some(isolation) = &self.isolation {
            isolation.describe(&mut out);
        }
        if let Some(pending) = &self.pending {
            pending.describe(&mut out);
        }
        if let Some(waiting) = &self.waiting {
            waiting.describe(&mut out);
        }
        if let Some(kafka) = &self.kafka {
            kafka.describe(&mut out);
        }
        if let Some(idle) = &self.idle {
            let _ = writeln!(
                out,
                "Idle: ready after {:.0} ms; {:.1} MB resident; {:.2} % of a core over 5 s.\n",
                median(idle, |run| run.start_up_ms),
                median(idle, |run| run.resident_mb),
                median(idle, |run| run.cpu_percent)
            );
        }
        targets::describe(&self.targets, &mut out);
        out
    }

    /// What has a target.
    pub(crate) fn figures(&self, options: &Options) -> Figures {
        let row = |scenario| self.rows.iter().find(|row| row.scenario == scenario);
        let of = |scenario, figure: fn(&Run) -> f64| row(scenario).map(|r| median(&r.runs, figure));
        let fan_out = |number| {
            let row = self.engine.iter().find(|row| row.fan_out == number);
            row.map(engine::Row::cpu_us)
        };
        let publishes = options.callers == TARGET_CALLERS && options.rate == Rate::Max;
        let single = |figure| of(Scenario::Single, figure).filter(|_| publishes);
        Figures {
            limit_us: self.limit_cpu(),
            engine_us: fan_out(1),
            fan_out_us: fan_out(10),
            whole_us: of(Scenario::Whole, |run| run.cpu_us),
            isolation: self.isolation.as_ref().map(Isolation::ratio),
            ack_ms: single(|run| run.ack.p99_ms),
            acks_per_second: single(|run| run.events_per_second),
            pending_mb: self.pending.as_ref().map(Pending::mb_each),
            lateness_ms: self.pending.as_ref().map(|pending| pending.lateness.p99_ms),
            waiting_bytes: self.waiting.as_ref().map(Waiting::bytes_beyond_idle),
            waiting_wake_ups: self.waiting.as_ref().map(Waiting::wake_ups_beyond_idle),
            drained: self.waiting.as_ref().map(Waiting::drained),
        }
    }

    fn limit_cpu(&self) -> f64 {
        median(&self.limits, |limit| limit.cpu_us)
    }

    fn limit_table(&self, out: &mut String) {
        let (before, after) = self.limits.split_at(self.limits.len() / 2);
        let _ = writeln!(
            out,
            "W0, a bare hyper client on one thread: {:.0} req/s, {:.1} µs of CPU a request ({:.1} user).",
            median(&self.limits, |limit| limit.requests_per_second),
            self.limit_cpu(),
            median(&self.limits, |limit| limit.user_us)
        );
        let (before, after) = (median(before, |l| l.cpu_us), median(after, |l| l.cpu_us));
        let drift = ratio((after - before).abs(), before);
        let verdict = if drift > DRIFT_MAX {
            ": above 5 %, so the machine was not quiet and these figures are not for publishing"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "Before {before:.1} µs, after {after:.1} µs ({:.1} % apart){verdict}.\n",
            100.0 * drift
        );
    }

    fn load_table(&self, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        out.push_str("| scenario | events/s accepted | deliveries/s | of W0 | CPU µs/delivery (user) | × W0 | latency p50 / p99 ms | ack p50 / p99 ms | peak RSS MB | refused | missing |\n");
        out.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
        let limit_rate = median(&self.limits, |limit| limit.requests_per_second);
        for Row { name, runs, .. } in &self.rows {
            let deliveries = median(runs, |run| run.deliveries_per_second);
            let cpu = median(runs, |run| run.cpu_us);
            let _ = writeln!(
                out,
                "| {name} | {:.0} | {deliveries:.0} | {:.0} % | {cpu:.1} ({:.1}) | {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {:.0} | {} | {} |",
                median(runs, |run| run.events_per_second),
                100.0 * ratio(deliveries, limit_rate),
                median(runs, |run| run.user_us),
                ratio(cpu, self.limit_cpu()),
                median(runs, |run| run.latency.p50_ms),
                median(runs, |run| run.latency.p99_ms),
                median(runs, |run| run.ack.p50_ms),
                median(runs, |run| run.ack.p99_ms),
                median(runs, |run| run.peak_mb),
                runs.iter().map(|run| run.refused).sum::<u64>(),
                runs.iter().map(|run| run.missing).sum::<i64>(),
            );
        }
        out.push('\n');
        for Row { name, runs, .. } in &self.rows {
            if let Some(reason) = runs.iter().find_map(|run| run.first_refusal.as_ref()) {
                let _ = writeln!(out, "First refusal of \"{name}\": {reason}\n");
            }
        }
    }
}

impl Isolation {
    /// The healthy endpoints' p99 with sick ones over theirs without.
    fn ratio(&self) -> f64 {
        ratio(self.with.p99(), self.without.p99())
    }

    fn describe(&self, out: &mut String) {
        let p50 = |row: &Row| median(&row.runs, |run| run.latency.p50_ms);
        let (without, with) = (&self.without, &self.with);
        let _ = writeln!(
            out,
            "Isolation, latency of the healthy endpoints: {} p50 {:.1} ms, p99 {:.1} ms; {} p50 {:.1} ms, p99 {:.1} ms: **p99 ratio {:.2}** (deliveries to them missing: {}).\n",
            without.name,
            p50(without),
            without.p99(),
            with.name,
            p50(with),
            with.p99(),
            self.ratio(),
            with.runs.iter().map(|run| run.missing).sum::<i64>()
        );
    }
}
