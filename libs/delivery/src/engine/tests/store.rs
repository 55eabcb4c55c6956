//! What is durable: the store and the log, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use domain::{
    BacklogKey, BacklogRow, CommandId, DeadLetter, DeadLetterId, EndpointState, EndpointUid, Event,
    EventRef, Fact, FactKind, HeldRow, LaneKey, LaneRow, LastKnown, Line, LineRow, LogPosition,
    Position, RunId, RunState, Shard, Timestamp, Trigger,
};

use crate::{EndpointSpec, Forgotten, LoadedDelivery, Write};

/// A record of the log with the endpoints that it matches.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) at: EventRef,
    pub(super) event: Arc<Event>,
    pub(super) uids: Vec<EndpointUid>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) log: BTreeMap<Shard, Vec<Record>>,
    pub(super) acked: BTreeMap<Shard, Position>,
    pub(super) lanes: BTreeMap<LaneKey, LaneRow>,
    pub(super) events: BTreeMap<LogPosition, Arc<Event>>,
    pub(super) rows: BTreeMap<LaneKey, BTreeMap<BacklogKey, BacklogRow>>,
    pub(super) dead_letters: BTreeMap<(EndpointUid, DeadLetterId), DeadLetter>,
    pub(super) resolved: BTreeSet<(EndpointUid, DeadLetterId)>,
    /// Dead letters that a redrive has taken up.
    pub(super) redriving: BTreeMap<(EndpointUid, DeadLetterId), RunId>,
    letter_runs: BTreeSet<(EndpointUid, DeadLetterId, RunId)>,
    pub(super) facts: BTreeMap<(EndpointUid, LogPosition), Vec<Fact>>,
    pub(super) commands: BTreeSet<CommandId>,
    pub(super) specs: BTreeMap<EndpointUid, EndpointSpec>,
    pub(super) lines: BTreeMap<(LaneKey, Line), LineRow>,
    pub(super) held: BTreeMap<(LaneKey, Line), BTreeMap<Position, HeldRow>>,
    pub(super) writes: usize,
    /// Rows of lanes that were saved.
    pub(super) lane_saves: usize,
    /// Records that have a backlog row of their own run.
    with_row: BTreeSet<(LaneKey, LogPosition)>,
}

/// A write's groups of rows, in the order in which they become durable.
pub(super) const GROUPS: usize = 10;

/// Takes the rows of a group that is among `groups`.
fn taken<T>(rows: &mut Vec<T>, groups: &Range<usize>, group: usize) -> Vec<T> {
    if groups.contains(&group) { std::mem::take(rows) } else { Vec::new() }
}

