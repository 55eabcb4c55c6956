//! From a seed to what happens: who receives, and what people, publishers and misfortune do, in order.

mod draw;

use std::time::Duration;

use domain::{DeliveryPolicy, EventPattern};
use testkit::Fault;

use crate::receivers::Behaviour;

/// Everything of a history that follows from its seed alone.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// What kinds of misfortune there are.
    pub flavour: Flavour,
    pub(crate) setup: Setup,
    pub(crate) endpoints: Vec<EndpointPlan>,
    pub(crate) actions: Vec<Action>,
}

/// Which misfortunes a history has; the strictest form of some invariants holds in the calmer ones only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Flavour {
    /// Receivers misbehave and people meddle; one worker, and everything of our own works.
    Calm,
    /// Workers are killed, stopped and taken over from.
    Crashes,
    /// The store, the log and the hints fail.
    Faults,
    /// All of it.
    Storm,
}

impl Flavour {
    pub(crate) fn has_crashes(self) -> bool {
        matches!(self, Self::Crashes | Self::Storm)
    }

    pub(crate) fn has_faults(self) -> bool {
        matches!(self, Self::Faults | Self::Storm)
    }
}

/// How the world is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u16,
    /// Longest that a call to the store takes while nothing is wrong with it.
    pub(crate) store_ms_max: u64,
    pub(crate) in_flight: usize,
    pub(crate) span_records: usize,
    pub(crate) inbox_poll: Duration,
    /// A worker that joins waits until the owner has released its shards.
    pub(crate) asks: bool,
    /// Writes of a worker that has gone may still land.
    pub(crate) lands_late: bool,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub(crate) struct EndpointPlan {
    pub(crate) patterns: Vec<EventPattern>,
    pub(crate) policy: DeliveryPolicy,
    pub(crate) behaviour: Behaviour,
    /// Its receiver is well all the time and nobody touches it: the measure of DL-5.
    pub(crate) is_bystander: bool,
}

/// Types of events that are published.
pub(crate) const TYPES: [&str; 3] = ["payment.completed", "payment.failed", "order.created"];

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Time goes by.
    Wait(Duration),
    Publish(Publish),
    /// An endpoint's receiver behaves like this from now on.
    Receiver(usize, Behaviour),
    Pause(usize),
    /// With catch-up.
    Resume(usize),
    Disable(usize),
    Delete(usize),
    /// One of the endpoint's dead letters is taken up; the number chooses.
    Redrive(usize, u64),
    /// A delivery of the endpoint is cancelled.
    Cancel(usize, u64),
    /// An event is sent to the endpoint again.
    Resend(usize, u64),
    Probe(usize),
    /// The worker that owns the shards ends as by SIGKILL.
    Crash,
    /// One more worker starts.
    Start,
    /// The worker that owns the shards is asked to stop.
    Stop,
    Misfortune(Misfortune),
}

/// A batch of events.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) count: u64,
    pub(crate) event_type: &'static str,
    /// Of so many, chosen anew for each event.
    pub(crate) ordering_keys: Option<u64>,
    pub(crate) idempotency_key: Option<u64>,
    pub(crate) ahead: Option<Duration>,
    /// By a plain producer: without the tenant's revision.
    pub(crate) is_plain: bool,
    /// What the publisher hears instead of an answer.
    pub(crate) fault: Option<Fault>,
}

/// Something of our own goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Misfortune {
    /// The next reads of the store fail.
    Reads(usize),
    /// The next writes to the store fail.
    Writes(usize, Fault),
    /// The store does not answer for so long.
    Hang(Duration),
    /// The next reads of the log fail.
    LogReads(usize),
    /// The next acks fail.
    Acks(usize, Fault),
    /// The next hints are lost.
    Hints(usize),
    /// Nothing of it fails any more.
    Over,
}

impl Plan {
    /// The plan of a seed: always the same.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        draw::plan(seed)
    }
}
