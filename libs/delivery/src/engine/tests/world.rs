//! The worker's part: carries out every effect and brings its result back, on a simulated clock.

mod effects;
mod owners;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{
    ApiVersion, BacklogKey, Command, CommandId, CommandKind, ContentType, DeadLetterId,
    DeliveryPolicy, EndpointId, EndpointState, EndpointUid, Epoch, Event, EventId, EventRef,
    EventType, HeldRow, LaneKey, Line, LogPosition, OutcomeKind, Position, RetryAfter, Revision,
    RunId, Shard, TenantId, Timestamp, Trigger,
};
use uuid::Uuid;

use super::store::{GROUPS, Record, Store};
use crate::{
    AttemptReport, AttemptStart, AttemptToken, EndpointSpec, Engine, EngineConfig, LoadToken,
    LoadedDelivery, Write,
};

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) kind: OutcomeKind,
    pub(super) after: Duration,
    pub(super) retry_after: Option<RetryAfter>,
    pub(super) own_fault: bool,
}

pub(super) fn status(status: u16) -> Answer {
    Answer {
        kind: OutcomeKind::Answered(status),
        after: Duration::ZERO,
        retry_after: None,
        own_fault: false,
    }
}

impl Answer {
    pub(super) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(RetryAfter::Delay(wait)), ..self }
    }
}

type Script = Box<dyn FnMut(&AttemptStart, Timestamp) -> Answer>;

/// A request that a receiver has seen.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) time: Timestamp,
    pub(super) endpoint: EndpointUid,
    pub(super) at: EventRef,
    pub(super) run: RunId,
    pub(super) trigger: Trigger,
    pub(super) answer: Answer,
}

#[derive(Debug)]
enum Pending {
    Outcome(AttemptToken, AttemptReport),
    Written(Box<Write>),
    Page { lane: LaneKey, after: BacklogKey, upto: BacklogKey, limit: usize },
    Loaded { token: LoadToken, endpoint: EndpointUid, event: EventRef, run: RunId, body: bool },
    Answered(LoadToken, LoadedDelivery),
    Scan { lane: LaneKey, from: Position, to: Position, limit: usize },
    Line { lane: LaneKey, line: Line, bounds: (Position, Option<Position>), limit: usize },
    LineRead(LaneKey, Line, Vec<HeldRow>),
    SetState { endpoint: EndpointUid, from: EndpointState, to: EndpointState },
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) config: EngineConfig,
    pub(super) now: Timestamp,
    pub(super) store: Store,
    pub(super) sent: Vec<Sent>,
    /// What the engine has asked for, as one number: equal for equal histories.
    pub(super) trace: u64,
    pub(super) effects: usize,
    /// Longest that the store takes, in ms; reads may overtake, writes keep their order.
    pub(super) store_ms_max: u64,
    pub(super) intake_closed: usize,
    /// Deliveries that were on their way, or not recorded yet, when the worker died; how often.
    pub(super) at_risk: BTreeMap<(EndpointUid, LogPosition, RunId), usize>,
    pub(super) jitter: Option<u64>,
    /// A shard was given up and taken back.
    taken_over: bool,
    /// Writes of workers that are suspended, and how many of their groups are durable.
    late: Vec<Option<(Box<Write>, usize)>>,
    /// Lanes of which a former owner wrote when another had read what there is: the next one finds that.
    pub(super) lanes_late: BTreeSet<LaneKey>,
    /// All commands, done or not.
    inbox: BTreeMap<CommandId, Command>,
    scripts: BTreeMap<EndpointUid, Script>,
    pending: BTreeMap<(Timestamp, u64), Pending>,
    pub(super) in_flight: BTreeMap<AttemptToken, Sent>,
    not_before: BTreeMap<(EndpointUid, LogPosition, RunId, u32), Timestamp>,
    readers: BTreeMap<Shard, usize>,
    epoch: u32,
    last_write: Timestamp,
    seed: u64,
    counter: u64,
}

