//! The scenarios, one after the other, with W0 before and after.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::drain::{self, Drained};
use crate::figures::median;
use crate::generator::Load;
use crate::idle::{self, Idle};
use crate::kafka::{Comparison, Pair};
use crate::limit::{self, Limit};
use crate::machine::{Machine, load_average};
use crate::options::{Options, Rate, Scenario};
use crate::payload::Epoch;
use crate::place::Log;
use crate::report::{Isolation, Report, Row};
use crate::scenario::{self, Run, Setup};
use crate::sink::Sink;
use crate::{postrider, report};

/// Callers of single events for each caller of batches.
const CALLERS_PER_BATCHER: u16 = 8;
/// W0 needs less time: nothing in it has to warm up.
const LIMIT_TIME: Duration = Duration::from_secs(3);

/// Measures what was asked for, prints the table and writes the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    options.validate()?;
    let binary = postrider::binary(options.postrider.as_deref())?;
    let epoch = Epoch::start();
    let sink = Sink::start(epoch, options.origins())?;
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
    fn carry_out(&self, runtime: &tokio::runtime::Runtime) -> Result<Report> {
        let options = self.options;
        let load_before = load_average();
        let mut limits = self.limits("before")?;
        let idle = match options.asks_for(Scenario::Idle) {
            true => Some(runtime.block_on(self.idle())?),
            false => None,
        };
        let mut rows = Vec::new();
        if options.asks_for(Scenario::Single) {
            rows.push(self.row(runtime, &self.single())?);
        }
        if options.asks_for(Scenario::Batch) {
            rows.push(self.row(runtime, &self.batch())?);
        }
        let fixed = self.fixed_rate(rows.first());
        if options.asks_for(Scenario::Steady) {
            rows.push(self.row(runtime, &self.steady(fixed))?);
        }
        let isolation = if options.asks_for(Scenario::Isolation) && options.dead > 0 {
            Some(self.isolation(runtime, fixed)?)
        } else {
            None
        };
        let kafka = match options.asks_for(Scenario::Kafka) {
            true => Some(self.kafka(runtime)?),
            false => None,
        };
        limits.extend(self.limits("after")?);
        Ok(Report {
            machine: Machine::describe(),
            load_before,
            load_after: load_average(),
            configuration: self.configuration(),
            limits,
            idle,
            rows,
            isolation,
            kafka,
        })
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

    fn row(
        &self,
        runtime: &tokio::runtime::Runtime,
        (name, setup): &(String, Setup<'_>),
    ) -> Result<Row> {
        let runs = (0..self.options.runs).map(|_| self.once(runtime, name, setup));
        Ok(Row { name: name.clone(), runs: runs.collect::<Result<_>>()? })
    }

    fn once(
        &self,
        runtime: &tokio::runtime::Runtime,
        name: &str,
        setup: &Setup<'_>,
    ) -> Result<Run> {
        report::note(name);
        let run = runtime.block_on(scenario::run(setup, self.sink))?;
        report::note(&format!(
            "  {:.0} deliveries/s, {:.1} µs each, p99 {:.1} ms",
            run.deliveries_per_second, run.cpu_us, run.latency.p99_ms
        ));
        Ok(run)
    }

    /// The same rate without and with dead endpoints, by turns; latencies are of the endpoints that live in both.
    fn isolation(&self, runtime: &tokio::runtime::Runtime, rate: f64) -> Result<Isolation> {
        let (name, healthy) = self.steady(rate);
        let healthy = Setup { unwatched: self.options.dead, ..healthy };
        let sick = Setup { dead: self.options.dead, ..healthy.clone() };
        let how =
            format!("{} dead ({:?})", self.options.dead, self.options.dead_how).to_lowercase();
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            without.push(self.once(runtime, &format!("{name}, none dead"), &healthy)?);
            with.push(self.once(runtime, &format!("{name}, {how}"), &sick)?);
        }
        Ok(Isolation {
            without: Row { name: format!("{name}, none dead"), runs: without },
            with: Row { name: format!("{name}, {how}"), runs: with },
        })
    }

    /// The loads of `single` and `batch`, and a full log, on both logs by turns.
    fn kafka(&self, runtime: &tokio::runtime::Runtime) -> Result<Comparison> {
        let o = self.options;
        let Some(broker) = &o.kafka else {
            report::note(&format!("kafka: left out: {}", o.kafka_missing));
            return Ok(Comparison::LeftOut { reason: o.kafka_missing.clone() });
        };
        let broker_process = o.kafka_process;
        let mut pairs = Vec::new();
        for (name, embedded) in [self.single(), self.batch()] {
            let kafka = Setup { log: Log::Kafka(broker), broker_process, ..embedded.clone() };
            let mut pair = Pair { name, embedded: Vec::new(), kafka: Vec::new() };
            for _ in 0..o.runs {
                let name = format!("{}, embedded", pair.name);
                pair.embedded.push(self.once(runtime, &name, &embedded)?);
                let name = format!("{}, Kafka", pair.name);
                pair.kafka.push(self.once(runtime, &name, &kafka)?);
            }
            pairs.push(pair);
        }
        let (_, embedded) = self.batch();
        let kafka = Setup { log: Log::Kafka(broker), broker_process, ..embedded.clone() };
        let events = o.waiting * o.seconds;
        let name = format!("{events} events wait in the log");
        let mut drained = Pair { name, embedded: Vec::new(), kafka: Vec::new() };
        for _ in 0..o.runs {
            let name = format!("{}, embedded", drained.name);
            drained.embedded.push(self.drain(runtime, &name, &embedded, events)?);
            let name = format!("{}, Kafka", drained.name);
            drained.kafka.push(self.drain(runtime, &name, &kafka, events)?);
        }
        Ok(Comparison::Measured { pairs, drained })
    }

    fn drain(
        &self,
        runtime: &tokio::runtime::Runtime,
        name: &str,
        setup: &Setup<'_>,
        events: u64,
    ) -> Result<Drained> {
        report::note(name);
        let run = runtime.block_on(drain::run(setup, self.sink, events))?;
        report::note(&format!(
            "  {:.0} deliveries/s, {:.1} µs each",
            run.deliveries_per_second, run.cpu_us
        ));
        Ok(run)
    }

    fn size(&self) -> usize {
        usize::try_from(self.options.size).unwrap_or(1_024)
    }

    fn setup(&self, callers: u16, batch: u16, rate: Rate) -> Setup<'_> {
        let o = self.options;
        Setup {
            binary: self.binary,
            log: Log::Embedded,
            broker_process: None,
            load: Load {
                api: o.api,
                callers,
                batch,
                size: self.size(),
                groups: o.endpoints / o.fan_out,
                epoch: self.epoch,
            },
            endpoints: o.endpoints,
            fan_out: o.fan_out,
            rate,
            undelivered_max: o.undelivered_max,
            time: Duration::from_secs(o.seconds),
            dead: 0,
            dead_how: o.dead_how,
            unwatched: 0,
        }
    }

    fn single(&self) -> (String, Setup<'_>) {
        let (callers, rate) = (self.options.callers, self.options.rate);
        (format!("1 a call × {callers} callers, {rate}"), self.setup(callers, 1, rate))
    }

    fn batch(&self) -> (String, Setup<'_>) {
        let Options { batch, rate, .. } = *self.options;
        let callers = self.options.callers.div_ceil(CALLERS_PER_BATCHER);
        (format!("{batch} a call × {callers} callers, {rate}"), self.setup(callers, batch, rate))
    }

    fn steady(&self, rate: f64) -> (String, Setup<'_>) {
        let callers = self.options.callers;
        let name = format!("1 a call × {callers} callers, {rate:.0}/s");
        (name, self.setup(callers, 1, Rate::Fixed(rate)))
    }

    /// `--rate`, or half of what the first row reached.
    fn fixed_rate(&self, first: Option<&Row>) -> f64 {
        match self.options.rate {
            Rate::Fixed(rate) => rate,
            Rate::Max => {
                let reached = first.map(|row| median(&row.runs, |run| run.events_per_second));
                (reached.unwrap_or_default() / 2.0 / 100.0).round().max(1.0) * 100.0
            }
        }
    }
}
