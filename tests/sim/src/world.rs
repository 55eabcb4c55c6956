//! The world of one history: ports in memory, a clock that is moved by hand, and workers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery::EngineConfig;
use delivery_worker::{Config, Deps, Metrics, Worker, WorkerError};
use domain::{
    Endpoint, EndpointId, EndpointState, EndpointUid, Revision, SealedSecret, Shard, Subscription,
    SubscriptionId, TenantId, Timestamp,
};
use ports::{
    Applied, Clock as _, ConfigStore as _, EndpointConfig, EventLog as _, Expect, KeyProvider as _,
    Tenant,
};
use runtime::Shutdown;
use signing::Secret;
use testkit::{
    MemoryFeed, MemoryLog, MemoryObservations, MemoryStore, PlainKeys, SeededRng, SimClock,
};
use tokio::task::{AbortHandle, JoinSet};

use crate::chance::Chance;
use crate::faults::Faults;
use crate::journal::{Journal, What};
use crate::log::{SimFeed, SimLog};
use crate::plan::{EndpointPlan, Plan};
use crate::receivers::{Receivers, SimSender};
use crate::sabotage::Sabotage;
use crate::store::SimStore;

/// Turns of the driver without an entry in the journal, after which nothing is left to do at one moment. In one turn every task that can go on does (the
/// runtime is built for that); the others are for tasks that give way to their like.
const TURNS: usize = 2;

pub(crate) struct World {
    pub(crate) clock: SimClock,
    pub(crate) journal: Journal,
    pub(crate) log: MemoryLog,
    pub(crate) memory: MemoryStore,
    pub(crate) feed: Arc<SimFeed>,
    pub(crate) faults: Faults,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) endpoints: Vec<Known>,
    /// What people, publishers and misfortune choose.
    pub(crate) chance: Chance,
    pub(crate) config: Config,
    store: SimStore,
    keys: Arc<PlainKeys>,
    sabotage: Sabotage,
    seed: u64,
    workers: JoinSet<(usize, Result<(), WorkerError>)>,
    running: Vec<Running>,
    started: usize,
}

/// An endpoint of the plan, as it was made.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) uid: EndpointUid,
    pub(crate) id: EndpointId,
    pub(crate) url: String,
    pub(crate) plan: EndpointPlan,
    pub(crate) is_deleted: bool,
}

struct Running {
    number: usize,
    abort: AbortHandle,
    shutdown: Shutdown,
}

/// The tenant of every history.
pub(crate) fn tenant() -> TenantId {
    TenantId::parse("acme").expect("a tenant id")
}

impl World {
    /// The tenant with its endpoints, and no worker yet.
    pub(crate) async fn new(plan: &Plan, sabotage: Sabotage) -> Self {
        let (clock, journal) = (SimClock::default(), Journal::default());
        let (seed, setup) = (plan.seed, plan.setup);
        let shared = Arc::new(clock.clone());
        let memory = MemoryStore::new(shared.clone());
        let log = MemoryLog::new(setup.shards, shared);
        if setup.asks {
            log.ask_before_taking();
        }
        let faults = Faults::new(seed, setup, clock.clone(), journal.clone());
        let store = SimStore {
            memory: memory.clone(),
            faults: faults.clone(),
            journal: journal.clone(),
            clock: clock.clone(),
            sabotage,
            landing: Arc::new(Mutex::new(JoinSet::new())),
            rows_seen: Arc::default(),
        };
        let engine = EngineConfig {
            in_flight_max: setup.in_flight,
            span_records_max: setup.span_records,
            ..EngineConfig::default()
        };
        let mut world = Self {
            receivers: Arc::new(Receivers::new(seed, clock.clone(), journal.clone(), sabotage)),
            feed: Arc::new(SimFeed { memory: MemoryFeed::new(), faults: faults.clone() }),
            chance: Chance::new(seed, "world"),
            config: Config { engine, inbox_poll: setup.inbox_poll, ..Config::default() },
            keys: Arc::default(),
            endpoints: Vec::new(),
            workers: JoinSet::new(),
            running: Vec::new(),
            started: 0,
            clock,
            journal,
            log,
            memory,
            faults,
            store,
            sabotage,
            seed,
        };
        world.make_tenant().await;
        for (number, endpoint) in plan.endpoints.iter().enumerate() {
            world.make_endpoint(number, endpoint).await;
        }
        world
    }

    async fn make_tenant(&self) {
        let create_time = self.clock.now();
        let row = Tenant { id: tenant(), display_name: String::new(), create_time };
        self.memory.create_tenant(&row).await.expect("the memory store takes a tenant");
    }

    async fn make_endpoint(&mut self, number: usize, plan: &EndpointPlan) {
        let id = EndpointId::parse(&format!("e{number}")).expect("an endpoint id");
        let uid = EndpointUid::from_uuid(uuid::Uuid::from_u128(self.chance.bits()));
        let url = format!("https://{id}.example/hook");
        let secret = self.secret();
        let config = EndpointConfig {
            endpoint: self.endpoint(&id, uid, &url, plan),
            secrets: vec![self.seal(&secret, uid).await],
        };
        let subscription = subscription(&id, plan, self.clock.now());
        let made = self.memory.put_endpoint(&config, &[subscription], Expect::Absent).await;
        assert!(matches!(made, Ok(Applied::Done(_))), "the memory store takes an endpoint");
        self.receivers.add(url.clone(), uid, secret, plan.behaviour);
        self.endpoints.push(Known { uid, id, url, plan: plan.clone(), is_deleted: false });
    }

