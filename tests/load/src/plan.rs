//! The scenarios, one after the other, with W0 before and after.

mod setups;
mod turns;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;

use crate::engine;
use crate::idle::{self, Idle};
use crate::limit::{self, Limit};
use crate::machine::{Machine, load_average};
use crate::options::{Options, Scenario};
use crate::payload::Epoch;
use crate::pending::{self, Pending};
use crate::report::{Report, Row};
use crate::scenario::{self, Run, Setup};
use crate::sink::Sink;
use crate::targets::judge;
use crate::waiting::{self, Waiting};
use crate::{postrider, report};

/// Endpoints that each event goes to in the scenario `engine`.
const FAN_OUTS: [u16; 2] = [1, 10];
/// W0 needs less time: nothing in it has to warm up.
const LIMIT_TIME: Duration = Duration::from_secs(3);

/// Measures what was asked for, prints the table and writes the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    options.validate()?;
    let binary = postrider::binary(options.postrider.as_deref())?;
    let epoch = Epoch::start();
    let sink = Sink::start(epoch, options.ports())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = Plan { options, binary: &binary, sink: &sink, epoch };
    let report = plan.carry_out(&runtime)?;
    let path = report.write(&options.out)?;
    println!("{}", report.markdown());
    println!("report: {}", path.display());
    Ok(())
}

struct Plan<'a> {
    options: &'a Options,
    binary: &'a Path,
    sink: &'a Sink,
    epoch: Epoch,
}

impl Plan<'_> {
    fn carry_out(&self, runtime: &Runtime) -> Result<Report> {
        let options = self.options;
        let load_before = load_average();
        let mut limits = self.limits("before")?;
        let idle = match options.asks_for(Scenario::Idle) {
            true => Some(runtime.block_on(self.idle())?),
            false => None,
        };
        let mut rows = Vec::new();
        if options.asks_for(Scenario::Single) {
            rows.push(self.row(runtime, Scenario::Single, &self.single())?);
        }
        let fixed = self.fixed_rate(rows.first());
        if options.asks_for(Scenario::Batch) {
            rows.push(self.row(runtime, Scenario::Batch, &self.batch())?);
        }
        if options.asks_for(Scenario::Whole) {
            rows.push(self.row(runtime, Scenario::Whole, &self.whole())?);
        }
        if options.asks_for(Scenario::Steady) {
            rows.push(self.row(runtime, Scenario::Steady, &self.steady(fixed))?);
        }
        let engine = match options.asks_for(Scenario::Engine) {
            true => self.engine()?,
            false => Vec::new(),
        };
        let isolation =
            if options.asks_for(Scenario::Isolation) && options.dead() + options.slow() > 0 {
                Some(self.isolation(runtime, fixed)?)
            } else {
                None
            };
        let pending = match options.asks_for(Scenario::Pending) {
            true => Some(runtime.block_on(self.measure_pending())?),
            false => None,
        };
        let waiting = match options.asks_for(Scenario::Waiting) {
            true => Some(runtime.block_on(self.measure_waiting())?),
            false => None,
        };
        let kafka = match options.asks_for(Scenario::Kafka) {
            true => Some(self.kafka(runtime)?),
            false => None,
        };
        limits.extend(self.limits("after")?);
        let mut report = Report {
            machine: Machine::describe(),
            load_before,
            load_after: load_average(),
            configuration: self.configuration(),
            limits,
            idle,
            rows,
            engine,
            isolation,
            pending,
            waiting,
            kafka,
            targets: Vec::new(),
        };
        report.targets = judge(&report.figures(options));
        Ok(report)
    }

    fn configuration(&self) -> String {
        let o = self.options;
        format!(
            "{} endpoints on {} ports, fan-out {}, {} B of data, both signatures, durable, attempts recorded, {:?}, {} × {} s after 2 s of warm-up, at `max` at most {} deliveries under way",
            o.endpoints,
            o.origins(),
            o.fan_out,
            o.size,
            o.api,
            o.runs,
            o.seconds,
            o.undelivered_max
        )
    }

    fn limits(&self, when: &str) -> Result<Vec<Limit>> {
        report::note(&format!("W0, {when}"));
        let size = self.size();
        (0..self.options.runs.min(3))
            .map(|_| limit::measure(self.sink, self.options.endpoints, size, LIMIT_TIME))
            .collect()
    }

    async fn idle(&self) -> Result<Vec<Idle>> {
        report::note("idle");
        let mut runs = Vec::new();
        for _ in 0..self.options.runs {
            runs.push(idle::measure(self.binary).await?);
        }
        Ok(runs)
    }

    /// Once: it takes minutes.
    async fn measure_pending(&self) -> Result<Pending> {
        let Options { pending: count, pending_seconds: seconds, .. } = *self.options;
        report::note(&format!("pending: {count} over {seconds} s"));
        let setup = self.pending();
        let pending = Box::pin(pending::measure(&setup, self.sink, count, seconds)).await?;
        report::note(&format!(
            "  {:.1} MB for each 100 000, p99 {:.1} ms late",
            pending.mb_each(),
            pending.lateness.p99_ms
        ));
        Ok(pending)
    }

    /// Once: it takes minutes.
    async fn measure_waiting(&self) -> Result<Waiting> {
        let count = self.options.behind_breaker;
        report::note(&format!("waiting: {count} behind an open breaker"));
        let setup = self.waiting();
        let waiting = Box::pin(waiting::measure(&setup, self.sink, count)).await?;
        report::note(&format!(
            "  drained {:.0}/s, {:.2} × healthy",
            waiting.drained_per_second,
            waiting.drained()
        ));
        Ok(waiting)
    }

    /// Without a process: in a thread of this one.
    fn engine(&self) -> Result<Vec<engine::Row>> {
        let mut rows = Vec::new();
        for fan_out in FAN_OUTS {
            let setup = self.engine_alone(fan_out);
            let mut row = engine::Row { fan_out, runs: Vec::new() };
            for _ in 0..self.options.runs {
                report::note(&format!("engine alone, fan-out {fan_out}"));
                let run = engine::measure(setup.clone(), self.sink)?;
                report::note(&format!(
                    "  {:.0} deliveries/s, {:.1} µs each, {:.1} of it log and store in memory",
                    run.deliveries_per_second, run.cpu_us, run.ports_us
                ));
                row.runs.push(run);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    fn row(
        &self,
        runtime: &Runtime,
        scenario: Scenario,
        (name, setup): &(String, Setup<'_>),
    ) -> Result<Row> {
        let runs = (0..self.options.runs).map(|_| self.once(runtime, name, setup));
        Ok(Row { scenario, name: name.clone(), runs: runs.collect::<Result<_>>()? })
    }

    fn once(&self, runtime: &Runtime, name: &str, setup: &Setup<'_>) -> Result<Run> {
        report::note(name);
        let run = runtime.block_on(scenario::run(setup, self.sink))?;
        report::note(&format!(
            "  {:.0} deliveries/s, {:.1} µs each, p99 {:.1} ms",
            run.deliveries_per_second, run.cpu_us, run.latency.p99_ms
        ));
        Ok(run)
    }
}
