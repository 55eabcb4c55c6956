//! When the engine wants to be woken: one ordered set, one entry a holder.

use std::collections::{BTreeMap, BTreeSet};

use domain::{EndpointUid, LaneKey, Shard, Timestamp};

/// Who wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// An endpoint may send again.
    Endpoint(EndpointUid),
    /// A lane's backlog is due.
    Lane(LaneKey),
    /// A lane's queue has waited too long.
    Queue(LaneKey),
    /// A shard's oldest record has been open too long.
    Span(Shard),
    /// Lanes have changed and are to be saved.
    Save,
    /// What has waited too long is to be found.
    Sweep,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Timestamp, Timer)>,
    by_holder: BTreeMap<Timer, Timestamp>,
}

impl Timers {
    /// Wakes `timer` at `at`, and at no other time.
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        if self.by_holder.get(&timer) == Some(&at) {
            return;
        }
        self.clear(timer);
        self.by_holder.insert(timer, at);
        self.by_time.insert((at, timer));
    }

    /// Wakes `timer` at `at` unless it is woken before.
    pub(crate) fn set_earlier(&mut self, timer: Timer, at: Timestamp) {
        if self.by_holder.get(&timer).is_none_or(|set| at < *set) {
            self.set(timer, at);
        }
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.by_holder.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the next timer that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}
