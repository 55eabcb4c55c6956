//! DL-2: an acked position never passes a record that is not handed off, and never moves back.

use std::collections::{BTreeMap, BTreeSet};

use domain::{EndpointUid, Epoch, EventRef, Fact, FactKind, LaneKey, LaneRow, Position, Shard};

use super::Violation;
use crate::history::History;
use crate::journal::What;
use crate::model::Published;

/// What is durable at one moment of a history.
#[derive(Default)]
struct Durable {
    handed_off: BTreeSet<(EndpointUid, EventRef)>,
    lanes: BTreeMap<LaneKey, LaneRow>,
    deleted: BTreeSet<EndpointUid>,
    /// The highest position that was acked, whoever did.
    acked: BTreeMap<Shard, Position>,
    /// The last one of each assignment.
    told: BTreeMap<(usize, Shard, Epoch), Position>,
}

pub(super) fn check(history: &History) -> Vec<Violation> {
    let records = Records::of(history);
    let mut durable = Durable::default();
    let mut violations = Vec::new();
    for entry in &history.entries {
        match &entry.what {
            What::Recorded(fact) if ends(fact) => durable.hand_off(fact.endpoint, &fact.event),
            What::Appended(lane, row) => durable.hand_off(lane.endpoint, &row.event),
            What::Held(lane, _, row) => durable.hand_off(lane.endpoint, &row.event),
            What::LaneSaved(row) => durable.save(row),
            What::Deleted(endpoint) => {
                durable.deleted.insert(*endpoint);
            }
            What::Acked { worker, shard, epoch, upto, taken } => {
                violations.extend(durable.tell((*worker, *shard, *epoch), *upto));
                if *taken {
                    violations.extend(durable.ack(history, &records, *shard, *upto));
                }
            }
            What::Recorded(_)
            | What::Step(_)
            | What::Sent(_)
            | What::Answered { .. }
            | What::Dropped { .. }
            | What::LaneRemoved(_)
            | What::LineSaved(_)
            | What::LetterPut { .. }
            | What::LetterResolved { .. }
            | What::Failed(_)
            | What::Assigned { .. }
            | What::Error(_) => {}
        }
    }
    violations
}

/// What was published, by its place.
struct Records<'a> {
    by_place: BTreeMap<(Shard, Position), &'a Published>,
    /// How many there are of each key or id.
    alike: BTreeMap<&'a str, usize>,
}

impl<'a> Records<'a> {
    fn of(history: &'a History) -> Self {
        let mut records = Self { by_place: BTreeMap::new(), alike: BTreeMap::new() };
        for record in &history.model.records {
            let at = record.event.at;
            records.by_place.insert((at.shard, at.position), record);
            *records.alike.entry(&record.identity).or_default() += 1;
        }
        records
    }

    /// Whether another record is of the same key: either may be delivered for both.
    fn is_repeated(&self, record: &Published) -> bool {
        self.alike.get(record.identity.as_str()).copied() > Some(1)
    }
}

/// Whether a fact hands its delivery off: not one that only says that there is more to come.
fn ends(fact: &Fact) -> bool {
    match &fact.kind {
        FactKind::DeadLettered(_) | FactKind::Cancelled => true,
        FactKind::Attempt(attempt) => match attempt.disposition {
            domain::Disposition::Delivered | domain::Disposition::DeadLettered(_) => true,
            domain::Disposition::Retry { .. } => false,
        },
    }
}

impl Durable {
    fn hand_off(&mut self, endpoint: EndpointUid, event: &EventRef) {
        self.handed_off.insert((endpoint, event.clone()));
    }

    /// A worker says that everything up to a position is handed off.
    fn tell(&mut self, of: (usize, Shard, Epoch), upto: Position) -> Option<Violation> {
        let told = self.told.entry(of).or_insert(upto);
        let before = std::mem::replace(told, upto);
        (upto < before).then(|| {
            let (worker, shard, _) = of;
            let (upto, before, shard) = (upto.0, before.0, shard.0);
            let what = format!("worker {worker} acks {upto} of shard {shard} after {before}");
            Violation::new("DL-2", what)
        })
    }

    /// The log takes it. What it passes must be handed off.
    fn ack(
        &mut self,
        history: &History,
        records: &Records<'_>,
        shard: Shard,
        upto: Position,
    ) -> Vec<Violation> {
        let from = self.acked.get(&shard).map_or(Position(0), |acked| acked.next());
        let end = upto.next().max(from);
        let passed = records.by_place.range((shard, from)..(shard, end)).map(|(_, record)| *record);
        let passed = passed.filter(|record| !records.is_repeated(record));
        let missing = passed.flat_map(|record| self.missing(history, record)).collect();
        let acked = self.acked.entry(shard).or_insert(upto);
        *acked = (*acked).max(upto);
        missing
    }

    /// As the store keeps it (LA-1).
    fn save(&mut self, row: &LaneRow) {
        let stored = self.lanes.entry(row.key).or_insert_with(|| row.clone());
        if row.epoch >= stored.epoch {
            *stored = row.clone();
        }
    }

    /// The endpoints of a record that it is not handed off for.
    fn missing(&self, history: &History, record: &Published) -> Vec<Violation> {
        let at = record.event.at;
        let mut violations = Vec::new();
        for endpoint in &record.wanted {
            let lane = self.lanes.get(&LaneKey { shard: at.shard, endpoint: *endpoint });
            let is_marked =
                lane.and_then(|lane| lane.skip_from).is_some_and(|from| from <= at.position);
            let is_handed_off = self.handed_off.contains(&(*endpoint, record.event.clone()));
            if is_handed_off || is_marked || self.deleted.contains(endpoint) {
                continue;
            }
            let (id, name) = (&record.event.id, history.name(*endpoint));
            let what = format!("{at} is acked and {id} is not handed off for {name}");
            violations.push(Violation::new("DL-2", what).of(*endpoint, id));
        }
        violations
    }
}
