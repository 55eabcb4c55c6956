//! What the role counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use delivery::{Effect, Engine, Write};
use domain::{DeadLetterReason, Disposition, Observation, OutcomeKind, Shard};
use runtime::metrics::{Counters, Metric, Registry, Times, Value};

use crate::progress::{Progress, ShardLag};
use crate::worker::Alarms;

static RECORDS_READ: Metric<0> = Metric {
    name: "postrider_records_read",
    labels: [],
    help: "Records read from the event log, also those that are read again after a take-over",
};
static RECORDS_QUARANTINED: Metric<0> = Metric {
    name: "postrider_records_quarantined",
    labels: [],
    help: "Records that are no events and were set aside with the reason",
};
static RECORDS_LOST: Metric<0> = Metric {
    name: "postrider_records_lost",
    labels: [],
    help: "Records at most that the log's retention passed before they were read: events are lost",
};
static ATTEMPTS: Metric<3> = Metric {
    name: "postrider_attempts",
    labels: ["trigger", "outcome", "disposition"],
    help: "Requests that ended: why they were made, what the receiver did (the class of its status, or why there was no answer), and what was decided \
           (delivered, retry, dead_lettered)",
};
static ATTEMPT_SECONDS: Metric<0> = Metric {
    name: "postrider_attempt_duration_seconds",
    labels: [],
    help: "How long requests took, from their start to the end of the answer",
};
static DEAD_LETTERS: Metric<1> = Metric {
    name: "postrider_dead_letters",
    labels: ["reason"],
    help: "Deliveries that became dead letters; one that was redriven and failed counts again",
};
static STORE_FAILURES: Metric<1> = Metric {
    name: "postrider_store_write_failures",
    labels: ["rows"],
    help: "Writes of a worker that the store did not confirm and that are repeated, by what they hold",
};
static IN_FLIGHT: Metric<0> = Metric {
    name: "postrider_deliveries_in_flight",
    labels: [],
    help: "Requests that are under way; delivery.in_flight bounds them",
};
static WRITES_PENDING: Metric<0> = Metric {
    name: "postrider_store_writes_pending",
    labels: [],
    help: "Writes of a worker that the store has not confirmed yet; from 20 000 on it takes nothing more from the log",
};
static LAG_RECORDS: Metric<1> = Metric {
    name: "postrider_shard_lag_records",
    labels: ["shard"],
    help: "Records that the log holds and that are not handed off, at most: positions are not dense",
};
static LAG_SECONDS: Metric<1> = Metric {
    name: "postrider_shard_lag_seconds",
    labels: ["shard"],
    help: "How long the oldest record that is not handed off has been in the log",
};
static SHARDS: Metric<0> =
    Metric { name: "postrider_shards", labels: [], help: "Shards that this worker owns" };
static SHARDS_STALLED: Metric<0> = Metric {
    name: "postrider_shards_stalled",
    labels: [],
    help: "Shards whose position has not moved for delivery.stalled_after while records wait",
};
static SHARDS_STOPPED: Metric<0> = Metric {
    name: "postrider_shards_stopped",
    labels: [],
    help: "Shards that are held because most of their records are no events",
};
static EGRESS_DEGRADED: Metric<0> = Metric {
    name: "postrider_egress_degraded",
    labels: [],
    help: "1 while most endpoints cannot be reached, so that no failure counts as an endpoint's",
};

/// Counts what a worker does. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    records_read: Counters<0>,
    records_quarantined: Counters<0>,
    records_lost: Counters<0>,
    store_failures: Counters<1>,
    in_flight: Arc<AtomicUsize>,
    writes_pending: Arc<AtomicUsize>,
    attempts: Counters<3>,
    attempt_seconds: Times<0>,
    dead_letters: Counters<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            records_read: Counters::new(&RECORDS_READ),
            records_quarantined: Counters::new(&RECORDS_QUARANTINED),
            records_lost: Counters::new(&RECORDS_LOST),
            store_failures: Counters::new(&STORE_FAILURES),
            in_flight: Arc::default(),
            writes_pending: Arc::default(),
            attempts: Counters::new(&ATTEMPTS),
            attempt_seconds: Times::new(&ATTEMPT_SECONDS),
            dead_letters: Counters::new(&DEAD_LETTERS),
        };
        // A series that is there from the start has a rate when it first moves.
        for counters in [&metrics.records_read, &metrics.records_quarantined, &metrics.records_lost]
        {
            counters.add::<&str>([], 0);
        }
        for reason in DeadLetterReason::ALL {
            metrics.dead_letters.add([reason.as_str()], 0);
        }
        metrics
    }
}

