//! The loop that owns the engine.

mod apply;
mod seen;
mod tells;

pub use tells::Alarms;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use delivery::{
    AttemptReport, AttemptToken, Effect, Engine, Jitter, LoadToken, LoadedDelivery, WriteToken,
};
use domain::{
    Command, EndpointState, EndpointUid, Epoch, Event, EventRef, HeldRow, LaneKey, Line, Position,
    Revision, Shard, TenantId, Timestamp,
};
use ports::{BacklogPage, Lease};
use runtime::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::attempt::Attempts;
use crate::config::{Config, Deps};
use crate::former::Former;
use crate::looks::{Look, LookOwner, LookQueue, Looks};
use crate::notices::{self, Notice, Notices, Teller};
use crate::poison::PoisonWatch;
use crate::progress::{self, Follower};
use crate::reader::{FromLog, HandedOff, Reader};
use crate::recent::Recent;
use crate::recorder::Recording;
use crate::target::Target;
use crate::tenants::{TenantView, Tenants, keep_fresh};
use crate::{inbox, recorder};
use seen::Seen;

/// What the loop hears from the tasks around it.
pub(crate) enum Input {
    Written(Vec<WriteToken>),
    Page(LaneKey, BacklogPage),
    Line(LaneKey, Line, Vec<HeldRow>),
    Loaded(LoadToken, LoadedDelivery),
    Scanned(LaneKey, Vec<(EventRef, Arc<Event>)>, Option<Position>),
    StateSet(EndpointUid, EndpointState, Option<Revision>, Option<Arc<TenantView>>),
    Tenant(Arc<TenantView>),
    Commands(Vec<Command>),
}

/// Why a worker ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// One of its tasks ended: a bug.
    #[error("the worker's task {0} ended early")]
    TaskEnded(&'static str),
}

/// Writes that wait in the recorder's channel.
const WRITES_CHANNEL: usize = 1_024;
/// Batches of records that wait for the loop.
const READER_CHANNEL: usize = 4;
/// Inputs of tasks that wait for the loop.
const INPUT_CHANNEL: usize = 64;
/// How long the tasks may take to end once nothing is left to do.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often positions are saved: what lies between is read again after a crash.
const ACK_INTERVAL: Duration = Duration::from_millis(200);

/// What the engine knows of a tenant. The view itself is the cache's, which is bounded.
#[derive(Default)]
struct Served {
    revision: Revision,
    endpoints: Vec<EndpointUid>,
    /// Those whose secrets could not be opened.
    sealed: BTreeSet<EndpointUid>,
}

/// A delivery worker.
pub struct Worker {
    config: Arc<Config>,
    deps: Deps,
    engine: Engine,
    attempts: Attempts,
    tenants: Arc<Tenants>,
    looks: LookQueue,
    targets: HashMap<EndpointUid, Arc<Target>>,
    served: BTreeMap<TenantId, Served>,
    tenant_of: HashMap<EndpointUid, TenantId>,
    attempts_running: JoinSet<(AttemptToken, Option<AttemptReport>)>,
    epochs: BTreeMap<Shard, Epoch>,
    leases: BTreeMap<Shard, Lease>,
    writes_waiting: VecDeque<Recording>,
    /// What the log is not told of yet, and when it is to be.
    handed_off: HandedOff,
    tell_due: Option<Timestamp>,
    /// The last turn was that of what was due.
    due_had_turn: bool,
    /// Shards that other workers wait for, and whether the log was told that nothing of them is under way any more.
    leaving: BTreeMap<Shard, bool>,
    commands_seen: Seen,
    /// Shards that were lost and of which writes are under way.
    former: Former,
    given_up: BTreeSet<Shard>,
    owned: watch::Sender<BTreeSet<Shard>>,
    egress_degraded: watch::Sender<bool>,
    poison: PoisonWatch,
    progress: Follower,
    notices: Notices,
    /// The other end of `notices`, until the worker runs.
    noticed: Option<mpsc::Receiver<Notice>>,
}

