//! What changes once a write is durable.

use std::collections::BTreeSet;

use domain::{
    BacklogKey, CommandId, EventRef, LaneKey, Line, LogPosition, Position, RunId, Shard, Timestamp,
    WaitReason,
};

use super::{Engine, InFlight};
use crate::effect::{AttemptToken, WriteToken};
use crate::lane::{Item, Lane, Origin, Skip};
use crate::order::Mark;

/// What changes once a write is durable.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    pub(super) lane: Option<LaneKey>,
    /// The shard whose write it is, as long as it is under way.
    pub(super) shard: Option<Shard>,
    /// Outcomes of attempts among it.
    pub(super) outcomes: usize,
    /// What is handed off.
    pub(super) done: Vec<Origin>,
    /// Backlog keys that are durable.
    pub(super) appended: Vec<BacklogKey>,
    /// Rows of lines that are durable.
    pub(super) held: Vec<(Line, Position)>,
    /// Deliveries of the log's run that have ended.
    pub(super) over: Vec<LogPosition>,
    /// How far the lane's own line has had its turn.
    pub(super) turned: Option<Mark>,
    /// Runs that are not in memory any more.
    pub(super) ended: Vec<(LogPosition, RunId)>,
    /// Attempts in flight that have a row now.
    pub(super) spilled: Vec<(AttemptToken, domain::BacklogRow)>,
    /// The lane's skip mark.
    pub(super) marked: Option<Position>,
    /// What was skipped from the first position to the second is in the backlog.
    pub(super) caught_up: Option<(Position, Position)>,
    /// The lane's row is in the store.
    pub(super) lane_stored: bool,
    /// Runs of an event that are cancelled.
    pub(super) cancelled: Option<(LogPosition, BTreeSet<RunId>)>,
    /// Redrives that are cancelled, with the command that is done once their letters are back.
    pub(super) released: Vec<(EventRef, RunId, (Shard, CommandId))>,
}

impl Engine {
    /// A write is durable.
    pub fn handle_written(&mut self, token: WriteToken, now: Timestamp) {
        let Some(settlement) = self.writes.remove(&token) else {
            return;
        };
        self.unwritten -= settlement.outcomes;
        if let Some(key) = settlement.lane {
            self.settle(key, settlement, now);
        }
        self.pump(now);
    }

    pub(super) fn settle(&mut self, key: LaneKey, settlement: Settlement, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.stored |= settlement.lane_stored;
        settlement.appended.iter().for_each(|row| lane.backlog.appended(*row));
        settlement.held.iter().for_each(|(line, row)| lane.order.held(*line, *row));
        settlement.turned.into_iter().for_each(|mark| lane.order.lane_line_done(mark));
        for run in &settlement.ended {
            lane.active.remove(run);
            if !self.loads.is_empty() {
                self.ended.note((key, run.0, run.1), self.next_token);
            }
        }
        if !settlement.ended.is_empty() {
            lane.backlog.retry_deferred();
        }
        let mut positions = Vec::new();
        let mut moved = false;
        for origin in settlement.done {
            match origin {
                Origin::Live(position) => positions.push(position),
                Origin::Row(row) => {
                    lane.row_done(row);
                    // The cursor moved, or the count of what waits.
                    moved = true;
                }
            }
        }
        if let Some(mark) = settlement.marked {
            positions.extend(mark_is_durable(lane, mark));
        }
        if moved || !settlement.appended.is_empty() || !settlement.held.is_empty() {
            self.touch(key, now);
        }
        for (token, row) in settlement.spilled {
            positions.extend(self.settle_spilled(key, token, row));
        }
        if let Some((at, runs)) = settlement.cancelled {
            self.end_marked(key, at, &runs, now);
            // What is in flight tells by its outcome.
            let is_flying = |flight: &InFlight| flight.lane == key && flight.item.at.at == at;
            if runs.contains(&RunId::LOG) && !self.in_flight.values().any(is_flying) {
                self.over(key, at, now);
            }
        }
        settlement.over.iter().for_each(|at| self.over(key, *at, now));
        for (event, run, command) in settlement.released {
            self.look_for_release(key, event, run, command);
        }
        if let Some((from, to)) = settlement.caught_up {
            self.caught_up(key, from, to, now);
        }
        if settlement.marked.is_some() {
            // The endpoint may have been resumed before the mark was durable.
            self.catch_up_if_active(key.endpoint);
        }
        for position in positions {
            if let Some(tracker) = self.shards.get_mut(&key.shard) {
                tracker.done(position);
            }
        }
        self.advance(key.shard);
        self.place_looked(key, now);
        self.go_on_in_order(key, now);
        self.go_on_catching_up(key);
        self.wake(key);
    }