impl Metrics {
    /// Shows them, and what a worker tells of itself.
    pub fn register(&self, registry: &Registry, alarms: &Alarms) {
        for counters in [&self.records_read, &self.records_quarantined, &self.records_lost] {
            registry.counters(counters);
        }
        registry.counters(&self.attempts);
        registry.times(&self.attempt_seconds);
        registry.counters(&self.dead_letters);
        registry.counters(&self.store_failures);
        let in_flight = self.in_flight.clone();
        registry.read_one(&IN_FLIGHT, move || number(in_flight.load(Ordering::Relaxed)));
        let pending = self.writes_pending.clone();
        registry.read_one(&WRITES_PENDING, move || number(pending.load(Ordering::Relaxed)));
        let of_each = |read: fn(&ShardLag) -> f64| {
            let progress = alarms.progress.clone();
            move || each(&progress.borrow(), read)
        };
        registry.read(&LAG_RECORDS, of_each(|lag| number(lag.records)));
        registry.read(&LAG_SECONDS, of_each(|lag| lag.age.as_secs_f64()));
        let progress = alarms.progress.clone();
        registry.read_one(&SHARDS, move || number(progress.borrow().shards.len()));
        let progress = alarms.progress.clone();
        registry.read_one(&SHARDS_STALLED, move || {
            let still = |lag: &&ShardLag| lag.stalled.is_some();
            number(progress.borrow().shards.values().filter(still).count())
        });
        let stopped = alarms.stopped_shards.clone();
        registry.read_one(&SHARDS_STOPPED, move || number(stopped.borrow().len()));
        let degraded = alarms.egress_degraded.clone();
        registry.read_one(&EGRESS_DEGRADED, move || number(u8::from(*degraded.borrow())));
    }

    pub(crate) fn records_read(&self, many: usize) {
        self.records_read.add::<&str>([], many.try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn record_quarantined(&self) {
        self.records_quarantined.count::<&str>([]);
    }

    pub(crate) fn records_lost(&self, many: u64) {
        self.records_lost.add::<&str>([], many);
    }

    pub(crate) fn store_failed(&self, rows: &'static str) {
        self.store_failures.count([rows]);
    }

    /// How much the engine has under way.
    pub(crate) fn under_way(&self, engine: &Engine) {
        self.in_flight.store(engine.in_flight(), Ordering::Relaxed);
        self.writes_pending.store(engine.writes_pending(), Ordering::Relaxed);
    }

    /// Counts what the engine decided.
    pub(crate) fn note(&self, effect: &Effect) {
        match effect {
            Effect::Observe(observation) => self.note_attempt(observation),
            Effect::Write(write) => self.note_write(write),
            Effect::Attempt(_)
            | Effect::ReadBacklog { .. }
            | Effect::ReadLine { .. }
            | Effect::Load { .. }
            | Effect::Scan { .. }
            | Effect::SetState { .. }
            | Effect::Ack { .. } => {}
        }
    }

    fn note_attempt(&self, attempt: &Observation) {
        let disposition = match attempt.disposition {
            Disposition::Delivered => "delivered",
            Disposition::Retry { .. } => "retry",
            Disposition::DeadLettered(_) => "dead_lettered",
        };
        self.attempts.count([attempt.trigger.as_str(), class(attempt.outcome), disposition]);
        self.attempt_seconds.observe::<&str>([], attempt.duration);
    }

    fn note_write(&self, write: &Write) {
        for letter in &write.dead_letters {
            self.dead_letters.count([letter.reason.as_str()]);
        }
    }
}

fn each(progress: &Progress, read: fn(&ShardLag) -> f64) -> Vec<([Value; 1], f64)> {
    let of = |(shard, lag): (&Shard, &ShardLag)| ([shard.0.to_string().into()], read(lag));
    progress.shards.iter().map(of).collect()
}

/// What a receiver did, in few words.
fn class(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Answered(100..=199) => "1xx",
        OutcomeKind::Answered(200..=299) => "2xx",
        OutcomeKind::Answered(300..=399) => "3xx",
        OutcomeKind::Answered(400..=499) => "4xx",
        OutcomeKind::Answered(500..=599) => "5xx",
        OutcomeKind::Answered(_) => "other",
        OutcomeKind::Failed(class) => class.as_str(),
    }
}

/// A number as metrics have it: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "nobody reads a metric that closely")]
fn number(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}