impl Store {
    /// Makes these groups of a write durable.
    pub(super) fn apply(&mut self, write: &mut Write, groups: Range<usize>) {
        self.writes += usize::from(groups.start == 0);
        for lane in taken(&mut write.lanes, &groups, 0) {
            self.lane_saves += 1;
            let old = self.lanes.get(&lane.key);
            if old.is_none_or(|old| old.epoch <= lane.epoch) {
                self.lanes.insert(lane.key, lane);
            }
        }
        let events = taken(&mut write.events, &groups, 1).into_iter();
        self.events.extend(events.map(|(at, event)| (at.at, event)));
        for (key, row) in taken(&mut write.rows, &groups, 2) {
            // A row that lands late may find its endpoint deleted.
            let deleted = !self.specs.contains_key(&key.endpoint);
            assert!(deleted || self.lanes.contains_key(&key), "a row before its lane: {key:?}");
            let stored = self.events.contains_key(&row.event.at);
            // What is sent again once may still lie in the log alone.
            assert!(stored || row.run != RunId::LOG, "a row before its body: {row:?}");
            if row.run == RunId::LOG {
                self.with_row.insert((key, row.event.at));
            }
            self.rows.entry(key).or_default().insert(row.key, row);
        }
        for letter in taken(&mut write.dead_letters, &groups, 3) {
            assert!(self.events.contains_key(&letter.event.at), "a dead letter without a body");
            let key = (letter.endpoint, letter.id);
            // DS-1: one whose run was put before changes nothing.
            if self.letter_runs.insert((key.0, key.1, letter.run)) {
                self.resolved.remove(&key);
                self.redriving.remove(&key);
                self.dead_letters.insert(key, letter);
            }
        }
        for fact in taken(&mut write.facts, &groups, 4) {
            let facts = self.facts.entry((fact.endpoint, fact.event.at)).or_default();
            facts.retain(|old| (old.run, old.id) != (fact.run, fact.id));
            facts.push(fact);
        }
        for line in taken(&mut write.lines, &groups, 5) {
            let deleted = !self.specs.contains_key(&line.lane.endpoint);
            assert!(deleted || self.lanes.contains_key(&line.lane), "a line before its lane");
            let old = self.lines.get(&(line.lane, line.line));
            if old.is_none_or(|old| old.epoch <= line.epoch) {
                self.lines.insert((line.lane, line.line), line);
            }
        }
        for (key, line, row) in taken(&mut write.held, &groups, 6) {
            assert!(self.events.contains_key(&row.event.at), "held before its body: {row:?}");
            self.with_row.insert((key, row.event.at));
            self.held.entry((key, line)).or_default().insert(row.event.at.position, row);
        }
        for (uid, id, run) in taken(&mut write.resolved, &groups, 7) {
            // DS-4: only while the redrive of that run is the newest thing that happened to it.
            if self.redriving.get(&(uid, id)) == Some(&run) {
                self.redriving.remove(&(uid, id));
                self.resolved.insert((uid, id));
            }
        }
        let commands = taken(&mut write.commands, &groups, 8).into_iter();
        self.commands.extend(commands.map(|(_, id)| id));
        for gone in taken(&mut write.deleted, &groups, 9) {
            self.remove(&gone);
            self.rows.remove(&gone.lane);
            self.lines.retain(|(lane, _), _| *lane != gone.lane);
            self.held.retain(|(lane, _), _| *lane != gone.lane);
        }
        for gone in taken(&mut write.removed, &groups, 9) {
            let is_gone = self.remove(&gone);
            if let Some(rows) = self.rows.get_mut(&gone.lane) {
                rows.retain(|row, _| *row > gone.upto);
                let is_empty = rows.is_empty();
                assert!(!is_gone || is_empty, "a lane was forgotten that had rows: {gone:?}");
            }
        }
    }

    /// LA-4: what a newer owner saved stays. Returns whether nothing is left.
    fn remove(&mut self, gone: &Forgotten) -> bool {
        let newer = self.lanes.get(&gone.lane).is_some_and(|lane| lane.epoch > gone.epoch);
        if !newer {
            self.lanes.remove(&gone.lane);
        }
        !newer
    }

    pub(super) fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> (Vec<BacklogRow>, Option<Timestamp>) {
        let Some(rows) = self.rows.get(&lane) else {
            return (Vec::new(), None);
        };
        let behind = |key| rows.range((Bound::Excluded(key), Bound::Unbounded));
        let page = behind(after).take_while(|(key, _)| **key <= upto).take(limit);
        let page: Vec<BacklogRow> = page.map(|(_, row)| row.clone()).collect();
        let last = page.last().map_or(after, |row| row.key);
        let next_due = behind(last).next().map(|(key, _)| key.due);
        (page, next_due)
    }

    pub(super) fn line(
        &self,
        lane: LaneKey,
        line: Line,
        (from, before): (Position, Option<Position>),
        limit: usize,
    ) -> Vec<HeldRow> {
        let Some(rows) = self.held.get(&(lane, line)) else {
            return Vec::new();
        };
        let behind = rows.range(from..).map(|(_, row)| row);
        let in_bounds = |row: &&HeldRow| before.is_none_or(|before| row.event.at.position < before);
        behind.take_while(in_bounds).take(limit).cloned().collect()
    }

