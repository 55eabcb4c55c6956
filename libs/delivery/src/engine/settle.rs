//! What changes once a write is durable.

use domain::{BacklogKey, LaneKey, LogPosition, Position, RunId, Timestamp, WaitReason};

use super::Engine;
use crate::effect::{AttemptToken, WriteToken};
use crate::lane::{Item, Lane, Origin, Skip};

/// What changes once a write is durable.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    pub(super) lane: Option<LaneKey>,
    /// What is handed off.
    pub(super) done: Vec<Origin>,
    /// Backlog keys that are durable.
    pub(super) appended: Vec<BacklogKey>,
    /// Runs that are not in memory any more.
    pub(super) ended: Vec<(LogPosition, RunId)>,
    /// Attempts in flight that have a row now.
    pub(super) spilled: Vec<(AttemptToken, domain::BacklogRow)>,
    /// The lane's skip mark.
    pub(super) marked: bool,
    /// Catching up has come to this position.
    pub(super) caught_up_to: Option<Position>,
    /// The lane's row is in the store.
    pub(super) lane_stored: bool,
}

impl Engine {
    /// A write is durable.
    pub fn handle_written(&mut self, token: WriteToken, now: Timestamp) {
        let Some(settlement) = self.writes.remove(&token) else {
            return;
        };
        let Some(key) = settlement.lane else { return };
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.stored |= settlement.lane_stored;
        settlement.appended.iter().for_each(|row| lane.backlog.appended(*row));
        for run in &settlement.ended {
            lane.active.remove(run);
        }
        if !settlement.ended.is_empty() {
            lane.backlog.retry_deferred();
        }
        let mut positions = Vec::new();
        let mut moved = settlement.lane_stored && lane.dirty;
        for origin in settlement.done {
            match origin {
                Origin::Live(position) => positions.push(position),
                Origin::Row(row) => moved |= lane.backlog.done(row),
                Origin::Skipped => {}
            }
        }
        if settlement.marked {
            positions.extend(mark_is_durable(lane));
        }
        if moved || !settlement.appended.is_empty() {
            self.touch(key, now);
        }
        for (token, row) in settlement.spilled {
            positions.extend(self.settle_spilled(key, token, row));
        }
        if let Some(position) = settlement.caught_up_to {
            self.caught_up_to(key, position, now);
        }
        for position in positions {
            if let Some(tracker) = self.shards.get_mut(&key.shard) {
                tracker.done(position);
            }
        }
        self.advance(key.shard);
        self.go_on_catching_up(key);
        self.kick(key.endpoint);
        self.pump(now);
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
        write.lanes.extend(self.lane_row(key));
        let settlement = Settlement {
            lane: Some(key),
            marked: true,
            lane_stored: true,
            ..Settlement::default()
        };
        self.write(write, settlement);
    }
}

fn mark_is_durable(lane: &mut Lane) -> Vec<Position> {
    match std::mem::replace(&mut lane.skip, Skip::None) {
        Skip::Marking(from, waiting) => {
            lane.skip = Skip::Marked(from);
            waiting
        }
        other @ (Skip::None | Skip::Marked(_) | Skip::CatchingUp(..)) => {
            lane.skip = other;
            Vec::new()
        }
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
