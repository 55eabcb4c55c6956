//! Events of one ordering key go out one after the other (DL-6): where each goes, and what happens when one before it has ended. [`crate::order`] has the rules.

use domain::{
    Event, EventRef, HeldRow, LaneKey, Line, LineRow, LogPosition, Ordering, Position, RunId,
    Shard, Timestamp, limits,
};

use super::settle::Settlement;
use super::{Engine, LoadedDelivery, PendingLoad};
use crate::effect::Write;
use crate::lane::{Item, Skip};
use crate::order::Place;
use crate::timers::Timer;

impl Engine {
    /// The line of a delivery whose order counts: of an event with an ordering key and no time of its own, to an endpoint that asks for order.
    pub(super) fn line_of(&self, key: LaneKey, event: &Event) -> Option<Line> {
        let endpoint = self.endpoints.get(&key.endpoint)?;
        match endpoint.spec.policy.ordering {
            Ordering::None => None,
            Ordering::ByKey => own_line(event),
        }
    }

    /// Takes over the lines that a former owner left open.
    pub(super) fn resume_lines(&mut self, shard: Shard, lines: &[LineRow]) {
        for row in lines {
            let Some(lane) = self.lanes.get_mut(&row.lane) else {
                // Its endpoint was deleted.
                continue;
            };
            if let Some(tracker) = self.shards.get_mut(&shard) {
                tracker.lines += 1;
            }
            if let Some(head) = lane.order.resume(row) {
                self.look_at_head(row.lane, head);
            }
        }
    }

    pub(super) fn look_at_head(&mut self, key: LaneKey, head: EventRef) {
        let what = PendingLoad::Head(key, head.clone());
        self.load(what, key.endpoint, head, RunId::LOG);
    }

    /// The answer to [`Engine::look_at_head`]: one that has not ended has a backlog row.
    pub(super) fn head_loaded(
        &mut self,
        key: LaneKey,
        head: &EventRef,
        loaded: &LoadedDelivery,
        now: Timestamp,
    ) {
        if loaded.run.has_ended() {
            self.over(key, head.at, now);
            self.go_on_in_order(key, now);
        }
    }

    /// Puts a live delivery where the order of its key wants it.
    pub(super) fn place_in_order(&mut self, key: LaneKey, line: Line, item: Item, now: Timestamp) {
        let is_full = self.lines_are_full(key.shard);
        let (Some(lane), Some(endpoint)) =
            (self.lanes.get_mut(&key), self.endpoints.get(&key.endpoint))
        else {
            return;
        };
        let position = item.at.at.position;
        let may_go = endpoint.takes_live() && lane.has_room(item.event.data.len()) && !is_full;
        match lane.order.place(line, position, may_go, lane.skip != Skip::None) {
            Place::Go => {
                lane.order.begin(line, position);
                self.enqueue(key, item, now);
            }
            Place::Follow => lane.order.follow(line, item),
            Place::Hold(into) => self.hold(key, vec![(into, item)]),
            Place::IsHead => self.record_done(key.shard, position),
            Place::Past => {
                self.append_first(key, vec![item], now, domain::WaitReason::Overflow, now);
            }
        }
    }

    /// Whether a shard has no place for more lines.
    pub(super) fn lines_are_full(&self, shard: Shard) -> bool {
        self.shards.get(&shard).is_none_or(|tracker| tracker.lines >= limits::LINES_MAX)
    }

    /// Puts a delivery into the lane's memory queue.
    pub(super) fn enqueue(&mut self, key: LaneKey, item: Item, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if lane.queue.is_empty() {
            self.timers.set(Timer::Queue(key), now + self.config.queue_wait_max);
        }
        lane.push(item);
        self.wake(key);
    }

    /// Holds deliveries in lines; their records are handed off once that is durable.
    pub(super) fn hold(&mut self, key: LaneKey, items: Vec<(Line, Item)>) {
        if items.is_empty() {
            return;
        }
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        self.hold_in(key, items, &mut write, &mut settlement);
        self.write(write, settlement);
    }

    fn hold_in(
        &mut self,
        key: LaneKey,
        items: Vec<(Line, Item)>,
        write: &mut Write,
        settlement: &mut Settlement,
    ) {
        for (into, item) in items {
            let Some(own) = own_line(&item.event) else {
                continue;
            };
            self.hold_row(key, into, own, &item.at, item.first_due, write, settlement);
            let Some(lane) = self.lanes.get_mut(&key) else {
                return;
            };
            // As for a first row of the backlog: until it is durable the run stays in memory.
            lane.active.insert((item.at.at, item.run));
            settlement.ended.push((item.at.at, item.run));
            settlement.done.push(item.origin);
            if !item.stored {
                write.events.push((item.at, item.event));
            }
        }
    }

