//! What each scenario's runs are made of.

use std::time::Duration;

use super::Plan;
use crate::engine;
use crate::figures::median;
use crate::generator::Load;
use crate::options::{Options, Rate, TARGET_ENDPOINTS};
use crate::place::Log;
use crate::report::Row;
use crate::scenario::Setup;
use crate::waiting;

/// Callers of single events for each caller of batches.
const CALLERS_PER_BATCHER: u16 = 8;
/// Endpoints that the targets of what is pending are for.
const PENDING_ENDPOINTS: u16 = 1_000;
/// What the memory queues of one endpoint hold, and no more: its healthy rate is to be the one without a backlog.
const WAITING_UNDELIVERED_MAX: u64 = 500;

impl Plan<'_> {
    pub(super) fn size(&self) -> usize {
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
            slow: 0,
            unwatched: 0,
        }
    }

    pub(super) fn single(&self) -> (String, Setup<'_>) {
        let (callers, rate) = (self.options.callers, self.options.rate);
        (format!("1 a call × {callers} callers, {rate}"), self.setup(callers, 1, rate))
    }

    pub(super) fn batch(&self) -> (String, Setup<'_>) {
        let Options { batch, rate, .. } = *self.options;
        let callers = self.options.callers.div_ceil(CALLERS_PER_BATCHER);
        (format!("{batch} a call × {callers} callers, {rate}"), self.setup(callers, batch, rate))
    }

    /// `batch` as its target wants it: 100 endpoints, each event to one, as fast as it goes.
    pub(super) fn whole(&self) -> (String, Setup<'_>) {
        let batch = self.options.batch;
        let callers = self.options.callers.div_ceil(CALLERS_PER_BATCHER);
        let mut setup = self.setup(callers, batch, Rate::Max);
        setup.endpoints = TARGET_ENDPOINTS;
        setup.fan_out = 1;
        setup.load.groups = TARGET_ENDPOINTS;
        (format!("{batch} a call × {callers} callers, max, {TARGET_ENDPOINTS} endpoints"), setup)
    }

    /// The engine alone on the endpoints of its target.
    pub(super) fn engine_alone(&self, fan_out: u16) -> engine::Setup {
        engine::Setup {
            endpoints: TARGET_ENDPOINTS,
            fan_out,
            size: self.size(),
            epoch: self.epoch,
            undelivered_max: self.options.undelivered_max,
            time: Duration::from_secs(self.options.seconds),
            urls: (0..TARGET_ENDPOINTS).map(|index| self.sink.url(index)).collect(),
        }
    }

    pub(super) fn steady(&self, rate: f64) -> (String, Setup<'_>) {
        let callers = self.options.callers;
        let name = format!("1 a call × {callers} callers, {rate:.0}/s");
        (name, self.setup(callers, 1, Rate::Fixed(rate)))
    }

    /// The endpoints of the scenario `pending`, with the load that warms them.
    pub(super) fn pending(&self) -> Setup<'_> {
        let (_, mut setup) = self.whole();
        setup.endpoints = PENDING_ENDPOINTS;
        setup.load.groups = PENDING_ENDPOINTS;
        setup
    }

    /// The one endpoint of the scenario `waiting`, with the load of its healthy time.
    pub(super) fn waiting(&self) -> Setup<'_> {
        let (_, mut setup) = self.whole();
        setup.endpoints = 1;
        setup.load.groups = 1;
        setup.load.size = waiting::SIZE;
        setup.undelivered_max = WAITING_UNDELIVERED_MAX;
        setup
    }

    /// `--rate`, or half of what `single` reached.
    pub(super) fn fixed_rate(&self, single: Option<&Row>) -> f64 {
        match self.options.rate {
            Rate::Fixed(rate) => rate,
            Rate::Max => {
                let reached = single.map(|row| median(&row.runs, |run| run.events_per_second));
                (reached.unwrap_or_default() / 2.0 / 100.0).round().max(1.0) * 100.0
            }
        }
    }
}
