//! Shards that another worker waits for: what is under way comes to its end, and nothing begins.

use domain::{LaneKey, Shard, Timestamp};

use super::Engine;
use crate::timers::Timer;

impl Engine {
    /// Starts nothing more of a shard and takes no more of its records, since another worker waits for it. What is in flight goes on to its end and is
    /// recorded with all that follows from it: the shard is ours until [`Engine::revoke`]. What was not started is not handed off: the next owner reads it again.
    ///
    /// The caller drops answers to `ReadBacklog` and `Scan` that come after it.
    pub fn leave(&mut self, shard: Shard) {
        let Some(tracker) = self.shards.get_mut(&shard) else {
            return;
        };
        tracker.is_leaving = true;
        self.timers.clear(Timer::Span(shard));
        for key in self.lanes_in(shard) {
            self.timers.clear(Timer::Lane(key));
            self.timers.clear(Timer::Queue(key));
        }
        self.loads.retain(|_, load| load.lane().shard != shard);
        self.drop_effects(shard);
    }

    /// Whether nothing of a shard that is left is under way any more. Saves what has changed of its lanes first: ask again once writes are durable.
    pub fn has_left(&mut self, shard: Shard, now: Timestamp) -> bool {
        let is_flying = self.in_flight.values().any(|flight| flight.lane.shard == shard);
        if is_flying || self.writes_pending_of(shard) > 0 {
            return false;
        }
        self.save_all_of(shard, now);
        self.writes_pending_of(shard) == 0
    }

    /// Whether something of a lane may begin.
    pub(super) fn may_begin(&self, lane: LaneKey) -> bool {
        self.shards.get(&lane.shard).is_some_and(|tracker| !tracker.is_leaving)
    }

    pub(super) fn lanes_in(&self, shard: Shard) -> Vec<LaneKey> {
        self.lanes.keys().filter(|key| key.shard == shard).copied().collect()
    }
}
