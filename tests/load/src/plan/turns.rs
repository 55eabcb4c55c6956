//! What is measured on two sides by turns, so that a machine that changes its pace changes both.

use anyhow::Result;
use tokio::runtime::Runtime;

use super::Plan;
use crate::drain::{self, Drained};
use crate::kafka::{Comparison, Pair};
use crate::options::Scenario;
use crate::place::Log;
use crate::report::{self, Isolation, Row};
use crate::scenario::Setup;

impl Plan<'_> {
    /// The same rate without and with sick endpoints; latencies are of the endpoints that are healthy in both.
    pub(super) fn isolation(&self, runtime: &Runtime, rate: f64) -> Result<Isolation> {
        let (name, healthy) = self.steady(rate);
        let (dead, slow) = (self.options.dead(), self.options.slow());
        let healthy = Setup { unwatched: dead + slow, ..healthy };
        let sick = Setup { dead, slow, ..healthy.clone() };
        let how = format!("{dead} dead ({:?}), {slow} slow", self.options.dead_how).to_lowercase();
        let row = |how: &str| Row {
            scenario: Scenario::Isolation,
            name: format!("{name}, {how}"),
            runs: Vec::new(),
        };
        let (mut without, mut with) = (row("none sick"), row(&how));
        for _ in 0..self.options.runs {
            without.runs.push(self.once(runtime, &without.name, &healthy)?);
            with.runs.push(self.once(runtime, &with.name, &sick)?);
        }
        Ok(Isolation { without, with })
    }

    /// The loads of `single` and `batch`, and a full log, on both logs.
    pub(super) fn kafka(&self, runtime: &Runtime) -> Result<Comparison> {
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
        for _ in 0..o.drains {
            let name = format!("{}, embedded", drained.name);
            drained.embedded.push(self.drain(runtime, &name, &embedded, events)?);
            let name = format!("{}, Kafka", drained.name);
            drained.kafka.push(self.drain(runtime, &name, &kafka, events)?);
        }
        Ok(Comparison::Measured { pairs, drained })
    }

    fn drain(
        &self,
        runtime: &Runtime,
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
}
