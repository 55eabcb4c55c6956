//! What was skipped while an endpoint was disabled is delivered once it is active again (DL-8).

use std::sync::Arc;

use domain::{
    BacklogRow, DisableReason, EndpointState, EndpointUid, Event, EventRef, LaneKey, Line,
    Position, RunId, Timestamp, Trigger, WaitReason,
};

use super::Engine;
use super::settle::Settlement;
use crate::effect::Effect;
use crate::lane::{Scan, Skip};

/// Rows that catching up keeps waiting ahead of live traffic, at most (`architecture.md` §7).
const AHEAD_MAX: usize = 1_000;
/// Records of the log that are read at once.
const SCAN_RECORDS: usize = 500;
/// Skipped events that are put into a disabled endpoint's backlog at once, to be its probes.
const PROBE_ROWS: usize = 16;

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
        let Some(lane) = self.lanes.get(&key) else {
            return;
        };
        if let Skip::CatchingUp(from, to) = lane.skip
            && lane.ahead.len() < AHEAD_MAX
            && lane.order.waiting_in_lane() < AHEAD_MAX as u64
        {
            self.scan(key, from, to);
        }
    }

    fn scan(&mut self, key: LaneKey, from: Position, to: Position) {
        if !self.may_begin(key) {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&key)
            && lane.scan == Scan::Idle
        {
            lane.scan = Scan::Reading(from, to);
            self.effects.push_back(Effect::Scan { lane: key, from, to, limit: SCAN_RECORDS });
        }
    }

    /// The endpoint is disabled again: what is left is skipped as before.
    pub(super) fn stop_catching_up(&mut self, uid: EndpointUid) {
        let shards = self.endpoints.get(&uid).map(|endpoint| endpoint.lanes.clone());
        for shard in shards.unwrap_or_default() {
            if let Some(lane) = self.lanes.get_mut(&LaneKey { shard, endpoint: uid })
                && let Skip::CatchingUp(from, _) = lane.skip
            {
                lane.skip = Skip::Marked(from);
            }
        }
    }

    /// A disabled endpoint with nothing due in its backlog is probed with the first events that it skipped: they go to the backlog, and are looked at
    /// there like all that comes a second time.
    pub(super) fn probe_skipped(&mut self, key: LaneKey, now: Timestamp) {
        let next = self.shards.get(&key.shard).map(crate::tracker::Tracker::next);
        let (Some(lane), Some(to)) = (self.lanes.get(&key), next) else {
            return;
        };
        if let Skip::Marked(from) = lane.skip
            && from < to
            && lane.loading == 0
            && lane.backlog.nothing_due(now)
            && !lane.order.is_open(Line::LANE)
        {
            self.scan(key, from, to);
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
        let Some(state) = self.endpoints.get(&key.endpoint).map(|endpoint| endpoint.spec.state)
        else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let Scan::Reading(from, to) = lane.scan else {
            return;
        };
        lane.scan = Scan::Idle;
        let read_to = next.unwrap_or(to);
        match lane.skip {
            Skip::Marked(mark)
                if mark == from && state == EndpointState::Disabled(DisableReason::Failing) =>
            {
                let probes: Vec<_> = matched.iter().take(PROBE_ROWS).cloned().collect();
                let all = probes.len() == matched.len();
                let last = probes.last().map(|(at, _)| at.at.position.next());
                let upto = last.filter(|_| !all).unwrap_or(read_to);
                self.append_skipped(key, probes, (from, upto), now);
            }
            Skip::CatchingUp(mark, _) if mark == from => {
                self.append_skipped(key, matched, (from, read_to), now);
            }
            // The mark has moved meanwhile, or is not needed any more: what was read is not what is asked for.
            Skip::None | Skip::Marked(_) | Skip::Marking(..) | Skip::CatchingUp(..) => {}
        }
        self.go_on_catching_up(key);
        self.wake(key);
        self.pump(now);
    }

    /// Puts a part of what was skipped into the backlog; the mark moves once that is durable.
    fn append_skipped(
        &mut self,
        key: LaneKey,
        matched: Vec<(EventRef, Arc<Event>)>,
        (from, to): (Position, Position),
        now: Timestamp,
    ) {
        if matched.is_empty() {
            return self.caught_up(key, from, to, now);
        }
        let mut write = self.new_write();
        let mut settlement =
            Settlement { lane: Some(key), caught_up: Some((from, to)), ..Settlement::default() };
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.scan = Scan::Appending;
        for (event, body) in matched {
            if let Some(line) = self.line_of(key, &body) {
                let into = Line::LANE;
                self.hold_row(key, into, line, &event, now, &mut write, &mut settlement);
                write.events.push((event, body));
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&key) else {
                return;
            };
            let due = body.deliver_at.unwrap_or(now).max(now);
            let row_key = lane.backlog.issue(due);
            settlement.appended.push(row_key);
            // What is due much later holds nothing up.
            if due <= now {
                lane.ahead.insert(row_key);
            }
            write.rows.push((key, row_of_skipped(event.clone(), row_key, due)));
            write.events.push((event, body));
        }
        self.write(write, settlement);
    }

    /// A part of what was skipped is durable in the backlog, or nothing of it is wanted.
    pub(super) fn caught_up(&mut self, key: LaneKey, from: Position, to: Position, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.scan = Scan::Idle;
        lane.skip = match lane.skip {
            Skip::CatchingUp(mark, end) if mark == from && to >= end => Skip::None,
            Skip::CatchingUp(mark, end) if mark == from => Skip::CatchingUp(to, end),
            Skip::Marked(mark) if mark == from => Skip::Marked(to),
            Skip::None | Skip::Marking(..) | Skip::Marked(_) | Skip::CatchingUp(..) => return,
        };
        self.touch(key, now);
    }
}

fn row_of_skipped(event: EventRef, key: domain::BacklogKey, due: Timestamp) -> BacklogRow {
    BacklogRow {
        key,
        event,
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        reason: WaitReason::Overflow,
        first_due: due,
    }
}