    /// One row of a line, which is opened when it is the lane's own.
    #[expect(clippy::too_many_arguments, reason = "what a row is made of, and where it goes")]
    pub(super) fn hold_row(
        &mut self,
        key: LaneKey,
        into: Line,
        own: Line,
        event: &EventRef,
        first_due: Timestamp,
        write: &mut Write,
        settlement: &mut Settlement,
    ) {
        let position = event.at.position;
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let is_new = into == Line::LANE && lane.order.open_lane_line(position);
        if is_new && let Some(tracker) = self.shards.get_mut(&key.shard) {
            tracker.lines += 1;
        }
        if lane.order.hold(into, position) || is_new {
            write.lines.push(lane.order.row(key, lane.epoch, into));
        }
        if !lane.stored && write.lanes.is_empty() {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        write.held.push((key, into, HeldRow { event: event.clone(), key: own, first_due }));
        settlement.held.push((into, position));
    }

    /// A delivery that is to have a backlog row becomes the head of its key: what follows it is held.
    pub(super) fn block(
        &mut self,
        key: LaneKey,
        at: &EventRef,
        event: &Event,
        write: &mut Write,
        settlement: &mut Settlement,
    ) {
        let of_policy = self.line_of(key, event);
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let Some(line) = lane.order.live_line(at.at.position).or(of_policy) else {
            return;
        };
        let (is_new, followed) = lane.order.block(line, at);
        if is_new {
            write.lines.push(lane.order.row(key, lane.epoch, line));
            if let Some(tracker) = self.shards.get_mut(&key.shard) {
                tracker.lines += 1;
            }
        }
        let followed = followed.into_iter().map(|item| (line, item)).collect();
        self.hold_in(key, followed, write, settlement);
    }

    /// A record that was read again has a successor: it is the head of its key.
    pub(super) fn block_again(&mut self, key: LaneKey, at: &EventRef, event: &Event) {
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        self.block(key, at, event, &mut write, &mut settlement);
        if !write.lines.is_empty() {
            if self.lanes.get(&key).is_some_and(|lane| !lane.stored) && write.lanes.is_empty() {
                settlement.lane_stored = true;
                write.lanes.extend(self.lane_row(key));
            }
            self.write(write, settlement);
        }
    }

    /// A delivery of the log's run has ended, durably: the next one of its key may begin.
    pub(super) fn over(&mut self, key: LaneKey, at: LogPosition, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| !lane.order.is_empty()) else {
            return;
        };
        if lane.order.head_over(at.position) {
            return;
        }
        let Some(next) = lane.order.take_next(at.position) else {
            return;
        };
        self.enqueue(key, next, now);
        if !self.endpoints.get(&key.endpoint).is_some_and(|known| known.takes_live()) {
            self.flush_queue(key, domain::WaitReason::Held, now);
        }
    }

    /// Takes the deliveries of a lane out of its memory whose order counts: into the lane's own line, in the order of the log.
    pub(super) fn hold_queue(&mut self, key: LaneKey, items: &mut Vec<Item>) {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| !lane.order.is_empty()) else {
            return;
        };
        let mut held = lane.order.take_following();
        let counts = |item: &Item| lane.order.live_line(item.at.at.position).is_some();
        let (queued, others): (Vec<Item>, Vec<Item>) = items.drain(..).partition(counts);
        *items = others;
        queued.iter().for_each(|item| lane.order.leave_queue(item.at.at.position));
        held.extend(queued);
        held.sort_by_key(|item| item.at.at);
        self.hold(key, held.into_iter().map(|item| (Line::LANE, item)).collect());
    }

    /// A record that was looked up needs no place, or gets one; and so do those that waited for it.
    pub(super) fn looked_up(&mut self, key: LaneKey, position: Position, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.order.needs_no_place(position);
        }
        self.place_looked(key, now);
    }

    pub(super) fn place_looked(&mut self, key: LaneKey, now: Timestamp) {
        while let Some(item) = self.lanes.get_mut(&key).and_then(|lane| lane.order.take_looked()) {
            let line = self.line_of(key, &item.event);
            self.place(key, line, item, now);
        }
    }
}

/// The line of an event that has an ordering key and no time of its own.
pub(super) fn own_line(event: &Event) -> Option<Line> {
    let key = event.ordering_key.as_deref().filter(|_| event.deliver_at.is_none())?;
    Some(Line::of_key(key))
}