    /// Appends first attempts to a lane's backlog, with their bodies. They are handed off once that is durable.
    pub(super) fn append_first(
        &mut self,
        key: LaneKey,
        items: Vec<Item>,
        due: Timestamp,
        reason: WaitReason,
        now: Timestamp,
    ) {
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if due <= now {
            lane.draining = true;
        }
        for item in items {
            let row = row_of(&item, lane.backlog.issue(due), item.number, reason);
            settlement.appended.push(row.key);
            settlement.done.push(item.origin);
            // Until its row is durable the run stays in memory: a row that an owner before left must wait for it.
            lane.active.insert((item.at.at, item.run));
            settlement.ended.push((item.at.at, item.run));
            write.rows.push((key, row));
            if !item.stored {
                write.events.push((item.at, item.event));
            }
        }
        if !lane.stored {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        self.write(write, settlement);
    }

    /// Skips a record of a disabled endpoint. The lane's mark is durable before the first one is handed off (DL-8).
    pub(super) fn skip(&mut self, key: LaneKey, position: Position) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        match &mut lane.skip {
            Skip::Marked(from) | Skip::CatchingUp(from, _) if *from <= position => {
                self.record_done(key.shard, position);
            }
            Skip::Marking(from, waiting) if *from <= position => waiting.push(position),
            Skip::None => {
                lane.skip = Skip::Marking(position, vec![position]);
                self.write_mark(key);
            }
            // Read again from an earlier position: the mark moves back.
            Skip::Marked(_) | Skip::CatchingUp(..) => {
                lane.skip = Skip::Marking(position, vec![position]);
                self.write_mark(key);
            }
            Skip::Marking(from, waiting) => {
                *from = position;
                waiting.push(position);
                self.write_mark(key);
            }
        }
    }

    fn write_mark(&mut self, key: LaneKey) {
        let mut write = self.new_write();
        let row = self.lane_row(key);
        let marked = row.as_ref().and_then(|row| row.skip_from);
        write.lanes.extend(row);
        let settlement =
            Settlement { lane: Some(key), marked, lane_stored: true, ..Settlement::default() };
        self.write(write, settlement);
    }
}

/// A mark is durable. Returns what is handed off by it: nothing when the mark has moved back meanwhile, and that is not durable yet (DL-2).
fn mark_is_durable(lane: &mut Lane, mark: Position) -> Vec<Position> {
    match &mut lane.skip {
        Skip::Marking(from, waiting) if *from == mark => {
            let waiting = std::mem::take(waiting);
            lane.skip = Skip::Marked(mark);
            waiting
        }
        Skip::None | Skip::Marking(..) | Skip::Marked(_) | Skip::CatchingUp(..) => Vec::new(),
    }
}

/// The backlog row of a delivery's attempt `number`.
pub(super) fn row_of(
    item: &Item,
    key: BacklogKey,
    number: u32,
    reason: WaitReason,
) -> domain::BacklogRow {
    domain::BacklogRow {
        key,
        event: item.at.clone(),
        run: item.run,
        number,
        trigger: item.trigger,
        reason,
        first_due: item.first_due,
    }
}
