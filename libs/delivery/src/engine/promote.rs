//! What is held has its turn: a key's next delivery once its head has ended, and what waits in the lane's own line once the lane goes on.

use domain::{BacklogRow, EventRef, HeldRow, LaneKey, Line, RunId, Timestamp, Trigger, WaitReason};

use super::Engine;
use super::settle::Settlement;
use crate::effect::{Effect, Write};
use crate::lane::Skip;
use crate::order::{Gate, Next, Turn};
use crate::timers::Timer;

/// When a lane whose line found no place among the shard's lines asks again.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

impl Engine {
    /// Does what is next for the lines of a lane.
    pub(super) fn go_on_in_order(&mut self, key: LaneKey, now: Timestamp) {
        // Most lanes never have a line.
        if !self.lanes.get(&key).is_some_and(|lane| lane.order.has_to_promote()) {
            return;
        }
        let may = self.may_begin(key) && self.knows(key.endpoint);
        let Some(lane) = self.lanes.get_mut(&key).filter(|_| may) else {
            return;
        };
        for line in lane.order.take_to_promote() {
            let gate = self.gate(key);
            let Some(lane) = self.lanes.get_mut(&key) else {
                return;
            };
            match lane.order.next(line, gate) {
                None => {}
                Some(Next::Close(line)) => self.close_line(key, line, now),
                Some(Next::Wait) => {
                    lane.order.ask_again(line);
                    if gate.is_full {
                        self.timers.set_earlier(Timer::Lane(key), now + ASK_AGAIN);
                    }
                }
                Some(Next::Read(page)) => self.effects.push_back(Effect::ReadLine {
                    lane: key,
                    line: page.line,
                    from: page.from,
                    before: page.before,
                    limit: page.limit,
                }),
            }
        }
    }

    fn gate(&self, key: LaneKey) -> Gate {
        let skip = self.lanes.get(&key).map(|lane| &lane.skip);
        let before = match skip {
            Some(Skip::Marking(from, _) | Skip::Marked(from) | Skip::CatchingUp(from, _)) => {
                Some(*from)
            }
            Some(Skip::None) | None => None,
        };
        let read_to = self.shards.get(&key.shard).map(crate::tracker::Tracker::next);
        let is_full = self.lines_are_full(key.shard);
        Gate { before, read_to: read_to.unwrap_or_default(), is_full }
    }

    fn close_line(&mut self, key: LaneKey, line: Line, now: Timestamp) {
        let mut write = self.new_write();
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.order.close(line);
        write.lines.push(lane.order.row(key, lane.epoch, line));
        if let Some(tracker) = self.shards.get_mut(&key.shard) {
            tracker.lines = tracker.lines.saturating_sub(1);
        }
        self.write(write, Settlement { lane: Some(key), ..Settlement::default() });
        // What it counted as held is not any more.
        self.touch(key, now);
    }

    /// A page of a line has come.
    pub fn handle_line(&mut self, key: LaneKey, line: Line, rows: &[HeldRow], now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if let Some((rows, is_end)) = lane.order.take_page(line, rows) {
            match rows {
                [] if is_end => self.close_line(key, line, now),
                [] => {}
                [first, ..] if line != Line::LANE => self.promote(key, line, first, now),
                rows => self.turn(key, rows, now),
            }
        }
        self.go_on_in_order(key, now);
        self.pump(now);
    }

    /// The next of a key becomes the head of its line.
    fn promote(&mut self, key: LaneKey, line: Line, row: &HeldRow, now: Timestamp) {
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        self.append_held(key, row, now, &mut write, &mut settlement);
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.order.promote(line, row);
            write.lines.push(lane.order.row(key, lane.epoch, line));
        }
        self.write(write, settlement);
    }

    /// Rows of the lane's own line have their turn, in the order of the log.
    fn turn(&mut self, key: LaneKey, rows: &[HeldRow], now: Timestamp) {
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        let mut any = false;
        for row in rows {
            if !self.turn_one(key, row, now, &mut write, &mut settlement) {
                break;
            }
            any = true;
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.order.passed(Line::LANE, row.event.at.position);
            }
        }
        if any {
            settlement.turned = self.lanes.get(&key).and_then(|lane| lane.order.lane_line_mark());
            self.write(write, settlement);
        }
    }

    /// Returns whether a row has had its turn; those behind it wait with it.
    fn turn_one(
        &mut self,
        key: LaneKey,
        row: &HeldRow,
        now: Timestamp,
        write: &mut Write,
        settlement: &mut Settlement,
    ) -> bool {
        let position = row.event.at.position;
        let gate = self.gate(key);
        let Some(lane) = self.lanes.get_mut(&key) else {
            return false;
        };
        if gate.before.is_some_and(|before| position >= before) {
            return false;
        }
        match lane.order.turn(row) {
            Turn::Wait => return false,
            Turn::IsHead => {}
            Turn::Past => self.append_held(key, row, now, write, settlement),
            Turn::Move => {
                lane.order.hold(row.key, position);
                write.held.push((key, row.key, row.clone()));
                settlement.held.push((row.key, position));
            }
            Turn::Head if gate.is_full || !lane.order.has_room_ahead() => return false,
            Turn::Head => {
                self.append_held(key, row, now, write, settlement);
                self.open_for(key, row.key, &row.event, write);
            }
        }
        true
    }

    fn open_for(&mut self, key: LaneKey, line: Line, head: &EventRef, write: &mut Write) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.order.block(line, head);
        lane.order.goes_ahead(head.at.position);
        write.lines.push(lane.order.row(key, lane.epoch, line));
        if let Some(tracker) = self.shards.get_mut(&key.shard) {
            tracker.lines += 1;
        }
    }

    /// The backlog row of a delivery that was held.
    fn append_held(
        &mut self,
        key: LaneKey,
        row: &HeldRow,
        now: Timestamp,
        write: &mut Write,
        settlement: &mut Settlement,
    ) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let row = BacklogRow {
            key: lane.backlog.issue(now),
            event: row.event.clone(),
            run: RunId::LOG,
            number: 1,
            trigger: Trigger::Event,
            reason: WaitReason::Overflow,
            first_due: row.first_due,
        };
        settlement.appended.push(row.key);
        write.rows.push((key, row));
    }
}