    pub(super) fn record(&self, at: LogPosition) -> Option<&Record> {
        let records = self.log.get(&at.shard)?;
        let index = records.binary_search_by_key(&at, |record| record.at.at).ok()?;
        records.get(index)
    }

    pub(super) fn load(&self, uid: EndpointUid, event: &EventRef, run: RunId) -> LoadedDelivery {
        let facts = self.facts.get(&(uid, event.at)).map(Vec::as_slice).unwrap_or_default();
        let stored = self.events.get(&event.at);
        let body = stored.or_else(|| self.record(event.at).map(|record| &record.event)).cloned();
        let requests = facts.iter().filter(|fact| matches!(fact.kind, FactKind::Attempt(_)));
        LoadedDelivery {
            event: body,
            stored: stored.is_some(),
            run: RunState::of(facts, run),
            attempts_total: u32::try_from(requests.count()).expect("few"),
            last: LastKnown::of(facts),
        }
    }

    pub(super) fn scan(
        &self,
        lane: LaneKey,
        from: Position,
        to: Position,
        limit: usize,
    ) -> (Vec<(EventRef, Arc<Event>)>, Option<Position>) {
        let records = self.log.get(&lane.shard).map(Vec::as_slice).unwrap_or_default();
        let in_range = |record: &&Record| (from..to).contains(&record.at.at.position);
        let read: Vec<&Record> = records.iter().filter(in_range).take(limit).collect();
        let next = (read.len() == limit).then(|| read[limit - 1].at.at.position.next());
        let wanted = read.into_iter().filter(|record| record.uids.contains(&lane.endpoint));
        (wanted.map(|record| (record.at.clone(), record.event.clone())).collect(), next)
    }

    pub(super) fn head(&self, shard: Shard) -> Position {
        let last = self.log.get(&shard).and_then(|records| records.last());
        last.map_or(Position(0), |record| record.at.at.position.next())
    }

    /// What the facts of the log's run of a delivery say.
    pub(super) fn run(&self, uid: EndpointUid, at: LogPosition, run: RunId) -> RunState {
        RunState::of(self.facts.get(&(uid, at)).into_iter().flatten(), run)
    }

    /// Whether one delivery of a record is handed off (`architecture.md` §5), by what is durable alone.
    pub(super) fn is_handed_off(&self, uid: EndpointUid, at: LogPosition) -> bool {
        let key = LaneKey { shard: at.shard, endpoint: uid };
        let skipped =
            self.lanes.get(&key).and_then(|lane| lane.skip_from).is_some_and(|p| p <= at.position);
        !self.specs.contains_key(&uid)
            || self.run(uid, at, RunId::LOG).has_ended()
            || skipped
            || self.with_row.contains(&(key, at))
    }

    pub(super) fn is_cancelled(&self, uid: EndpointUid, at: LogPosition) -> bool {
        let mut facts = self.facts.get(&(uid, at)).into_iter().flatten();
        facts.any(|fact| matches!(fact.kind, FactKind::Cancelled))
    }

    pub(super) fn letters_of(&self, uid: EndpointUid) -> Vec<&DeadLetter> {
        let mine = self.dead_letters.iter().filter(|((endpoint, _), _)| *endpoint == uid);
        mine.filter(|(key, _)| !self.resolved.contains(key)).map(|(_, letter)| letter).collect()
    }

    /// Requests that are recorded: numbers and triggers in the order of their times.
    pub(super) fn attempts_of(&self, uid: EndpointUid, at: LogPosition) -> Vec<(u32, Trigger)> {
        let facts = self.facts.get(&(uid, at)).into_iter().flatten();
        let mut found: Vec<(Timestamp, u32, Trigger)> = facts
            .filter_map(|fact| match &fact.kind {
                FactKind::Attempt(attempt) => Some((fact.time, attempt.number, attempt.trigger)),
                FactKind::DeadLettered(_) | FactKind::Cancelled => None,
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, number, trigger)| (number, trigger)).collect()
    }

    pub(super) fn state(&self, uid: EndpointUid) -> EndpointState {
        self.specs[&uid].state
    }
}
