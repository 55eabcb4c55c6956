//! What the lanes of one endpoint share: window, bucket, breaker, state.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    DeliveryPolicy, DisableReason, EndpointId, EndpointState, EndpointUid, Revision, Shard,
    TenantId, Timestamp, limits,
};

use crate::breaker::{Breaker, probe_pace};
use crate::bucket::Bucket;
use crate::window::Window;

/// What the engine needs to know of an endpoint's configuration.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    /// The endpoint.
    pub uid: EndpointUid,
    /// Its name, for observations.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its requests go, for dead letters that no request ended.
    pub url: Arc<str>,
    /// Its policy.
    pub policy: DeliveryPolicy,
    /// Its state.
    pub state: EndpointState,
    /// When the state last changed.
    pub state_time: Timestamp,
    /// The revision of this configuration.
    pub revision: Revision,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) spec: EndpointSpec,
    pub(crate) breaker: Breaker,
    pub(crate) window: Window,
    bucket: Option<Bucket>,
    /// A receiver asked to wait until then.
    pub(crate) hold_until: Timestamp,
    pub(crate) in_flight: u32,
    /// Whether the one attempt that an open breaker or a disabled state allows is on its way.
    pub(crate) probing: bool,
    /// When a person last asked for a probe: every shard is told, and all of them mean one.
    pub(crate) probe_asked: Timestamp,
    /// When a disabled endpoint is probed next; `None` before the first time was set, [`Timestamp::MAX`] once they have ended.
    pub(crate) probe_next: Option<Timestamp>,
    /// Changes of state that are on their way to the store: what the configuration says of it may be stale.
    pub(crate) states_pending: u32,
    /// What the configuration said meanwhile.
    pub(crate) state_heard: Option<StateHeard>,
    /// How long its answers take: a moving average, the newest counts a quarter.
    pace: Duration,
    /// The endpoint waits in the engine's round of endpoints.
    pub(crate) in_round: bool,
    pub(crate) lanes: BTreeSet<Shard>,
    /// Those of them that may have something to start: of many shards few have at a time.
    awake: BTreeSet<Shard>,
    /// The lane that was served last.
    pub(crate) last_lane: Option<Shard>,
}

/// A state that the configuration showed while a change of ours was on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateHeard {
    pub(crate) state: EndpointState,
    pub(crate) state_time: Timestamp,
    pub(crate) revision: Revision,
    /// When it was heard.
    pub(crate) at: Timestamp,
}

/// Whether an attempt may start now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Permit {
    /// Yes.
    Free,
    /// One, whichever is due first.
    One,
    /// One that uses up no attempt: the endpoint is disabled.
    Probe,
    /// Not before this time; `None`: not until something changes.
    Wait(Option<Timestamp>),
}

impl Endpoint {
    pub(crate) fn new(spec: EndpointSpec, breaker: Breaker) -> Self {
        Self {
            window: Window::new(spec.policy.max_concurrency),
            bucket: spec.policy.rate_limit.map(Bucket::new),
            breaker,
            spec,
            hold_until: Timestamp::ZERO,
            in_flight: 0,
            probing: false,
            probe_asked: Timestamp::ZERO,
            probe_next: None,
            states_pending: 0,
            state_heard: None,
            pace: Duration::ZERO,
            in_round: false,
            lanes: BTreeSet::new(),
            awake: BTreeSet::new(),
            last_lane: None,
        }
    }

    /// Takes a newer configuration; its state is the caller's to apply.
    pub(crate) fn set_policy(&mut self, policy: DeliveryPolicy) {
        self.window.set_max(policy.max_concurrency);
        if self.bucket.as_ref().map(Bucket::limit) != policy.rate_limit {
            self.bucket = policy.rate_limit.map(Bucket::new);
        }
        self.spec.policy = policy;
    }

    /// Whether new events go straight to the memory queue.
    pub(crate) fn takes_live(&self) -> bool {
        self.spec.state == EndpointState::Active && !self.breaker.is_open()
    }

    /// Whether what a person asks for may start: at once, whatever the breaker says, within the endpoint's concurrency.
    pub(crate) fn admits_asked(&self) -> bool {
        self.in_flight < self.spec.policy.max_concurrency.max(1)
    }

    /// Whether nothing but tests goes out: it is disabled by hand or by its answer.
    pub(crate) fn takes_tests_only(&self) -> bool {
        matches!(
            self.spec.state,
            EndpointState::Disabled(DisableReason::Answer(_) | DisableReason::ByHand)
        )
    }

