//! The stores in memory.

mod config;
mod delivery;
mod event_types;
mod events;
mod jobs;
mod lines;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::limits::{ATTEMPT_RETENTION, DEAD_LETTER_RETENTION, IDEMPOTENCY_TTL, JOB_RETENTION};
use domain::{
    AttemptId, BacklogKey, BacklogRow, Command, CommandId, DeadLetter, DeadLetterId, EndpointUid,
    EventRef, EventType, Fact, HeldRow, Job, JobId, LaneKey, LaneRow, Line, LineRow, Position,
    RegisteredType, Resolution, RunId, Shard, TenantId, Timestamp,
};
use ports::{Clock, ConfigFeed, Hint, IdempotencyRow, StoredEvent, Tenant, TenantConfig};
use tokio::sync::broadcast;

use crate::Faults;

/// How long a body outlives its last need.
const KEEP_BODY: Duration = Duration::from_secs(17 * 24 * 3_600);
/// Commands expire after a day.
const KEEP_COMMAND: Duration = Duration::from_secs(24 * 3_600);

/// Every store port in memory. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    faults: Faults,
}

#[derive(Default)]
struct State {
    events: BTreeMap<EventRef, (StoredEvent, Timestamp)>,
    facts: BTreeMap<(EventRef, EndpointUid, RunId, AttemptId), Fact>,
    backlog: BTreeMap<LaneKey, BTreeMap<BacklogKey, BacklogRow>>,
    lanes: BTreeMap<LaneKey, LaneRow>,
    lines: BTreeMap<(Shard, EndpointUid, Line), LineRow>,
    held: BTreeMap<(LaneKey, Line), BTreeMap<Position, HeldRow>>,
    inbox: BTreeMap<(Shard, CommandId), (Command, bool)>,
    dead_letters: BTreeMap<(EndpointUid, DeadLetterId), Dead>,
    tenants: BTreeMap<TenantId, (Tenant, TenantConfig)>,
    keys: BTreeMap<(TenantId, String), IdempotencyRow>,
    jobs: BTreeMap<(TenantId, JobId), Job>,
    types: BTreeMap<(TenantId, EventType), RegisteredType>,
}

struct Dead {
    letter: DeadLetter,
    resolution: Option<Resolution>,
    runs: Vec<RunId>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { state: Arc::default(), clock, faults: Faults::default() }
    }

    /// Makes calls fail.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Every fact that is kept, by event, endpoint, run and id.
    #[must_use]
    pub fn all_facts(&self) -> Vec<Fact> {
        self.with(|state, _| state.facts.values().cloned().collect())
    }

    /// Every row of every lane's backlog, trimmed ones apart.
    #[must_use]
    pub fn all_backlog(&self) -> Vec<(LaneKey, BacklogRow)> {
        self.with(|state, _| {
            let lanes = state.backlog.iter();
            let rows = lanes.flat_map(|(lane, rows)| rows.values().map(|row| (*lane, row.clone())));
            rows.collect()
        })
    }

    /// Every row of every line, those that have had their turn too.
    #[must_use]
    pub fn all_held(&self) -> Vec<(LaneKey, HeldRow)> {
        self.with(|state, _| {
            let lines = state.held.iter();
            let rows =
                lines.flat_map(|((lane, _), rows)| rows.values().map(|row| (*lane, row.clone())));
            rows.collect()
        })
    }

    /// Every dead letter with what became of it, resolved ones too.
    #[must_use]
    pub fn all_dead_letters(&self) -> Vec<(DeadLetter, Option<Resolution>)> {
        self.with(|state, _| {
            let dead = state.dead_letters.values();
            dead.map(|dead| (dead.letter.clone(), dead.resolution)).collect()
        })
    }

    /// Removes what has expired; nothing that can be read changes.
    pub fn maintain(&self) {
        self.with(|state, now| {
            state.facts.retain(|_, fact| is_young(fact.time, ATTEMPT_RETENTION, now));
            state.events.retain(|_, (_, keep_until)| *keep_until > now);
            state.inbox.retain(|_, (command, _)| is_young(command.time, KEEP_COMMAND, now));
            state
                .dead_letters
                .retain(|_, dead| is_young(dead.letter.time, DEAD_LETTER_RETENTION, now));
            state.jobs.retain(|_, job| is_young(job.create_time, JOB_RETENTION, now));
            state.keys.retain(|_, row| is_young(row.time, IDEMPOTENCY_TTL, now));
            let State { lanes, backlog, .. } = state;
            for (key, rows) in backlog {
                let cursor = lanes.get(key).map_or(BacklogKey::START, |lane| lane.cursor);
                rows.retain(|row, _| *row > cursor);
            }
        });
    }

    fn with<T>(&self, run: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut state, now)
    }

    fn write<T>(&self, run: impl FnOnce(&mut State, Timestamp) -> T) -> ports::Result<T> {
        self.faults.write(|| self.with(run))
    }

    fn read<T>(&self, run: impl FnOnce(&mut State, Timestamp) -> T) -> ports::Result<T> {
        self.faults.read(|| self.with(run))
    }
}

/// Whether something of `time` is still shown.
fn is_young(time: Timestamp, keep: Duration, now: Timestamp) -> bool {
    time + keep > now
}

/// The `ConfigFeed` of one process.
pub struct MemoryFeed {
    hints: broadcast::Sender<Hint>,
    faults: Faults,
}

impl MemoryFeed {
    /// A feed that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hints: broadcast::Sender::new(1_024), faults: Faults::default() }
    }

    /// Makes hints fail: `UnknownLost` loses them.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

impl Default for MemoryFeed {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ConfigFeed for MemoryFeed {
    async fn hint(&self, hint: Hint) -> ports::Result<()> {
        self.faults.write(|| {
            let _ = self.hints.send(hint);
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}
