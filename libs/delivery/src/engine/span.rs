//! The bound on what lies between the acked position and the reader: what is in flight too long gets a backlog row and goes on.

use domain::{LaneKey, Position, Shard, Timestamp, WaitReason};

use super::settle::{Settlement, row_of};
use super::{Engine, InFlight};
use crate::effect::AttemptToken;
use crate::lane::{Lane, Origin};
use crate::timers::Timer;

impl Engine {
    /// Gives every delivery in flight of a shard that is older than the bound a backlog row, due after its deadline.
    pub(super) fn spill_old(&mut self, shard: Shard, now: Timestamp) {
        let age = self.config.span_age_max;
        let Some(oldest) = self.shards.get(&shard).and_then(|tracker| tracker.oldest()) else {
            return;
        };
        if oldest + age > now {
            return self.timers.set(Timer::Span(shard), oldest + age);
        }
        self.spill_all(shard, |flight, _| flight.item.queued_at + age <= now);
        // What is left waits for the store or for its own turn.
        let left = self.live_flights(shard).map(|(_, flight, _)| flight.item.queued_at).min();
        self.timers.set(Timer::Span(shard), left.unwrap_or(now) + age);
    }

    /// Hands off everything up to a position that waits for a receiver: the span is crowded, and intake never waits for a receiver (DL-5).
    pub(super) fn spill_upto(&mut self, shard: Shard, upto: Position, now: Timestamp) {
        self.spill_all(shard, |_, position| position <= upto);
        let queued = |lane: &&Lane| {
            let first = lane.queue.front().map(|item| item.at.at.position);
            lane.key.shard == shard && first.is_some_and(|position| position <= upto)
        };
        let keys: Vec<LaneKey> = self.lanes.values().filter(queued).map(|lane| lane.key).collect();
        keys.into_iter().for_each(|key| self.flush_queue(key, WaitReason::Overflow, now));
    }

    /// Deliveries in flight that hold a shard's position back. One of a deleted endpoint does not, and has no lane to get a row in.
    fn live_flights(
        &self,
        shard: Shard,
    ) -> impl Iterator<Item = (AttemptToken, &InFlight, Position)> {
        let is_ours = |flight: &InFlight| {
            self.lanes.get(&flight.lane).is_some_and(|l| l.epoch == flight.epoch)
        };
        let mine = self.in_flight.iter().filter(move |(_, flight)| {
            flight.lane.shard == shard && !flight.spilled && is_ours(flight)
        });
        mine.filter_map(|(token, flight)| match flight.item.origin {
            Origin::Live(position) => Some((*token, flight, position)),
            Origin::Row(_) => None,
        })
    }

    fn spill_all(&mut self, shard: Shard, is_due: impl Fn(&InFlight, Position) -> bool) {
        let flights = self.live_flights(shard);
        let due = flights.filter(|(_, flight, position)| is_due(flight, *position));
        let due: Vec<AttemptToken> = due.map(|(token, _, _)| token).collect();
        due.into_iter().for_each(|token| self.spill(token));
    }

    fn spill(&mut self, token: AttemptToken) {
        let mut write = self.new_write();
        let Some(flight) = self.in_flight.get_mut(&token) else {
            return;
        };
        let key = flight.lane;
        let timeout = self.endpoints.get(&key.endpoint).map(|e| e.spec.policy.timeout);
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        flight.spilled = true;
        let due = flight.started + timeout.unwrap_or_default() + std::time::Duration::from_secs(5);
        let row_key = lane.backlog.issue(due);
        let row = row_of(&flight.item, row_key, flight.item.number, WaitReason::InFlight);
        write.rows.push((key, row.clone()));
        if !flight.item.stored {
            write.events.push((flight.item.at.clone(), flight.item.event.clone()));
        }
        let (at, event) = (flight.item.at.clone(), flight.item.event.clone());
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        settlement.appended.push(row_key);
        settlement.spilled.push((token, row));
        self.block(key, &at, &event, &mut write, &mut settlement);
        if self.lanes.get(&key).is_some_and(|lane| !lane.stored) && write.lanes.is_empty() {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        self.write(write, settlement);
    }

    /// The row of a delivery in flight is durable: the delivery now stands for the row. Returns the position that is handed off.
    pub(super) fn settle_spilled(
        &mut self,
        key: LaneKey,
        token: AttemptToken,
        row: domain::BacklogRow,
    ) -> Option<Position> {
        // If the attempt has ended meanwhile, its own write hands the record off and makes the row void.
        let flight = self.in_flight.get_mut(&token)?;
        let Origin::Live(position) = flight.item.origin else {
            return None;
        };
        flight.item.origin = Origin::Row(row.key);
        flight.item.stored = true;
        self.lanes.get_mut(&key)?.backlog.adopt(row);
        Some(position)
    }
}
