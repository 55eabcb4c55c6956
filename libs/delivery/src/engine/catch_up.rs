//! What was skipped while an endpoint was disabled is delivered once it is active again (DL-8).

use std::sync::Arc;

use domain::{
    DisableReason, EndpointState, EndpointUid, Event, EventRef, LaneKey, LogPosition, Position,
    RunId, Timestamp, Trigger, WaitReason,
};

use super::Engine;
use super::settle::Settlement;
use crate::effect::Effect;
use crate::lane::{Item, Origin, Skip};

/// Rows that catching up keeps waiting ahead of live traffic, at most (`architecture.md` §7).
const AHEAD_MAX: u64 = 1_000;
/// Records of the log that are read at once.
const SCAN_RECORDS: usize = 500;

impl Engine {
    /// Begins to catch up on every lane of an active endpoint that skipped something.
    pub(super) fn catch_up_if_active(&mut self, uid: EndpointUid) {
        let Some(endpoint) = self.endpoints.get(&uid) else {
            return;
        };
        if endpoint.spec.state != EndpointState::Active {
            return;
        }
        for shard in endpoint.lanes.clone() {
            let key = LaneKey { shard, endpoint: uid };
            let Some(head) = self.shards.get(&shard).map(crate::tracker::Tracker::next) else {
                continue;
            };
            if let Some(lane) = self.lanes.get_mut(&key)
                && let Skip::Marked(from) = lane.skip
            {
                lane.skip = Skip::CatchingUp(from, head.max(from));
                self.go_on_catching_up(key);
            }
        }
    }

    /// Reads the next part of what was skipped, once what was read before is mostly delivered.
    pub(super) fn go_on_catching_up(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let Skip::CatchingUp(from, to) = lane.skip else {
            return;
        };
        if lane.scanning || lane.backlog.size() >= AHEAD_MAX {
            return;
        }
        lane.scanning = true;
        self.effects.push_back(Effect::Scan { lane: key, from, to, limit: SCAN_RECORDS });
    }

    /// The endpoint is disabled again: what is left is skipped as before.
    pub(super) fn stop_catching_up(&mut self, uid: EndpointUid) {
        for lane in self.lanes.values_mut().filter(|lane| lane.key.endpoint == uid) {
            if let Skip::CatchingUp(from, _) = lane.skip {
                lane.skip = Skip::Marked(from);
            }
        }
    }

    /// A disabled endpoint with nothing in its backlog is probed with the first event that it skipped.
    pub(super) fn probe_skipped(&mut self, key: LaneKey) {
        let next = self.shards.get(&key.shard).map(crate::tracker::Tracker::next);
        let (Some(lane), Some(to)) = (self.lanes.get_mut(&key), next) else {
            return;
        };
        let idle = lane.loading == 0 && lane.backlog.size() == 0 && !lane.scanning;
        if let Skip::Marked(from) = lane.skip
            && idle
            && from < to
        {
            lane.scanning = true;
            self.effects.push_back(Effect::Scan { lane: key, from, to, limit: SCAN_RECORDS });
        }
    }

    /// A part of the log has been read: the events of it that the lane's endpoint wants, and where to go on (`None`: the range is read).
    pub fn handle_scan(
        &mut self,
        key: LaneKey,
        matched: Vec<(EventRef, Arc<Event>)>,
        next: Option<Position>,
        now: Timestamp,
    ) {
        let Some(endpoint) = self.endpoints.get(&key.endpoint) else {
            return;
        };
        let state = endpoint.spec.state;
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.scanning = false;
        match lane.skip.clone() {
            Skip::Marked(_) if state == EndpointState::Disabled(DisableReason::Failing) => {
                self.probe_with(key, matched, next, now);
            }
            Skip::CatchingUp(_, to) => self.append_skipped(key, matched, next.unwrap_or(to), now),
            Skip::None | Skip::Marked(_) | Skip::Marking(..) => {}
        }
        self.kick(key.endpoint);
        self.pump(now);
    }

    fn probe_with(
        &mut self,
        key: LaneKey,
        matched: Vec<(EventRef, Arc<Event>)>,
        next: Option<Position>,
        now: Timestamp,
    ) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        match (matched.into_iter().next(), next) {
            (Some((at, event)), _) => {
                let item = skipped_item(at, event, now);
                lane.active.insert((item.at.at, item.run));
                lane.ready.push_back(item);
            }
            // Nothing in this part that the endpoint still wants: the mark moves on.
            (None, Some(position)) => {
                lane.skip = Skip::Marked(position);
                self.touch(key, now);
            }
            (None, None) => {}
        }
    }

    /// Puts a part of what was skipped into the backlog; the mark moves once that is durable.
    fn append_skipped(
        &mut self,
        key: LaneKey,
        matched: Vec<(EventRef, Arc<Event>)>,
        next: Position,
        now: Timestamp,
    ) {
        let mut write = self.new_write();
        let mut settlement =
            Settlement { lane: Some(key), caught_up_to: Some(next), ..Settlement::default() };
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.scanning = true;
        for (at, event) in matched {
            let item = skipped_item(at, event, now);
            let row_key = lane.backlog.issue(now);
            let row = super::settle::row_of(&item, row_key, 1, WaitReason::Overflow);
            settlement.appended.push(row_key);
            write.rows.push((key, row));
            write.events.push((item.at, item.event));
        }
        self.write(write, settlement);
    }

    /// A part of what was skipped is durable in the backlog.
    pub(super) fn caught_up_to(&mut self, key: LaneKey, position: Position, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.scanning = false;
        if let Skip::CatchingUp(_, to) = lane.skip {
            lane.skip = if position >= to { Skip::None } else { Skip::CatchingUp(position, to) };
            self.touch(key, now);
        }
    }
}

fn skipped_item(at: EventRef, event: Arc<Event>, now: Timestamp) -> Item {
    debug_assert!(LogPosition::is_in_log(at.at));
    Item {
        at,
        event,
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        first_due: now,
        origin: Origin::Skipped,
        stored: false,
        attempts_before: 0,
        queued_at: now,
    }
}
