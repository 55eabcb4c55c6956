//! From a record to its lanes.

use std::sync::Arc;

use domain::{
    EndpointState, EndpointUid, Event, EventRef, LaneKey, Line, LogPosition, RunId, Timestamp,
    Trigger, WaitReason,
};

use super::renewal::Met;
use super::{Engine, LoadedDelivery, PendingLoad};
use crate::effect::{Effect, LoadToken};
use crate::lane::{Item, Origin};
use crate::timers::Timer;

impl Engine {
    /// Takes the next record of a shard with the endpoints that it matches (none: it is handed off at once).
    ///
    /// Records come in the order of their positions. `bytes` is the record's size, for the bound on what lies between the acked position and the reader.
    pub fn handle_record(
        &mut self,
        at: LogPosition,
        bytes: usize,
        matched: Option<(&Arc<Event>, &[EndpointUid])>,
        now: Timestamp,
    ) {
        let shard = at.shard;
        let tracker = self.shards.get_mut(&shard).filter(|tracker| !tracker.is_leaving);
        let Some(tracker) = tracker else {
            return;
        };
        let known = |uid: &&EndpointUid| self.endpoints.contains_key(uid);
        let uids: Vec<EndpointUid> = matched
            .map(|(_, uids)| uids.iter().filter(known).copied().collect())
            .unwrap_or_default();
        let open = u32::try_from(uids.len()).unwrap_or(u32::MAX);
        let again = tracker.push(at.position, open, bytes, now);
        let crowded = tracker.crowded(self.config.span_records_max, self.config.span_bytes_max);
        if let Some(oldest) = tracker.oldest() {
            self.timers.set_earlier(Timer::Span(shard), oldest + self.config.span_age_max);
        }
        if let Some((event, _)) = matched {
            for uid in uids {
                let lane = LaneKey { shard, endpoint: uid };
                if !self.ensure_lane(lane) {
                    continue;
                }
                let tracker = self.shards.get_mut(&shard);
                if tracker.is_some_and(|tracker| tracker.take_cancelled(at.position, uid)) {
                    self.end_cancelled(lane, &reference(at, event), now);
                } else if again {
                    self.look_before_sending(lane, at, event);
                } else {
                    self.route(lane, live_item(at, event, now), now);
                }
            }
        }
        if let Some(upto) = crowded {
            self.spill_upto(shard, upto, now);
        }
        self.advance(shard);
        self.pump(now);
    }

    /// What an owner before may have sent is looked up first (`architecture.md` §5).
    pub(super) fn look_before_sending(
        &mut self,
        lane: LaneKey,
        at: LogPosition,
        event: &Arc<Event>,
    ) {
        if self.line_of(lane, event).is_some()
            && let Some(lane) = self.lanes.get_mut(&lane)
        {
            lane.order.look(at.position);
        }
        let token = LoadToken(self.token());
        let reference = reference(at, event);
        self.loads.insert(token, PendingLoad::Record(lane, at, event.clone()));
        let run = RunId::LOG;
        let (endpoint, event, body) = (lane.endpoint, reference, false);
        self.effects.push_back(Effect::Load { token, endpoint, event, run, body });
    }

    /// The answer to [`Engine::look_before_sending`].
    pub(super) fn record_loaded(
        &mut self,
        key: LaneKey,
        at: LogPosition,
        event: &Arc<Event>,
        loaded: &LoadedDelivery,
        now: Timestamp,
    ) {
        let Some(lane) = self.lanes.get(&key) else {
            return;
        };
        let item = live_item(at, event, now);
        // A row of the same run that is already on its way is its durable successor.
        if loaded.run.voids(1) || lane.active.contains(&(at, RunId::LOG)) {
            let met = Met {
                event: &item.at,
                body: Some(event),
                run: item.run,
                trigger: item.trigger,
                first_due: item.first_due,
                origin: item.origin,
            };
            // DL-6: before anything that comes after it has its place.
            if !loaded.run.has_ended() {
                self.block_again(key, &item.at, event);
            }
            if !self.renew(key, &met, loaded) {
                self.record_done(key.shard, at.position);
            }
            return self.looked_up(key, at.position, now);
        }
        self.route(key, item, now);
        self.place_looked(key, now);
    }

    /// Gives a live first attempt its place, once what comes before it in the order of its key has one.
    fn route(&mut self, key: LaneKey, item: Item, now: Timestamp) {
        let line = self.line_of(key, &item.event);
        let Some(lane) = self.lanes.get_mut(&key).filter(|_| line.is_some()) else {
            return self.place(key, line, item, now);
        };
        if lane.order.waits_for_a_look(item.at.at.position) {
            return lane.order.wait(item);
        }
        lane.order.needs_no_place(item.at.at.position);
        self.place(key, line, item, now);
    }

    /// Puts a live first attempt where it belongs: the lane's queue, its backlog, a line, or what is skipped.
    /// `line`: of its key, where its order counts.
    pub(super) fn place(&mut self, key: LaneKey, line: Option<Line>, item: Item, now: Timestamp) {
        let (Some(lane), Some(endpoint)) =
            (self.lanes.get_mut(&key), self.endpoints.get(&key.endpoint))
        else {
            return;
        };
        if let Some(at) = item.event.deliver_at.filter(|at| *at > now) {
            return self.append_first(key, vec![item], at, WaitReason::Scheduled, now);
        }
        if matches!(endpoint.spec.state, EndpointState::Disabled(_)) {
            return self.skip(key, item.at.at.position);
        }
        if let Some(line) = line {
            return self.place_in_order(key, line, item, now);
        }
        if !endpoint.takes_live() {
            return self.append_first(key, vec![item], now, WaitReason::Held, now);
        }
        if lane.draining || !lane.has_room(item.event.data.len()) {
            return self.append_first(key, vec![item], now, WaitReason::Overflow, now);
        }
        self.enqueue(key, item, now);
    }

    /// Moves what has waited too long in a lane's queue to its backlog.
    pub(super) fn expire_queue(&mut self, key: LaneKey, now: Timestamp) {
        let wait = self.config.queue_wait_max;
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let Some(first) = lane.queue.front() else {
            return;
        };
        let expires = first.queued_at + wait;
        if expires > now {
            return self.timers.set(Timer::Queue(key), expires);
        }
        self.flush_queue(key, WaitReason::Overflow, now);
    }

    /// Moves a lane's whole queue to its backlog.
    pub(super) fn flush_queue(&mut self, key: LaneKey, reason: WaitReason, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let mut items = Vec::with_capacity(lane.queue.len());
        while let Some(item) = lane.pop() {
            items.push(item);
        }
        self.timers.clear(Timer::Queue(key));
        self.hold_queue(key, &mut items);
        if !items.is_empty() {
            self.append_first(key, items, now, reason, now);
        }
    }
}

fn reference(at: LogPosition, event: &Event) -> EventRef {
    EventRef { tenant: event.tenant.clone(), id: event.id.clone(), at }
}

fn live_item(at: LogPosition, event: &Arc<Event>, now: Timestamp) -> Item {
    Item {
        at: reference(at, event),
        event: event.clone(),
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        first_due: event.deliver_at.unwrap_or(now),
        origin: Origin::Live(at.position),
        stored: false,
        attempts_before: 0,
        last: domain::LastKnown::default(),
        queued_at: now,
    }
}
