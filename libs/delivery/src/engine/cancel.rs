//! Ending what waits of one event.

use std::collections::{BTreeSet, VecDeque};

use domain::{
    Command, EndpointUid, EventRef, Fact, FactKind, LaneKey, LogPosition, RunId, Timestamp,
};

use super::settle::Settlement;
use super::{Engine, PendingLoad, home};
use crate::effect::LoadToken;
use crate::lane::{Item, Lane, Origin};

impl Engine {
    /// Ends what waits of an event: in memory at once, in the store by a mark that voids its rows. What is in flight goes on; its retries are void.
    pub(super) fn cancel(
        &mut self,
        lane: LaneKey,
        command: &Command,
        event: &EventRef,
        now: Timestamp,
    ) {
        let key = home(event.at, lane);
        let mut write = self.new_write();
        write.commands.push((command.shard, command.id));
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        let mut runs = BTreeSet::from([RunId::LOG]);
        let looked_at = self.cancel_looks(key, event.at);
        settlement.done.extend(looked_at.iter().map(|(origin, _)| *origin));
        runs.extend(looked_at.into_iter().map(|(_, run)| run));
        if let Some(owner) = self.lanes.get_mut(&key) {
            // Those in flight too: the mark voids the row of their next attempt.
            runs.extend(owner.active.iter().filter(|(at, _)| *at == event.at).map(|(_, run)| *run));
            for item in take_items(owner, event.at) {
                settlement.done.push(item.origin);
                settlement.ended.push((item.at.at, item.run));
            }
            let asked = std::mem::take(&mut owner.to_ask);
            let (mine, others): (VecDeque<_>, _) =
                asked.into_iter().partition(|row| row.event.at == event.at);
            owner.to_ask = others;
            for row in mine.into_iter().chain(owner.backlog.take_idle_rows_of(event.at)) {
                settlement.done.push(Origin::Row(row.key));
                runs.insert(row.run);
            }
        }
        write.facts.extend(runs.into_iter().map(|run| mark(event, key.endpoint, run, now)));
        self.write(write, settlement);
        if let Some(tracker) = self.shards.get_mut(&key.shard).filter(|_| event.at.is_in_log()) {
            tracker.cancel(event.at.position, key.endpoint);
        }
    }

    /// Hands a record off that was cancelled before it was read: the mark again, so that it is durable before the position moves.
    pub(super) fn end_cancelled(&mut self, lane: LaneKey, event: &EventRef, now: Timestamp) {
        let mut write = self.new_write();
        write.facts.push(mark(event, lane.endpoint, RunId::LOG, now));
        let done = vec![Origin::Live(event.at.position)];
        self.write(write, Settlement { lane: Some(lane), done, ..Settlement::default() });
    }

    /// Forgets looks that are under way for an event: their answers come too late.
    fn cancel_looks(&mut self, key: LaneKey, at: LogPosition) -> Vec<(Origin, RunId)> {
        let is_it = |load: &PendingLoad| {
            load.lane() == key
                && match load {
                    PendingLoad::Record(_, record, _) => *record == at,
                    PendingLoad::Row(_, row) | PendingLoad::Asked(_, row) => row.event.at == at,
                }
        };
        let tokens = self.loads.iter().filter(|(_, load)| is_it(load)).map(|(token, _)| *token);
        let tokens: Vec<LoadToken> = tokens.collect();
        let mut found = Vec::new();
        for load in tokens.into_iter().filter_map(|token| self.loads.remove(&token)) {
            let lane = self.lanes.get_mut(&key);
            match (load, lane) {
                (PendingLoad::Record(..), _) => {
                    found.push((Origin::Live(at.position), RunId::LOG));
                }
                (PendingLoad::Row(_, row), Some(lane)) => {
                    lane.loading = lane.loading.saturating_sub(1);
                    found.push((Origin::Row(row.key), row.run));
                }
                (PendingLoad::Asked(_, row), Some(lane)) => {
                    lane.asking = lane.asking.saturating_sub(1);
                    found.push((Origin::Row(row.key), row.run));
                }
                (PendingLoad::Row(..) | PendingLoad::Asked(..), None) => {}
            }
        }
        found
    }
}

fn mark(event: &EventRef, endpoint: EndpointUid, run: RunId, time: Timestamp) -> Fact {
    let id = domain::AttemptId::of_mark(run, event.at);
    Fact { event: event.clone(), endpoint, run, id, time, kind: FactKind::Cancelled }
}

/// Takes an event's deliveries out of a lane's queues.
fn take_items(lane: &mut Lane, at: LogPosition) -> Vec<Item> {
    let mut taken = Vec::new();
    for queue in [&mut lane.queue, &mut lane.ready, &mut lane.asked] {
        let (mine, others): (VecDeque<Item>, _) =
            std::mem::take(queue).into_iter().partition(|item| item.at.at == at);
        *queue = others;
        taken.extend(mine);
    }
    lane.queue_bytes = lane.queue.iter().map(|item| item.event.data.len()).sum();
    taken
}
