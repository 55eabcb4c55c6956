//! Lanes that have changed are saved after a while, many at once.

use std::time::Duration;

use domain::{EndpointUid, LaneKey, LaneRow, Line, LineRow, Shard, Timestamp};

use super::Engine;
use super::settle::Settlement;
use crate::timers::Timer;

/// How long a change of cursor, breaker or skip mark may be missing in the store.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a lane is saved for its last success or failure alone: every busy lane has a new one at each outcome.
const SAVE_HEALTH_INTERVAL: Duration = Duration::from_secs(30);
/// Lanes in one write.
const LANES_MAX: usize = 256;

impl Engine {
    /// Marks a lane as changed; it is saved within a second.
    pub(super) fn touch(&mut self, key: LaneKey, now: Timestamp) {
        self.save_by(key, now + SAVE_INTERVAL);
    }

    /// Marks a lane whose last success or failure alone is another.
    pub(super) fn touch_health(&mut self, key: LaneKey, now: Timestamp) {
        let Some(lane) = self.lanes.get(&key) else {
            return;
        };
        let next = lane.saved.map(|saved| saved + SAVE_HEALTH_INTERVAL);
        self.save_by(key, (now + SAVE_INTERVAL).max(next.unwrap_or(now)));
    }

    /// Marks all lanes of an endpoint as changed: each of them remembers the breaker.
    pub(super) fn touch_all(&mut self, uid: EndpointUid, now: Timestamp) {
        let shards = self.endpoints.get(&uid).map(|endpoint| endpoint.lanes.clone());
        for shard in shards.unwrap_or_default() {
            self.touch(LaneKey { shard, endpoint: uid }, now);
        }
    }

    fn save_by(&mut self, key: LaneKey, by: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&key)
            && lane.save_by.is_none_or(|known| by < known)
        {
            lane.save_by = Some(by);
            self.timers.set_earlier(Timer::Save, by);
        }
    }

    pub(super) fn lane_row(&self, key: LaneKey) -> Option<LaneRow> {
        let lane = self.lanes.get(&key)?;
        let breaker = self.endpoints.get(&key.endpoint).map(|e| e.breaker.state());
        Some(lane.row(breaker.unwrap_or_default()))
    }

    /// The lane's own line, if it has moved since it was saved.
    fn changed_line(&mut self, key: LaneKey) -> Option<LineRow> {
        let lane = self.lanes.get_mut(&key)?;
        lane.order.take_changed().then(|| lane.order.row(key, lane.epoch, Line::LANE))
    }

    /// Saves what has changed of a shard's lanes, whenever it would be due.
    pub(super) fn save_all_of(&mut self, shard: Shard, now: Timestamp) {
        let lanes = self.lanes.values_mut().filter(|lane| lane.key.shard == shard);
        for lane in lanes {
            lane.save_by = lane.save_by.map(|_| now);
        }
        self.save_changed(now);
    }

    pub(super) fn save_changed(&mut self, now: Timestamp) {
        let mut keys = Vec::new();
        let mut next: Option<Timestamp> = None;
        for lane in self.lanes.values_mut() {
            match lane.save_by {
                Some(by) if by <= now => {
                    lane.save_by = None;
                    lane.saved = Some(now);
                    keys.push(lane.key);
                }
                Some(by) => next = Some(next.map_or(by, |next| next.min(by))),
                None => {}
            }
        }
        // Keys are in the order of their shards: a write holds lanes of one.
        let of_shards = keys.chunk_by(|one, next| one.shard == next.shard);
        for chunk in of_shards.flat_map(|lanes| lanes.chunks(LANES_MAX)) {
            let mut write = self.new_write();
            write.shard = chunk.first().map(|key| key.shard);
            write.lanes = chunk.iter().filter_map(|key| self.lane_row(*key)).collect();
            write.lines = chunk.iter().filter_map(|key| self.changed_line(*key)).collect();
            self.write(write, Settlement::default());
        }
        if let Some(next) = next {
            self.timers.set_earlier(Timer::Save, next);
        }
    }
}
