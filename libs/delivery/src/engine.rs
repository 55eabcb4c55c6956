//! The state machine. Inputs are `handle_*`, `assign`, `leave`, `revoke`, `configure`; after each, take effects until there are none.

mod cancel;
mod catch_up;
mod control;
mod dispatch;
mod ended;
mod in_order;
mod intake;
mod leave;
mod left;
mod letters;
mod outcome;
mod places;
mod promote;
mod renewal;
mod save;
mod settle;
mod span;
mod sweep;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{
    CommandId, EndpointUid, Epoch, Event, LaneKey, LaneRow, LastKnown, LineRow, LogPosition,
    Position, RunId, RunState, Shard, Timestamp, limits,
};

use crate::breaker::Breaker;
use crate::effect::{AttemptToken, Effect, LoadToken, Write, WriteToken};
use crate::egress::Egress;
use crate::endpoint::{Endpoint, EndpointSpec};
use crate::lane::{Item, Lane};
use crate::timers::{Timer, Timers};
use crate::tracker::Tracker;
use ended::Ended;
use settle::Settlement;

/// 64 random bits that come with an outcome, for the jitter of its retry.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(pub u64);

/// What a look into the store found.
#[derive(Clone, Debug, Default)]
pub struct LoadedDelivery {
    /// The event; `None` when neither the store nor the log has it any more.
    pub event: Option<Arc<Event>>,
    /// Whether the store has the body.
    pub stored: bool,
    /// What the facts of the run say.
    pub run: RunState,
    /// Requests of all runs of this delivery.
    pub attempts_total: u32,
    /// What the facts of all runs say last.
    pub last: LastKnown,
}

/// Bounds of one worker.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Most attempts in flight.
    pub in_flight_max: usize,
    /// Most records between the acked position and the reader.
    pub span_records_max: usize,
    /// Most bytes between the acked position and the reader.
    pub span_bytes_max: usize,
    /// After this time a record's deliveries in flight get backlog rows, so that the position can go on.
    pub span_age_max: Duration,
    /// After this time in the memory queue a delivery goes to the backlog.
    pub queue_wait_max: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            in_flight_max: limits::IN_FLIGHT_DEFAULT,
            span_records_max: limits::SPAN_RECORDS_MAX,
            span_bytes_max: limits::SPAN_BYTES_MAX,
            span_age_max: limits::SPAN_AGE_MAX,
            queue_wait_max: limits::LANE_QUEUE_WAIT_MAX,
        }
    }
}

/// The delivery engine of one worker.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    shards: BTreeMap<Shard, Tracker>,
    endpoints: BTreeMap<EndpointUid, Endpoint>,
    lanes: BTreeMap<LaneKey, Lane>,
    in_flight: BTreeMap<AttemptToken, InFlight>,
    loads: BTreeMap<LoadToken, PendingLoad>,
    ended: Ended,
    writes: BTreeMap<WriteToken, Settlement>,
    /// Endpoints that may have something to send, in the order of their turns.
    round: VecDeque<EndpointUid>,
    /// Those that answer slowly and hold their share of the places.
    aside: VecDeque<EndpointUid>,
    slow_in_flight: usize,
    /// Outcomes that are not durable yet.
    unwritten: usize,
    egress: Egress,
    timers: Timers,
    effects: VecDeque<Effect>,
    next_token: u64,
    stopping: bool,
}

#[derive(Debug)]
struct InFlight {
    item: Item,
    lane: LaneKey,
    /// The lane's owner at the start: an outcome that comes after a take-over hands nothing off.
    epoch: Epoch,
    /// The breaker's generation at the start: outcomes of an older one say nothing about the endpoint's health.
    generation: u32,
    started: Timestamp,
    /// It is the one attempt that an open breaker or a disabled state allows.
    sole: bool,
    /// It uses up no attempt.
    probe: bool,
    /// Its backlog row is written: the shard's position need not wait for it.
    spilled: bool,
    /// A person cancelled the run meanwhile.
    cancelled: bool,
}

/// A look into the store, and what it is for.
#[derive(Debug)]
enum PendingLoad {
    /// A record that may have been read before.
    Record(LaneKey, LogPosition, Arc<Event>),
    /// A backlog row.
    Row(LaneKey, domain::BacklogRow),
    /// The row of what a person asked for.
    Asked(LaneKey, domain::BacklogRow),
    /// A redrive that was cancelled, and the command that is done with it: its letter is put back.
    Release(LaneKey, domain::EventRef, RunId, (Shard, CommandId)),
    /// What a former owner's line waits for.
    Head(LaneKey, domain::EventRef),
}

