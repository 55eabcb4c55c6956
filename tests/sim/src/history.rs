//! A history that has come to its end, in the order and by the keys that the checks need.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{
    Attempt, DeadLetter, EndpointUid, EventId, EventRef, Fact, FactKind, LaneKey, LaneRow,
    LogPosition, RunId, Shard, Timestamp,
};

use crate::check::{self, Violation};
use crate::journal::{Entry, Sent, What, digest};
use crate::model::Model;
use crate::plan::{Flavour, Plan};
use crate::world::{Known, World};

/// What a history leaves undone: whether it came to rest, records of each shard that are not acked, runs without an end.
type Rest = (bool, Vec<(Shard, u64)>, Vec<(EndpointUid, EventRef, RunId)>);

/// Everything that happened under one seed.
pub struct History {
    pub(crate) seed: u64,
    pub(crate) flavour: Flavour,
    pub(crate) in_flight: usize,
    pub(crate) endpoints: Vec<Known>,
    pub(crate) model: Model,
    pub(crate) entries: Vec<Entry>,
    pub(crate) facts: BTreeMap<(EndpointUid, EventRef), Vec<Fact>>,
    pub(crate) letters: Vec<DeadLetter>,
    pub(crate) rest: Rest,
    /// Requests by endpoint and event, in order.
    pub(crate) requests: BTreeMap<(EndpointUid, EventId), Vec<Request>>,
    /// Places in the journal where a shard got another owner.
    pub(crate) assignments: BTreeMap<Shard, Vec<usize>>,
    /// Simulated time from beginning to end.
    pub(crate) lasted: Duration,
}

/// A request with what became of it. Places are indexes into the journal.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) sent: Sent,
    pub(crate) time: Timestamp,
    pub(crate) place: usize,
    /// Where its outcome became durable, with its run.
    pub(crate) recorded: Option<(usize, RunId)>,
}

impl Request {
    /// When it ended, or would have.
    pub(crate) fn end(&self) -> Timestamp {
        self.time + self.sent.takes
    }
}

impl History {
    pub(crate) fn new(plan: &Plan, world: World, model: Model, rest: Rest) -> Self {
        let entries = world.journal.entries();
        let mut facts: BTreeMap<_, Vec<Fact>> = BTreeMap::new();
        for fact in world.memory.all_facts() {
            facts.entry((fact.endpoint, fact.event.clone())).or_default().push(fact);
        }
        let letters = world.memory.all_dead_letters().into_iter().map(|(letter, _)| letter);
        let lasted = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => last.time.since(first.time),
            _ => Duration::ZERO,
        };
        Self {
            seed: plan.seed,
            flavour: plan.flavour,
            in_flight: plan.setup.in_flight,
            requests: requests(&entries),
            assignments: assignments(&entries),
            letters: letters.collect(),
            endpoints: world.endpoints,
            model,
            entries,
            facts,
            rest,
            lasted,
        }
    }

    /// The seed that it follows from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Which misfortunes it has.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// A number that follows from all that happened: two runs of one seed have the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(&self.entries)
    }

    /// How many requests were sent.
    #[must_use]
    pub fn requests_sent(&self) -> usize {
        self.requests.values().map(Vec::len).sum()
    }

    /// How much simulated time went by.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// What does not hold; empty when all is well.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        check::all(self)
    }

    pub(crate) fn known(&self, endpoint: EndpointUid) -> Option<&Known> {
        self.endpoints.iter().find(|known| known.uid == endpoint)
    }

    pub(crate) fn is_deleted(&self, endpoint: EndpointUid) -> bool {
        self.known(endpoint).is_none_or(|known| known.is_deleted)
    }

    /// An endpoint's name; its uid where there is none.
    pub(crate) fn name(&self, endpoint: EndpointUid) -> String {
        self.known(endpoint).map_or_else(|| endpoint.to_string(), |known| known.id.to_string())
    }

    pub(crate) fn facts_of(&self, endpoint: EndpointUid, event: &EventRef) -> &[Fact] {
        self.facts.get(&(endpoint, event.clone())).map_or(&[], Vec::as_slice)
    }

    /// Whether a lane ever noted that it skips this place.
    pub(crate) fn skips(&self, endpoint: EndpointUid, at: LogPosition) -> bool {
        let is_lane = |key: &LaneKey| key.endpoint == endpoint && key.shard == at.shard;
        let skips = |row: &LaneRow| row.skip_from.is_some_and(|from| from <= at.position);
        let mut what = self.entries.iter().map(|entry| &entry.what);
        what.any(|what| matches!(what, What::LaneSaved(row) if is_lane(&row.key) && skips(row)))
    }
}

/// Places where a shard got another owner.
fn assignments(entries: &[Entry]) -> BTreeMap<Shard, Vec<usize>> {
    let mut assignments: BTreeMap<Shard, Vec<usize>> = BTreeMap::new();
    for (place, entry) in entries.iter().enumerate() {
        if let What::Assigned { shard, .. } = entry.what {
            assignments.entry(shard).or_default().push(place);
        }
    }
    assignments
}

/// Pairs requests with the facts that record them: by endpoint, event, number and the moment at which they began.
fn requests(entries: &[Entry]) -> BTreeMap<(EndpointUid, EventId), Vec<Request>> {
    let mut requests: BTreeMap<(EndpointUid, EventId), Vec<Request>> = BTreeMap::new();
    // A write whose answer was lost is made again.
    let mut seen = BTreeSet::new();
    for (place, Entry { time, what }) in entries.iter().enumerate() {
        if let What::Sent(sent) = what {
            let of = requests.entry((sent.endpoint, sent.event.clone())).or_default();
            of.push(Request { sent: sent.clone(), time: *time, place, recorded: None });
        }
        if let What::Recorded(fact) = what
            && let Some(attempt) = attempt_of(fact)
            && seen.insert(fact.id)
        {
            let of = requests.get_mut(&(fact.endpoint, fact.event.id.clone()));
            let is_it = |request: &&mut Request| {
                request.recorded.is_none()
                    && request.time == fact.time
                    && request.sent.attempt == attempt.number
                    && request.sent.outcome == attempt.outcome
            };
            if let Some(request) = of.and_then(|of| of.iter_mut().find(is_it)) {
                request.recorded = Some((place, fact.run));
            }
        }
    }
    requests
}

pub(crate) fn attempt_of(fact: &Fact) -> Option<&Attempt> {
    match &fact.kind {
        FactKind::Attempt(attempt) => Some(attempt),
        FactKind::DeadLettered(_) | FactKind::Cancelled => None,
    }
}
