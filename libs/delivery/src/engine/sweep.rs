//! Once an hour: what has waited for over 7 days becomes a dead letter whatever its endpoint's state, and lanes with nothing to remember are forgotten.
//!
//! Lanes that may be sent to find their expired rows by themselves; a paused one loads nothing. Rows are read in the order of their due times, and
//! one page in memory is enough to know the oldest exactly; behind more than a page of younger rows a retry that is due late waits at most for the
//! 7 days of its own due time.

use std::collections::BTreeSet;

use domain::{EndpointUid, LaneKey, Timestamp, limits};

use super::Engine;
use crate::effect::{Effect, Forgotten};
use crate::lane::{Lane, LeftAsked, Scan, Skip};
use crate::timers::Timer;

impl Engine {
    pub(super) fn sweep(&mut self, now: Timestamp) {
        let limit = now - limits::EXPIRY;
        let mut left = limits::SWEEP_ROWS_MAX;
        let mut is_done = true;
        let keys: Vec<LaneKey> =
            self.lanes.values().filter(|lane| has_expired(lane, limit)).map(|l| l.key).collect();
        for key in keys {
            is_done = false;
            self.sweep_lane(key, limit, &mut left, now);
            if left == 0 {
                break;
            }
        }
        if is_done {
            self.forget_idle(now);
        }
        let wait = if is_done { limits::SWEEP_INTERVAL } else { limits::SWEEP_STEP };
        if !self.shards.is_empty() {
            self.timers.set(Timer::Sweep, now + wait);
        }
    }

    /// Looks at a lane's expired rows; reads the next page of it when those in memory are not.
    fn sweep_lane(&mut self, key: LaneKey, limit: Timestamp, left: &mut usize, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if lane.left != LeftAsked::Found {
            return;
        }
        let most = (*left).min(limits::BACKLOG_PAGE_ROWS.saturating_sub(lane.loading));
        let rows = lane.backlog.take_older(limit, most);
        lane.loading += rows.len();
        *left -= rows.len();
        if rows.is_empty()
            && let Some((after, upto)) = lane.backlog.request_page(now)
        {
            *left = left.saturating_sub(limits::BACKLOG_PAGE_ROWS);
            let limit = limits::BACKLOG_PAGE_ROWS;
            self.effects.push_back(Effect::ReadBacklog { lane: key, after, upto, limit });
        }
        rows.into_iter().for_each(|row| self.load_row(key, row));
    }

    /// Forgets lanes that remember nothing: in memory at once, in the store by the next write.
    fn forget_idle(&mut self, now: Timestamp) {
        let mut busy: BTreeSet<LaneKey> = self.loads.values().map(|load| load.lane()).collect();
        busy.extend(self.writes.values().filter_map(|settlement| settlement.lane));
        let healthy =
            |uid: &EndpointUid| self.endpoints.get(uid).is_some_and(|known| known.breaker.is_new());
        let idle = self.lanes.values().filter(|lane| is_idle(lane, now));
        let idle = idle.filter(|lane| healthy(&lane.key.endpoint) && !busy.contains(&lane.key));
        let idle: Vec<Forgotten> = idle.map(|lane| lane.forgotten(lane.backlog.cursor())).collect();
        for Forgotten { lane, .. } in &idle {
            if let Some(endpoint) = self.endpoints.get_mut(&lane.endpoint) {
                endpoint.lose_lane(lane.shard);
            }
            self.drop_lane(*lane);
        }
        self.remove_stored(idle);
    }

    /// Takes a lane out of memory with its timers.
    pub(super) fn drop_lane(&mut self, key: LaneKey) -> Option<Lane> {
        self.timers.clear(Timer::Lane(key));
        self.timers.clear(Timer::Queue(key));
        self.lanes.remove(&key)
    }

    /// Takes lanes out of the store.
    fn remove_stored(&mut self, lanes: Vec<Forgotten>) {
        // Lanes are in the order of their shards: a write holds those of one.
        let of_shards = lanes.chunk_by(|one, next| one.lane.shard == next.lane.shard);
        for chunk in of_shards.flat_map(|lanes| lanes.chunks(256)) {
            let mut write = self.new_write();
            write.shard = chunk.first().map(|first| first.lane.shard);
            write.removed = chunk.to_vec();
            self.write(write, super::settle::Settlement::default());
        }
    }
}

/// Whether a lane holds, or may hold, what has waited too long. One that nobody has read yet may.
fn has_expired(lane: &Lane, limit: Timestamp) -> bool {
    let backlog = &lane.backlog;
    if backlog.is_reading() || lane.loading > 0 || lane.left != LeftAsked::Found {
        // Goes on when that has come.
        return backlog.oldest().is_some_and(|due| due < limit);
    }
    let in_store = backlog.next_due().is_some_and(|due| due < limit);
    let has_room = backlog.waiting() < limits::BACKLOG_PAGE_ROWS;
    backlog.has_older(limit) || (in_store && has_room)
}

fn is_idle(lane: &Lane, now: Timestamp) -> bool {
    let used = lane.last_success.max(lane.last_failure);
    lane.queue.is_empty()
        && lane.ready.is_empty()
        && lane.asked.is_empty()
        && lane.to_ask.is_empty()
        && lane.active.is_empty()
        && lane.ahead.is_empty()
        && lane.order.is_empty()
        && lane.skip == Skip::None
        && lane.scan == Scan::Idle
        && lane.left == LeftAsked::Found
        && lane.backlog.is_empty()
        && used.is_none_or(|used| now.since(used) > limits::LANE_KEPT_IDLE)
}