impl PendingLoad {
    fn lane(&self) -> LaneKey {
        match self {
            Self::Record(lane, ..)
            | Self::Row(lane, _)
            | Self::Asked(lane, _)
            | Self::Release(lane, ..)
            | Self::Head(lane, _) => *lane,
        }
    }

    fn run(&self) -> ended::Run {
        match self {
            Self::Record(lane, at, _) => (*lane, *at, RunId::LOG),
            Self::Row(lane, row) | Self::Asked(lane, row) => (*lane, row.event.at, row.run),
            Self::Release(lane, event, run, _) => (*lane, event.at, *run),
            Self::Head(lane, event) => (*lane, event.at, RunId::LOG),
        }
    }
}

impl Engine {
    /// An engine that owns nothing yet.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            config,
            shards: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            lanes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            loads: BTreeMap::new(),
            ended: Ended::default(),
            writes: BTreeMap::new(),
            round: VecDeque::new(),
            aside: VecDeque::new(),
            slow_in_flight: 0,
            unwritten: 0,
            egress: Egress::default(),
            timers: Timers::default(),
            effects: VecDeque::new(),
            next_token: 0,
            stopping: false,
        }
    }

    /// Takes a shard over: its lanes go on at their cursors, its records after `acked`.
    ///
    /// `acked`, `head` and `lanes` are read once all writes of the owner before are durable or given up (after a revoke here: once
    /// [`Engine::writes_pending_of`] was 0): what was answered is recorded then, and not sent again.
    /// The endpoints of `lanes` must be configured before or after; a lane whose endpoint never is does nothing.
    pub fn assign(
        &mut self,
        shard: Shard,
        epoch: Epoch,
        acked: Option<Position>,
        head: Position,
        (lanes, lines): (Vec<LaneRow>, Vec<LineRow>),
        now: Timestamp,
    ) {
        let span = self.config.span_records_max;
        self.shards.insert(shard, Tracker::new(epoch, acked, head, span));
        self.timers.set_earlier(Timer::Sweep, now + limits::SWEEP_INTERVAL);
        let lines: Vec<LineRow> = lines.into_iter().filter(|line| line.is_open).collect();
        let mut held: BTreeMap<LaneKey, u64> = BTreeMap::new();
        for line in &lines {
            *held.entry(line.lane).or_default() += line.waiting;
        }
        for mut row in lanes {
            let (key, uid) = (row.key, row.key.endpoint);
            // The lane's count has what its lines hold; each counts for itself from here on.
            row.waiting = row.waiting.saturating_sub(held.get(&key).copied().unwrap_or(0));
            let breaker = row.breaker;
            self.lanes.insert(key, Lane::resume(row, epoch));
            if let Some(endpoint) = self.endpoints.get_mut(&uid) {
                endpoint.lanes.insert(shard);
                // Health is one per endpoint and worker: of several lanes the worst memory counts.
                let breaker = control::still_holds(breaker, &endpoint.spec);
                if breaker.failures > endpoint.breaker.state().failures {
                    endpoint.breaker = Breaker::new(breaker);
                }
            }
            self.catch_up_if_active(uid);
            self.wake(key);
        }
        self.resume_lines(shard, &lines);
        for key in held.into_keys() {
            self.go_on_in_order(key, now);
        }
        self.pump(now);
    }

    /// Gives a shard up, at once or after [`Engine::leave`]. What is in flight may still be recorded when it succeeds; nothing else of the shard happens any more.
    ///
    /// The caller drops answers to `ReadBacklog` and `Scan` that come after it: they carry no token, and after the next `assign` would be taken for its own.
    pub fn revoke(&mut self, shard: Shard) {
        self.shards.remove(&shard);
        self.timers.clear(Timer::Span(shard));
        for key in self.lanes_in(shard) {
            self.lanes.remove(&key);
            self.timers.clear(Timer::Lane(key));
            self.timers.clear(Timer::Queue(key));
            if let Some(endpoint) = self.endpoints.get_mut(&key.endpoint) {
                endpoint.lose_lane(shard);
            }
        }
        self.loads.retain(|_, load| load.lane().shard != shard);
        for settlement in self.writes.values_mut() {
            settlement.lane = settlement.lane.filter(|lane| lane.shard != shard);
        }
        self.drop_effects(shard);
    }

    /// Drops what nobody has begun to do for a shard. An attempt among it holds no place any more.
    fn drop_effects(&mut self, shard: Shard) {
        let (in_flight, loads) = (&self.in_flight, &self.loads);
        let mut unsent = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Attempt(start) => {
                let of = in_flight.get(&start.token).map(|flight| flight.lane.shard);
                unsent.extend((of == Some(shard)).then_some(start.token));
                of != Some(shard)
            }
            Effect::ReadBacklog { lane, .. }
            | Effect::Scan { lane, .. }
            | Effect::ReadLine { lane, .. } => lane.shard != shard,
            Effect::Load { token, .. } => loads.contains_key(token),
            Effect::Observe(_)
            | Effect::Write(_)
            | Effect::SetState { .. }
            | Effect::Ack { .. } => true,
        });
        for token in unsent {
            let Some(flight) = self.in_flight.remove(&token) else {
                continue;
            };
            let uid = flight.lane.endpoint;
            self.place_freed(uid, flight.sole);
            self.kick(uid);
        }
    }

    /// Starts no more attempts; what is in flight goes on to its end.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether most endpoints fail in ways that speak of our own network: no failure counts, and nothing is disabled, until that is over.
    #[must_use]
    pub fn egress_degraded(&self) -> bool {
        self.egress.is_degraded()
    }

    /// Attempts on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Writes that are not durable yet.
    #[must_use]
    pub fn writes_pending(&self) -> usize {
        self.writes.len()
    }

    /// Writes of a shard that are not durable yet, or known to be given up; also of one that was revoked. Late successes of it are not among them.
    #[must_use]
    pub fn writes_pending_of(&self, shard: Shard) -> usize {
        self.writes.values().filter(|settlement| settlement.shard == Some(shard)).count()
    }

    /// Whether the caller may hand in more records. Intake waits for the store, never for a receiver (DL-5).
    #[must_use]
    pub fn intake_open(&self) -> bool {
        const WRITES_MAX: usize = 20_000;
        self.writes.len() < WRITES_MAX
            && self.shards.values().filter(|tracker| !tracker.is_leaving).all(|tracker| {
                tracker.len() < self.config.span_records_max
                    && tracker.bytes() < self.config.span_bytes_max
            })
    }

    /// The next effect to carry out.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Engine::handle_timeout`] next; `None` when nothing waits for a time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Endpoint(uid) => self.kick(uid),
                Timer::Lane(key) => self.wake(key),
                Timer::Queue(key) => self.expire_queue(key, now),
                Timer::Span(shard) => self.spill_old(shard, now),
                Timer::Save => self.save_changed(now),
                Timer::Sweep => self.sweep(now),
            }
        }
        self.pump(now);
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn new_write(&mut self) -> Write {
        Write::new(WriteToken(self.token()))
    }

    /// Asks for a write and remembers what is settled once it is durable.
    fn write(&mut self, mut write: Write, mut settlement: Settlement) {
        write.shard = write.shard.or(settlement.lane.map(|lane| lane.shard));
        settlement.shard = write.shard;
        self.writes.insert(write.token, settlement);
        self.effects.push_back(Effect::Write(Box::new(write)));
    }

    /// Makes a lane if there is none. Returns `false` when the shard is not ours.
    fn ensure_lane(&mut self, key: LaneKey) -> bool {
        if self.lanes.contains_key(&key) {
            return true;
        }
        let Some(epoch) = self.shards.get(&key.shard).map(|tracker| tracker.epoch) else {
            return false;
        };
        let Some(endpoint) = self.endpoints.get_mut(&key.endpoint) else {
            return false;
        };
        endpoint.lanes.insert(key.shard);
        self.lanes.insert(key, Lane::new(key, endpoint.spec.tenant.clone(), epoch));
        true
    }

    /// One delivery of a record is handed off.
    fn record_done(&mut self, shard: Shard, position: Position) {
        if let Some(tracker) = self.shards.get_mut(&shard) {
            tracker.done(position);
        }
        self.advance(shard);
    }

    fn advance(&mut self, shard: Shard) {
        if let Some(tracker) = self.shards.get_mut(&shard)
            && let Some(upto) = tracker.advance()
        {
            let epoch = tracker.epoch;
            self.effects.push_back(Effect::Ack { shard, epoch, upto });
        }
    }

    /// Whether the endpoint is known.
    #[must_use]
    pub fn knows(&self, endpoint: EndpointUid) -> bool {
        self.endpoints.contains_key(&endpoint)
    }

    /// A configured endpoint's specification, as the engine has it.
    #[must_use]
    pub fn spec(&self, endpoint: EndpointUid) -> Option<&EndpointSpec> {
        self.endpoints.get(&endpoint).map(|known| &known.spec)
    }
}

/// The shard whose owner handles what is not in the log.
fn home(at: LogPosition, lane: LaneKey) -> LaneKey {
    LaneKey { shard: if at.is_in_log() { at.shard } else { lane.shard }, ..lane }
}

#[cfg(test)]
mod tests;
