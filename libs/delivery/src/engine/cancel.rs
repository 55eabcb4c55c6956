//! Ending what waits of one event.

use std::collections::{BTreeSet, VecDeque};

use domain::{
    Command, EndpointUid, EventRef, Fact, FactKind, LaneKey, LogPosition, RunId, Timestamp, Trigger,
};

use super::settle::Settlement;
use super::{Engine, PendingLoad, home};
use crate::effect::LoadToken;
use crate::lane::{Item, Lane, Origin};

impl Engine {
    /// Ends what waits of an event: in memory at once, in the store by a mark that voids its rows. What is in flight goes on; its retries are void.
    ///
    /// Rows of retries that are not in memory are known by the runs that the command names. A redrive's dead letter is put back once the mark is durable;
    /// until then the command is not done.
    pub(super) fn cancel(
        &mut self,
        lane: LaneKey,
        command: &Command,
        (event, named, redrive): (&EventRef, &[RunId], Option<RunId>),
        now: Timestamp,
    ) {
        let key = home(event.at, lane);
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        let mut runs = Runs::default();
        runs.all.extend(named.iter().copied().chain([RunId::LOG]).chain(redrive));
        runs.redrives.extend(redrive);
        let every = |_: RunId| true;
        self.cancel_looks(key, event.at, every, &mut settlement, &mut runs);
        if let Some(owner) = self.lanes.get_mut(&key) {
            // Those whose row or outcome is being written too: the mark voids the row of their next attempt.
            let active = owner.active.iter().filter(|(active, _)| *active == event.at);
            runs.all.extend(active.map(|(_, run)| *run));
            cancel_waiting(owner, event.at, every, &mut settlement, &mut runs);
        }
        self.cancel_flights(key, event.at, &mut runs);
        write.facts.extend(runs.all.iter().map(|run| mark(event, key.endpoint, *run, now)));
        if runs.redrives.is_empty() || !self.lanes.contains_key(&key) {
            write.commands.push((command.shard, command.id));
        } else {
            let id = (command.shard, command.id);
            settlement.released.extend(runs.redrives.iter().map(|run| (event.clone(), *run, id)));
        }
        settlement.cancelled = Some((event.at, runs.all));
        self.write(write, settlement);
        if let Some(tracker) = self.shards.get_mut(&key.shard).filter(|_| event.at.is_in_log()) {
            tracker.cancel(event.at.position, key.endpoint);
        }
    }

    /// The marks of cancelled runs are durable: ends what has come from the store meanwhile, which was read before that.
    pub(super) fn end_marked(
        &mut self,
        key: LaneKey,
        at: LogPosition,
        marked: &BTreeSet<RunId>,
        now: Timestamp,
    ) {
        let mut settlement = Settlement::default();
        let mut runs = Runs::default();
        let is_marked = |run: RunId| marked.contains(&run);
        self.cancel_looks(key, at, is_marked, &mut settlement, &mut runs);
        if let Some(owner) = self.lanes.get_mut(&key) {
            cancel_waiting(owner, at, is_marked, &mut settlement, &mut runs);
        }
        self.settle(key, settlement, now);
    }