    /// Whether deliveries go out at all, if only as probes.
    pub(crate) fn may_send(&self) -> bool {
        match self.spec.state {
            EndpointState::Active | EndpointState::Disabled(DisableReason::Failing) => true,
            EndpointState::Paused
            | EndpointState::Disabled(DisableReason::Answer(_) | DisableReason::ByHand) => false,
        }
    }

    pub(crate) fn permit(&self, now: Timestamp) -> Permit {
        match self.spec.state {
            EndpointState::Paused => Permit::Wait(None),
            EndpointState::Disabled(DisableReason::Failing) => self.probe_permit(now),
            EndpointState::Disabled(DisableReason::Answer(_) | DisableReason::ByHand) => {
                Permit::Wait(None)
            }
            EndpointState::Active => self.active_permit(now),
        }
    }

    fn probe_permit(&self, now: Timestamp) -> Permit {
        if self.probing {
            return Permit::Wait(None);
        }
        let first = self.probe_pace(now).map(|pace| self.spec.state_time + pace);
        // What a person asks for is done also once probes have ended by themselves.
        match self.probe_next.or(first) {
            None | Some(Timestamp::MAX) => Permit::Wait(None),
            Some(next) if now < next => Permit::Wait(Some(next)),
            Some(_) => Permit::Probe,
        }
    }

    fn active_permit(&self, now: Timestamp) -> Permit {
        if now < self.hold_until {
            return Permit::Wait(Some(self.hold_until));
        }
        let permit = match self.breaker.next_attempt() {
            Some(_) if self.probing => return Permit::Wait(None),
            Some(next) if now < next => return Permit::Wait(Some(next)),
            Some(_) => Permit::One,
            None if !self.window.admits(self.in_flight) => return Permit::Wait(None),
            None => Permit::Free,
        };
        match &self.bucket {
            Some(bucket) if bucket.next() > now => Permit::Wait(Some(bucket.next())),
            _ => permit,
        }
    }

    /// The wait between probes while disabled; `None` once they have ended.
    fn probe_pace(&self, now: Timestamp) -> Option<Duration> {
        probe_pace(&self.spec.policy.retry_schedule, now.since(self.spec.state_time))
    }

    /// A probe has failed: when the next one is due, if they have not ended by then.
    pub(crate) fn probe_failed(&mut self, now: Timestamp) {
        let next = self.probe_pace(now).map(|pace| now + pace);
        let next = next.filter(|next| self.probe_pace(*next).is_some());
        self.probe_next = Some(next.unwrap_or(Timestamp::MAX));
    }

    /// Whether it holds places for long (`architecture.md` §4).
    pub(crate) fn is_slow(&self) -> bool {
        self.pace > limits::SLOW_LANE
    }

    /// Learns from how long an answer took.
    pub(crate) fn learn_pace(&mut self, took: Duration) {
        self.pace = (self.pace * 3 + took) / 4;
    }

    /// An attempt starts.
    pub(crate) fn started(&mut self, permit: Permit, now: Timestamp) {
        self.in_flight += 1;
        if matches!(permit, Permit::One | Permit::Probe) {
            self.probing = true;
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
    }

    /// An attempt has ended.
    pub(crate) fn ended(&mut self, sole: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if sole {
            self.probing = false;
        }
    }

    /// A lane may have something to start. One that is not this endpoint's changes nothing.
    pub(crate) fn wake(&mut self, lane: Shard) {
        if self.lanes.contains(&lane) {
            self.awake.insert(lane);
        }
    }

    /// Each lane may have something to start.
    pub(crate) fn wake_all(&mut self) {
        self.awake.clone_from(&self.lanes);
    }

    /// A lane has nothing to start until it is woken.
    pub(crate) fn sleep(&mut self, lane: Shard) {
        self.awake.remove(&lane);
    }

    /// A lane is not this worker's any more, or has nothing to remember.
    pub(crate) fn lose_lane(&mut self, lane: Shard) {
        self.lanes.remove(&lane);
        self.awake.remove(&lane);
    }

    #[cfg(debug_assertions)]
    pub(crate) fn asleep(&self) -> impl Iterator<Item = Shard> {
        self.lanes.difference(&self.awake).copied()
    }

    /// The lane to serve first, and those after it that may have something to start: round robin.
    pub(crate) fn lanes_in_turn(&self) -> Vec<Shard> {
        let Some(last) = self.last_lane else {
            return self.awake.iter().copied().collect();
        };
        let after = self.awake.range((Bound::Excluded(last), Bound::Unbounded));
        after.chain(self.awake.range(..=last)).copied().collect()
    }
}
