//! The bound on what lies between the acked position and the reader: what is in flight too long gets a backlog row and goes on.

use domain::{LaneKey, Position, Shard, Timestamp, WaitReason};

use super::Engine;
use super::settle::{Settlement, row_of};
use crate::effect::AttemptToken;
use crate::lane::Origin;
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
        let mut old: Vec<AttemptToken> = self
            .in_flight
            .iter()
            .filter(|(_, flight)| flight.lane.shard == shard && !flight.spilled)
            .filter(|(_, flight)| matches!(flight.item.origin, Origin::Live(_)))
            .filter(|(_, flight)| flight.item.queued_at + age <= now)
            .map(|(token, _)| *token)
            .collect();
        old.sort_unstable();
        old.into_iter().for_each(|token| self.spill(token));
        // What is left waits for the store or for its own deadline; look again in a while.
        self.timers.set(Timer::Span(shard), now + age);
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
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        settlement.appended.push(row_key);
        settlement.spilled.push((token, row));
        if !lane.stored {
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