/// The loop's ends of the channels.
struct Channels {
    log: mpsc::Receiver<FromLog>,
    inputs: mpsc::Receiver<Input>,
    writes: mpsc::Sender<Recording>,
    told: mpsc::Sender<HandedOff>,
}

impl Worker {
    /// Makes a worker; nothing runs yet.
    #[must_use]
    pub fn new(config: Config, deps: Deps) -> Self {
        let config = Arc::new(config);
        let tenants = Arc::new(Tenants::new(deps.clone()));
        let (notices, noticed) = Notices::new();
        Self {
            engine: Engine::new(config.engine),
            attempts: Attempts {
                sender: deps.sender.clone(),
                clock: deps.clock.clone(),
                rng: deps.rng.clone(),
                user_agent: config.user_agent.clone(),
            },
            looks: LookQueue::new(Looks {
                deps: deps.clone(),
                config: config.clone(),
                tenants: tenants.clone(),
                notices: notices.clone(),
            }),
            tenants,
            config,
            deps,
            targets: HashMap::new(),
            served: BTreeMap::new(),
            tenant_of: HashMap::new(),
            attempts_running: JoinSet::new(),
            epochs: BTreeMap::new(),
            leases: BTreeMap::new(),
            writes_waiting: VecDeque::new(),
            handed_off: HandedOff::default(),
            tell_due: None,
            due_had_turn: false,
            leaving: BTreeMap::new(),
            commands_seen: Seen::default(),
            former: Former::default(),
            given_up: BTreeSet::new(),
            owned: watch::Sender::new(BTreeSet::new()),
            egress_degraded: watch::Sender::new(false),
            poison: PoisonWatch::default(),
            progress: Follower::default(),
            notices,
            noticed: Some(noticed),
        }
    }