/// The start of all histories.
pub(super) const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);
pub(super) const SHARD: Shard = Shard(0);

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(EngineConfig::default(), &[SHARD])
    }

    pub(super) fn with(config: EngineConfig, shards: &[Shard]) -> Self {
        let mut world = Self {
            engine: Engine::new(config),
            config,
            now: T0,
            store: Store::default(),
            sent: Vec::new(),
            trace: 0,
            effects: 0,
            store_ms_max: 0,
            intake_closed: 0,
            at_risk: BTreeMap::new(),
            jitter: Some(1 << 63),
            taken_over: false,
            late: Vec::new(),
            lanes_late: BTreeSet::new(),
            inbox: BTreeMap::new(),
            scripts: BTreeMap::new(),
            pending: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            not_before: BTreeMap::new(),
            readers: shards.iter().map(|shard| (*shard, 0)).collect(),
            epoch: 0,
            last_write: T0,
            seed: 1,
            counter: 0,
        };
        world.take_over();
        world
    }

    fn random(&mut self) -> u64 {
        // Knuth's MMIX generator: enough to vary delays.
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 20
    }

    fn uuid(&mut self) -> Uuid {
        self.counter += 1;
        Uuid::from_u128(u128::from(self.counter))
    }

    // What people and publishers do.

    pub(super) fn endpoint(&mut self) -> EndpointUid {
        self.endpoint_with(DeliveryPolicy::default())
    }

    pub(super) fn endpoint_with(&mut self, policy: DeliveryPolicy) -> EndpointUid {
        let uid = EndpointUid::from_uuid(self.uuid());
        let spec = EndpointSpec {
            uid,
            id: EndpointId::parse("shop").expect("an endpoint id"),
            tenant: TenantId::default_tenant(),
            url: "https://example.com/".into(),
            policy,
            state: EndpointState::Active,
            state_time: self.now,
            revision: Revision(1),
        };
        self.store.specs.insert(uid, spec.clone());
        self.scripts.insert(uid, Box::new(|_, _| status(200)));
        self.engine.configure(spec, self.now);
        uid
    }

    pub(super) fn script(
        &mut self,
        uid: EndpointUid,
        script: impl FnMut(&AttemptStart, Timestamp) -> Answer + 'static,
    ) {
        self.scripts.insert(uid, Box::new(script));
    }

    pub(super) fn always(&mut self, uid: EndpointUid, answer: Answer) {
        self.script(uid, move |_, _| answer);
    }

    pub(super) fn publish(&mut self, uids: &[EndpointUid]) -> EventRef {
        self.publish_to(SHARD, uids, None)
    }

    /// Appends an event and lets the worker read it, without any time passing.
    pub(super) fn publish_to(
        &mut self,
        shard: Shard,
        uids: &[EndpointUid],
        deliver_at: Option<Timestamp>,
    ) -> EventRef {
        self.publish_keyed(shard, uids, deliver_at, None)
    }

    /// The same with an ordering key.
    pub(super) fn publish_keyed(
        &mut self,
        shard: Shard,
        uids: &[EndpointUid],
        deliver_at: Option<Timestamp>,
        key: Option<&str>,
    ) -> EventRef {
        let records = self.store.log.entry(shard).or_default();
        // Positions have gaps, as logs have them.
        let position = Position(records.len() as u64 * 3 + 1);
        let at = LogPosition { shard, position };
        let id = EventId::parse(&format!("evt-{}-{}", shard.0, position.0)).expect("valid");
        let event = Event {
            tenant: TenantId::default_tenant(),
            id: id.clone(),
            event_type: EventType::parse("a.b").expect("valid"),
            created_at: self.now,
            api_version: ApiVersion::parse("1").expect("valid"),
            content_type: ContentType::json(),
            data: Bytes::from_static(b"{}"),
            ordering_key: key.map(Into::into),
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at,
            revision: None,
            traceparent: None,
        };
        let at = EventRef { tenant: TenantId::default_tenant(), id, at };
        records.push(Record { at: at.clone(), event: Arc::new(event), uids: uids.to_vec() });
        self.settle();
        at
    }

    pub(super) fn set_state(&mut self, uid: EndpointUid, state: EndpointState) {
        let (now, spec) = (self.now, self.store.specs.get_mut(&uid).expect("known"));
        spec.state = state;
        spec.state_time = now;
        spec.revision = Revision(spec.revision.0 + 1);
        let spec = spec.clone();
        self.engine.configure(spec, now);
        self.settle();
    }

    pub(super) fn delete(&mut self, uid: EndpointUid) {
        self.store.specs.remove(&uid);
        self.engine.remove(uid);
        self.settle();
    }

    pub(super) fn run_id(&mut self) -> RunId {
        RunId::from_uuid(self.uuid())
    }

    pub(super) fn command(&mut self, uid: EndpointUid, kind: CommandKind) -> CommandId {
        self.command_in(SHARD, uid, kind)
    }

    pub(super) fn command_in(
        &mut self,
        shard: Shard,
        endpoint: EndpointUid,
        kind: CommandKind,
    ) -> CommandId {
        let id = CommandId(self.uuid());
        let (time, tenant) = (self.now, TenantId::default_tenant());
        let command = Command { id, shard, time, tenant, endpoint, kind };
        self.inbox.insert(id, command.clone());
        self.engine.handle_command(command, self.now);
        self.settle();
        id
    }

    /// A person redrives the dead letter of an event.
    pub(super) fn redrive(&mut self, uid: EndpointUid, event: &EventRef) -> RunId {
        let (dead_letter, run) = (DeadLetterId::of(uid, event), self.run_id());
        assert!(self.store.dead_letters.contains_key(&(uid, dead_letter)));
        self.store.redriving.insert((uid, dead_letter), run);
        let kind = CommandKind::Redrive { dead_letter, event: event.clone(), run, by_job: false };
        self.command_in(event.at.shard, uid, kind);
        run
    }

    /// A person cancels a delivery; the control plane names the runs that it sees.
    pub(super) fn cancel(&mut self, uid: EndpointUid, event: &EventRef) {
        let facts = self.store.facts.get(&(uid, event.at)).into_iter().flatten();
        let runs = facts.map(|fact| fact.run).collect();
        let redrive = self.store.redriving.get(&(uid, DeadLetterId::of(uid, event))).copied();
        let kind = CommandKind::Cancel { event: event.clone(), runs, redrive };
        self.command_in(event.at.shard, uid, kind);
    }

    // What the worker does.

    /// A worker starts, or takes over, with what is durable.
    pub(super) fn take_over(&mut self) {
        self.epoch += 1;
        let specs: Vec<EndpointSpec> = self.store.specs.values().cloned().collect();
        specs.into_iter().for_each(|spec| self.engine.configure(spec, self.now));
        let shards: Vec<Shard> = self.readers.keys().copied().collect();
        for shard in shards {
            self.assign(shard);
            self.bring(shard);
        }
        self.settle();
    }

    /// Brings the commands of a shard that are not done.
    fn bring(&mut self, shard: Shard) {
        let (inbox, done) = (&self.inbox, &self.store.commands);
        let open = inbox.values().filter(|c| c.shard == shard && !done.contains(&c.id));
        for command in open.cloned().collect::<Vec<_>>() {
            self.engine.handle_command(command, self.now);
        }
    }

    fn assign(&mut self, shard: Shard) {
        let acked = self.store.acked.get(&shard).copied();
        let lanes = self.store.lanes.values().filter(|lane| lane.key.shard == shard);
        let lanes = lanes.cloned().collect();
        let lines = self.store.lines.values().filter(|line| line.lane.shard == shard);
        let lines = lines.cloned().collect();
        let records = self.store.log.entry(shard).or_default();
        let next =
            records.partition_point(|r| acked.is_some_and(|acked| r.at.at.position <= acked));
        self.readers.insert(shard, next);
        let head = self.store.head(shard);
        self.engine.assign(shard, Epoch(self.epoch), acked, head, (lanes, lines), self.now);
    }

    /// The worker dies. Of the writes on their way the first `writes` are durable, and `groups` groups of the one after.
    pub(super) fn crash(&mut self, writes: usize, groups: usize) {
        self.suspend(writes, groups);
        self.late.pop();
    }

    /// The worker is suspended and another one takes its shards over. As [`World::crash`], but the write after is still under way: see [`World::wake`].
    pub(super) fn suspend(&mut self, writes: usize, groups: usize) {
        let pending = std::mem::take(&mut self.pending);
        let on_their_way = pending.into_values().filter_map(|pending| match pending {
            Pending::Written(write) => Some(write),
            Pending::Outcome(..)
            | Pending::Page { .. }
            | Pending::Loaded { .. }
            | Pending::Answered(..)
            | Pending::Scan { .. }
            | Pending::Line { .. }
            | Pending::LineRead(..)
            | Pending::SetState { .. } => None,
        });
        let mut last = None;
        for (index, mut write) in on_their_way.enumerate().take(writes + 1) {
            let durable = if index < writes { GROUPS } else { groups };
            self.store.apply(&mut write, 0..durable);
            last = (durable < GROUPS).then_some((write, durable));
        }
        self.late.push(last);
        self.note_risk(None);
        self.in_flight.clear();
        self.engine = Engine::new(self.config);
        self.take_over();
    }

    /// Of each write that was under way when its worker was suspended so many more groups become durable: one, the call that was under way, or more, when the
    /// worker took its leases to hold.
    pub(super) fn wake(&mut self, groups: usize) {
        for (mut write, durable) in std::mem::take(&mut self.late).into_iter().flatten() {
            self.lanes_late.extend(write.lanes.iter().map(|lane| lane.key));
            self.store.apply(&mut write, durable..GROUPS.min(durable + groups));
        }
    }

    fn note_risk(&mut self, shard: Option<Shard>) {
        let sent = self.sent.iter().filter(|s| shard.is_none_or(|shard| s.at.at.shard == shard));
        let open: BTreeSet<_> = sent
            .filter(|s| !self.store.run(s.endpoint, s.at.at, s.run).has_ended())
            .map(|s| (s.endpoint, s.at.at, s.run))
            .collect();
        open.into_iter().for_each(|key| *self.at_risk.entry(key).or_default() += 1);
    }

    pub(super) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    pub(super) fn run_until(&mut self, end: Timestamp) {
        self.settle();
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = end;
    }

    fn next_time(&self) -> Option<Timestamp> {
        let first = self.pending.first_key_value().map(|((at, _), _)| *at);
        [first, self.engine.poll_timeout()].into_iter().flatten().min()
    }

    /// Does everything that can be done now.
    pub(super) fn settle(&mut self) {
        let before = self.effects;
        for round in 0.. {
            self.take_effects();
            let work = round + self.effects - before;
            assert!(work < 200_000, "the engine never comes to rest");
            if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
                self.engine.handle_timeout(self.now);
            } else if let Some(first) =
                self.pending.first_entry().filter(|entry| entry.key().0 <= self.now)
            {
                let pending = first.remove();
                self.carry_out(pending);
            } else if !self.read_one() {
                return;
            }
        }
    }

    fn read_one(&mut self) -> bool {
        let waiting = self.readers.iter().find(|(shard, next)| {
            self.store.log.get(shard).is_some_and(|records| records.len() > **next)
        });
        let Some((shard, next)) = waiting.map(|(shard, next)| (*shard, *next)) else {
            return false;
        };
        if !self.engine.intake_open() {
            self.intake_closed += 1;
            return false;
        }
        self.readers.insert(shard, next + 1);
        let record = self.store.log[&shard][next].clone();
        let matched = Some((&record.event, record.uids.as_slice()));
        self.engine.handle_record(record.at.at, 100, matched, self.now);
        true
    }

    // What is asked by tests.

    /// Whether the engine waits for nothing but its hourly sweep.
    pub(super) fn rests(&self) -> bool {
        let next = self.engine.poll_timeout();
        next.is_none_or(|at| at.since(T0).as_secs().is_multiple_of(3_600))
    }

    /// Requests to an endpoint: milliseconds since the start.
    pub(super) fn times(&self, uid: EndpointUid) -> Vec<i64> {
        let mine = self.sent.iter().filter(|sent| sent.endpoint == uid);
        mine.map(|sent| sent.time.as_millis() - T0.as_millis()).collect()
    }

    /// Requests to an endpoint: whole seconds since the start.
    pub(super) fn seconds(&self, uid: EndpointUid) -> Vec<i64> {
        self.times(uid).into_iter().map(|ms| ms.div_euclid(1_000)).collect()
    }

    pub(super) fn sent_to(&self, uid: EndpointUid) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.endpoint == uid).collect()
    }

    /// How often an event's delivery was answered with 2xx.
    pub(super) fn successes(&self, uid: EndpointUid, at: &EventRef) -> usize {
        let mine = self.sent.iter().filter(|s| s.endpoint == uid && s.at == *at);
        mine.filter(|s| matches!(s.answer.kind, OutcomeKind::Answered(200..=299))).count()
    }

    pub(super) fn acked(&self, shard: Shard) -> Option<Position> {
        self.store.acked.get(&shard).copied()
    }
}