    fn endpoint(
        &self,
        id: &EndpointId,
        uid: EndpointUid,
        url: &str,
        plan: &EndpointPlan,
    ) -> Endpoint {
        let now = self.clock.now();
        Endpoint {
            tenant: tenant(),
            id: id.clone(),
            uid,
            display_name: String::new(),
            description: String::new(),
            url: url.to_owned(),
            headers: [].into(),
            state: EndpointState::Active,
            state_time: now,
            policy: self.sabotage.policy(&plan.policy),
            labels: [].into(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        }
    }

    fn secret(&self) -> Secret {
        let (one, two) = (self.chance.bits().to_be_bytes(), self.chance.bits().to_be_bytes());
        let text = format!("whsec_{}", STANDARD.encode([one, two].concat()));
        Secret::parse(&text).expect("32 bytes are a secret")
    }

    async fn seal(&self, secret: &Secret, uid: EndpointUid) -> SealedSecret {
        let context = format!("{}/{uid}/secret/1", tenant());
        let sealed = self.keys.seal(secret.expose().as_bytes(), &context).await;
        SealedSecret {
            version: 1,
            create_time: self.clock.now(),
            not_after: None,
            sealed: sealed.expect("plain keys seal everything"),
        }
    }

    fn deps(&self, worker: usize) -> Deps {
        let store = Arc::new(self.store.clone());
        let stream = self.seed.wrapping_mul(31).wrapping_add(u64::try_from(worker).unwrap_or(0));
        Deps {
            log: Arc::new(SimLog {
                memory: self.log.clone(),
                worker,
                faults: self.faults.clone(),
                journal: self.journal.clone(),
                clock: self.clock.clone(),
                sabotage: self.sabotage,
            }),
            events: store.clone(),
            backlog: store.clone(),
            lanes: store.clone(),
            lines: store.clone(),
            dead_letters: store.clone(),
            inbox: store.clone(),
            idempotency: store.clone(),
            config: store,
            feed: self.feed.clone(),
            observations: Arc::new(MemoryObservations::default()),
            keys: self.keys.clone(),
            sender: Arc::new(SimSender::new(self.receivers.clone(), worker)),
            clock: Arc::new(self.clock.clone()),
            rng: Arc::new(SeededRng::new(stream)),
            metrics: Metrics::default(),
        }
    }

    /// Workers that run and were not asked to stop.
    pub(crate) fn workers_running(&self) -> usize {
        self.running.len()
    }

    /// Starts one more worker.
    pub(crate) async fn start(&mut self) {
        let number = self.started;
        self.started += 1;
        let shutdown = Shutdown::new();
        let worker = Worker::new(self.config.clone(), self.deps(number));
        let stop = shutdown.clone();
        let running = Box::pin(async move { (number, worker.run(stop).await) });
        let abort = self.workers.spawn(running);
        self.running.push(Running { number, abort, shutdown });
        self.settle().await;
    }

    /// Ends a worker that runs as SIGKILL does; says which.
    pub(crate) async fn crash(&mut self) -> Option<usize> {
        let running = self.take_running()?;
        running.abort.abort();
        self.settle().await;
        Some(running.number)
    }

    /// Asks a worker that runs to stop; says which.
    pub(crate) async fn stop(&mut self) -> Option<usize> {
        let running = self.take_running()?;
        running.shutdown.cancel();
        self.settle().await;
        Some(running.number)
    }

    fn take_running(&mut self) -> Option<Running> {
        let count = u64::try_from(self.running.len()).ok().filter(|count| *count > 0)?;
        let index = usize::try_from(self.chance.below(count)).ok()?;
        Some(self.running.remove(index))
    }

    /// Lets every task do what it can without the clock.
    pub(crate) async fn settle(&mut self) {
        loop {
            let before = self.journal.len();
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            if self.journal.len() == before {
                break;
            }
        }
        while let Some(ended) = self.workers.try_join_next() {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((number, Err(error))) => self.note_error(&format!("worker {number}: {error}")),
                Err(error) if error.is_cancelled() => {}
                Err(error) => self.note_error(&format!("a worker panicked: {error}")),
            }
        }
    }

    fn note_error(&self, error: &str) {
        self.journal.note(self.clock.now(), What::Error(error.to_owned()));
    }

    /// Lets so much time pass, from sleeper to sleeper.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        self.settle().await;
        while let Some(next) = self.clock.next_wake().filter(|next| *next <= end) {
            self.clock.advance_to(next);
            self.settle().await;
        }
        self.clock.advance_to(end);
        self.settle().await;
    }

    /// Every shard of the log.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        (0..self.shard_count()).map(Shard).collect()
    }

    fn shard_count(&self) -> u16 {
        self.log.shards().appended()
    }
}

fn subscription(id: &EndpointId, plan: &EndpointPlan, now: Timestamp) -> Subscription {
    Subscription {
        tenant: tenant(),
        endpoint: id.clone(),
        id: SubscriptionId::parse("wanted").expect("a subscription id"),
        event_types: plan.patterns.clone(),
        filter: String::new(),
        channels: Vec::new(),
        create_time: now,
        update_time: now,
        revision: Revision(0),
    }
}