    /// Delivers until `shutdown`, then lets what is in flight finish, saves and returns.
    ///
    /// # Errors
    /// When one of its own tasks ended early.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), WorkerError> {
        let (log_tx, log) = mpsc::channel(READER_CHANNEL);
        let (input_tx, inputs) = mpsc::channel(INPUT_CHANNEL);
        let (writes, writes_rx) = mpsc::channel(WRITES_CHANNEL);
        let (told, told_rx) = mpsc::channel(1);
        let tenants = self.tenants.clone();
        let config = Config::clone(&self.config);
        let mut tasks: JoinSet<&'static str> = JoinSet::new();
        let reader = Reader {
            deps: self.deps.clone(),
            config: config.clone(),
            tenants: tenants.clone(),
            poison: self.poison.clone(),
            former: self.former.clone(),
            progress: self.progress.clone(),
            recent: Recent::default(),
        };
        let stop = shutdown.clone();
        tasks.spawn(async move {
            reader.run(log_tx, told_rx, stop).await;
            "reader"
        });
        let recording = recorder::record(self.deps.clone(), writes_rx, input_tx.clone());
        tasks.spawn(async move {
            recording.await;
            "recorder"
        });
        let fresh = keep_fresh(tenants.clone(), config.clone(), input_tx.clone(), shutdown.clone());
        tasks.spawn(async move {
            fresh.await;
            "tenants"
        });
        let (follower, stalled_after) = (self.progress.clone(), config.stalled_after);
        let watching =
            progress::watch(follower, self.deps.clone(), stalled_after, shutdown.clone());
        tasks.spawn(async move {
            watching.await;
            "progress"
        });
        if let Some(noticed) = self.noticed.take() {
            let (deps, api_version) = (self.deps.clone(), config.api_version.clone());
            let teller = Teller { deps, tenants: tenants.clone(), api_version };
            let telling = notices::tell(teller, noticed, shutdown.clone());
            tasks.spawn(async move {
                telling.await;
                "notices"
            });
        }
        let owned = self.owned.subscribe();
        let bringing =
            inbox::bring(self.deps.clone(), config, tenants, owned, input_tx, shutdown.clone());
        tasks.spawn(async move {
            bringing.await;
            "inbox"
        });
        let mut channels = Channels { log, inputs, writes, told };
        let result = self.work(&mut channels, &mut tasks, &shutdown).await;
        self.drain(&mut channels).await;
        drop(channels);
        self.join(tasks).await;
        result
    }

    /// The loop: one input, then everything that the engine wants for it.
    async fn work(
        &mut self,
        channels: &mut Channels,
        tasks: &mut JoinSet<&'static str>,
        shutdown: &Shutdown,
    ) -> Result<(), WorkerError> {
        loop {
            if !self.engine.intake_open() {
                self.give_up_what_ended();
            }
            self.carry_out(channels);
            // In a fixed order, so that a history replays. What is under way comes before what is new: it is bounded, and without new records it runs dry.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = tasks.join_next() => {
                    if shutdown.is_cancelled() { return Ok(()) }
                    return Err(WorkerError::TaskEnded(ended.unwrap_or("that panicked")));
                }
                place = channels.writes.reserve(), if !self.writes_waiting.is_empty() => {
                    if let (Ok(place), Some(write)) = (place, self.writes_waiting.pop_front()) {
                        place.send(write);
                    }
                }
                () = self.step(&mut channels.inputs) => {}
                Some(item) = channels.log.recv(), if self.engine.intake_open() => self.take_log(item),
            }
        }
    }

    /// Waits for one thing other than the log and takes it. Cancel safe: nothing is taken before it is handled.
    async fn step(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        let wake = self.wake_time();
        let clock = self.deps.clock.clone();
        // What is due has every second turn: outcomes that keep coming do not put it off, and it does not keep them out.
        let is_due = wake.is_some_and(|at| at <= clock.now());
        self.due_had_turn = is_due && !self.due_had_turn;
        if self.due_had_turn {
            return self.take_time();
        }
        let timer = async move {
            match wake {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // Answers of the store before outcomes: outcomes end once too many are not written.
        tokio::select! {
            biased;
            Some(input) = inputs.recv() => self.take_input(input),
            (owner, input) = self.looks.next() => {
                if self.still_owns(owner) {
                    self.take_input(input);
                }
            }
            Some(ended) = self.attempts_running.join_next(), if !self.attempts_running.is_empty() => {
                self.take_attempt(ended);
                // Outcomes come in bursts: take what is there before effects are carried out.
                while let Some(ended) = self.attempts_running.try_join_next() {
                    self.take_attempt(ended);
                }
            }
            () = timer => self.take_time(),
        }
    }

    fn wake_time(&self) -> Option<Timestamp> {
        match (self.engine.poll_timeout(), self.tell_due) {
            (Some(engine), Some(tell)) => Some(engine.min(tell)),
            (engine, tell) => engine.or(tell),
        }
    }

    fn take_time(&mut self) {
        let now = self.deps.clock.now();
        self.engine.handle_timeout(now);
    }

    /// Carries out the engine's effects, and hands over what waits for a place.
    fn carry_out(&mut self, channels: &mut Channels) {
        self.tell_egress();
        self.release_left();
        while let Some(effect) = self.engine.poll_effect() {
            self.deps.metrics.note(&effect);
            self.carry_out_one(effect);
        }
        self.deps.metrics.under_way(&self.engine);
        while let Some(write) = self.writes_waiting.pop_front() {
            if let Err(
                mpsc::error::TrySendError::Full(write) | mpsc::error::TrySendError::Closed(write),
            ) = channels.writes.try_send(write)
            {
                self.writes_waiting.push_front(write);
                break;
            }
        }
        self.looks.start();
        if self.tell_due.is_some_and(|due| due <= self.deps.clock.now()) {
            self.tell_log(&channels.told);
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match Look::from_effect(effect, |uid| self.tenant_of.get(&uid).cloned()) {
            Ok(look) => {
                if let Some(look) = look {
                    let shard = look.shard();
                    let owner = shard.and_then(|shard| Some((shard, *self.epochs.get(&shard)?)));
                    self.looks.push(owner, look);
                }
            }
            Err(Effect::Attempt(start)) => {
                let token = start.token;
                let Some(target) = self.targets.get(&start.endpoint).cloned() else {
                    // The endpoint was deleted between the decision and the request.
                    return self.engine.handle_abandoned(token);
                };
                let Some(lease) = self.leases.get(&start.shard).cloned() else {
                    return self.engine.handle_abandoned(token);
                };
                let attempts = self.attempts.clone();
                self.attempts_running
                    .spawn(async move { (token, attempts.make(start, target, lease).await) });
            }
            Err(Effect::Observe(observation)) => self.deps.observations.tell(*observation),
            Err(Effect::Write(write)) => {
                self.tell_letters(&write);
                let lease = write.shard.and_then(|shard| self.leases.get(&shard).cloned());
                self.writes_waiting.push_back(Recording { write, lease });
            }
            Err(Effect::Ack { shard, epoch, upto }) => {
                self.handed_off.acks.insert(shard, (epoch, upto));
                if self.tell_due.is_none() {
                    self.tell_due = Some(self.deps.clock.now() + ACK_INTERVAL);
                }
            }
            Err(
                Effect::ReadBacklog { .. }
                | Effect::ReadLine { .. }
                | Effect::Load { .. }
                | Effect::Scan { .. }
                | Effect::SetState { .. },
            ) => {}
        }
    }

    fn still_owns(&self, owner: LookOwner) -> bool {
        owner.is_none_or(|(shard, epoch)| {
            self.epochs.get(&shard) == Some(&epoch) && !self.leaving.contains_key(&shard)
        })
    }

    fn tell_log(&mut self, told: &mpsc::Sender<HandedOff>) {
        match told.try_reserve() {
            Ok(place) => {
                place.send(std::mem::take(&mut self.handed_off));
                self.tell_due = None;
            }
            // The log is slow with the last ones; the newest positions go with the next try.
            Err(_) => self.tell_due = Some(self.deps.clock.now() + ACK_INTERVAL),
        }
    }

    /// Waits for the tasks: the reader saves the last positions. A store that does not answer is not waited for.
    async fn join(&self, mut tasks: JoinSet<&'static str>) {
        let all = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = all => {}
            () = self.deps.clock.sleep(LAST_WORDS) => {
                tracing::warn!("the store or the log did not answer in time at the end; what was not saved is looked up after the start");
            }
        }
    }

    /// Stops starting, lets what is in flight finish until the deadline, then saves positions.
    async fn drain(&mut self, channels: &mut Channels) {
        self.engine.stop();
        let deadline = self.deps.clock.now() + self.config.drain;
        let clock = self.deps.clock.clone();
        loop {
            self.carry_out(channels);
            let busy = self.engine.in_flight() > 0 || self.engine.writes_pending() > 0;
            if !busy || self.deps.clock.now() >= deadline {
                break;
            }
            tokio::select! {
                biased;
                () = clock.sleep_until(deadline) => {}
                place = channels.writes.reserve(), if !self.writes_waiting.is_empty() => {
                    if let (Ok(place), Some(write)) = (place, self.writes_waiting.pop_front()) {
                        place.send(write);
                    }
                }
                () = self.step(&mut channels.inputs) => {}
            }
        }
        if self.engine.in_flight() > 0 {
            tracing::warn!(
                in_flight = self.engine.in_flight(),
                "requests were still in flight at the drain deadline; they are looked up and, where no success is recorded, sent again after the start",
            );
        }
        let handed_off = std::mem::take(&mut self.handed_off);
        if !handed_off.is_empty() {
            // A reader that has gone or waits for the store has nothing to lose: what is not acked is looked up after the start.
            tokio::select! {
                biased;
                _ = channels.told.send(handed_off) => {}
                () = clock.sleep(LAST_WORDS) => {}
            }
        }
    }

    fn jitter(&self) -> Jitter {
        Jitter(self.deps.rng.next_u64())
    }
}