    /// Marks what is in flight: its outcome decides about its dead letter.
    fn cancel_flights(&mut self, key: LaneKey, at: LogPosition, runs: &mut Runs) {
        let flights = self.in_flight.values_mut();
        for flight in flights.filter(|f| f.lane == key && f.item.at.at == at) {
            flight.cancelled = true;
            runs.redrives.remove(&flight.item.run);
            runs.all.insert(flight.item.run);
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
    fn cancel_looks(
        &mut self,
        key: LaneKey,
        at: LogPosition,
        is_it: impl Fn(RunId) -> bool,
        settlement: &mut Settlement,
        runs: &mut Runs,
    ) {
        let is_it = |load: &PendingLoad| {
            load.lane() == key
                && is_it(load.run().2)
                && match load {
                    PendingLoad::Record(_, record, _) => *record == at,
                    PendingLoad::Row(_, row) | PendingLoad::Asked(_, row) => row.event.at == at,
                    // The letter of an earlier cancel is on its way back; a head's end is what is looked for.
                    PendingLoad::Release(..) | PendingLoad::Head(..) => false,
                }
        };
        let tokens = self.loads.iter().filter(|(_, load)| is_it(load)).map(|(token, _)| *token);
        let tokens: Vec<LoadToken> = tokens.collect();
        for load in tokens.into_iter().filter_map(|token| self.loads.remove(&token)) {
            let lane = self.lanes.get_mut(&key);
            match (load, lane) {
                (PendingLoad::Record(..), lane) => {
                    settlement.done.push(Origin::Live(at.position));
                    if let Some(lane) = lane {
                        lane.order.needs_no_place(at.position);
                    }
                }
                (PendingLoad::Row(_, row), Some(lane)) => {
                    lane.loading = lane.loading.saturating_sub(1);
                    settlement.done.push(Origin::Row(row.key));
                    runs.add(row.run, row.trigger);
                }
                (PendingLoad::Asked(_, row), Some(lane)) => {
                    lane.asking = lane.asking.saturating_sub(1);
                    settlement.done.push(Origin::Row(row.key));
                    runs.add(row.run, row.trigger);
                }
                (
                    PendingLoad::Row(..)
                    | PendingLoad::Asked(..)
                    | PendingLoad::Release(..)
                    | PendingLoad::Head(..),
                    _,
                ) => {}
            }
        }
    }
}

/// The runs that a cancel ends.
#[derive(Default)]
struct Runs {
    all: BTreeSet<RunId>,
    /// Those of them whose dead letter is put back.
    redrives: BTreeSet<RunId>,
}

impl Runs {
    fn add(&mut self, run: RunId, trigger: Trigger) {
        self.all.insert(run);
        if trigger == Trigger::Redrive {
            self.redrives.insert(run);
        }
    }
}

/// Ends what a lane holds of an event's runs.
fn cancel_waiting(
    lane: &mut Lane,
    at: LogPosition,
    is_it: impl Fn(RunId) -> bool,
    settlement: &mut Settlement,
    runs: &mut Runs,
) {
    for item in take_items(lane, at, &is_it) {
        settlement.done.push(item.origin);
        settlement.ended.push((item.at.at, item.run));
        runs.add(item.run, item.trigger);
    }
    let asked = std::mem::take(&mut lane.to_ask);
    let (mine, others): (VecDeque<_>, _) =
        asked.into_iter().partition(|row| row.event.at == at && is_it(row.run));
    lane.to_ask = others;
    for row in mine.into_iter().chain(lane.backlog.take_idle_rows_of(at, &is_it)) {
        settlement.done.push(Origin::Row(row.key));
        runs.add(row.run, row.trigger);
    }
}

fn mark(event: &EventRef, endpoint: EndpointUid, run: RunId, time: Timestamp) -> Fact {
    let id = domain::AttemptId::of_mark(run, event.at);
    Fact { event: event.clone(), endpoint, run, id, time, kind: FactKind::Cancelled }
}

/// Takes an event's deliveries out of a lane's queues.
fn take_items(lane: &mut Lane, at: LogPosition, is_it: &impl Fn(RunId) -> bool) -> Vec<Item> {
    let mut taken = Vec::new();
    for queue in [&mut lane.queue, &mut lane.ready, &mut lane.asked] {
        let (mine, others): (VecDeque<Item>, _) =
            std::mem::take(queue).into_iter().partition(|item| item.at.at == at && is_it(item.run));
        *queue = others;
        taken.extend(mine);
    }
    if is_it(RunId::LOG) {
        taken.extend(lane.order.take_of(at.position));
    }
    lane.queue_bytes = lane.queue.iter().map(|item| item.event.data.len()).sum();
    taken
}
