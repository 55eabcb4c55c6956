//! Workers in threads of their own around one keyspace.

use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use delivery_worker::{Config, Deps, Metrics, Worker};
use domain::record::encode;
use domain::{
    ApiVersion, ContentType, DeliveryPolicy, Endpoint, EndpointId, EndpointState, EndpointUid,
    Event, EventId, EventPattern, EventType, RetrySchedule, Revision, SealedSecret, Subscription,
    SubscriptionId, TenantId,
};
use ports::{
    Applied, Clock as _, EndpointConfig, EventLog as _, Expect, KeyProvider as _, Stores, Tenant,
};
use runtime::{Shutdown, SystemClock, SystemRng};
use store_scylla::{Scylla, Store};
use testkit::{MemoryFeed, MemoryLog, MemoryObservations, PlainKeys};
use tokio::sync::{Notify, watch};

use crate::held_log::HeldLog;
use crate::keyspace::Keyspace;
use crate::receivers::{Ledger, Line};

/// How long a test waits for something that happens soon: a bound on hanging, not an assertion.
const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const SHARDS: u16 = 2;

pub(crate) struct World {
    pub(crate) keyspace: Keyspace,
    pub(crate) log: MemoryLog,
    pub(crate) feed: Arc<MemoryFeed>,
    observations: Arc<MemoryObservations>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) keys: Arc<PlainKeys>,
    /// The test's own connection.
    pub(crate) store: Arc<Store>,
    /// How long receivers take.
    pub(crate) work: Duration,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::parse("acme").expect("valid")
}

pub(crate) fn uid(number: u128) -> EndpointUid {
    EndpointUid::from_uuid(uuid::Uuid::from_u128(number))
}

pub(crate) fn url(name: &str) -> String {
    format!("https://{name}.example/hook")
}

impl World {
    /// A keyspace with a tenant and an endpoint for each name, in the order of their numbers from 1.
    pub(crate) async fn new(node: &str, endpoints: &[&str], work: Duration) -> Self {
        let keyspace = Keyspace::make(node).await;
        let clock = Arc::new(SystemClock::new());
        let store = keyspace.connect(clock.clone()).await.store();
        let world = Self {
            keyspace,
            log: MemoryLog::new(SHARDS, clock),
            feed: Arc::default(),
            observations: Arc::default(),
            ledger: Arc::default(),
            keys: Arc::default(),
            store,
            work,
        };
        let stores = world.stores();
        let now = SystemClock::new().now();
        let made = Tenant { id: tenant(), display_name: String::new(), create_time: now };
        stores.config.create_tenant(&made).await.expect("a tenant");
        for (number, name) in (1..).zip(endpoints) {
            world.endpoint(name, number).await;
        }
        world
    }

    pub(crate) fn stores(&self) -> Stores {
        Stores::of(&self.store)
    }

    async fn endpoint(&self, name: &str, number: u128) {
        let now = SystemClock::new().now();
        let id = EndpointId::parse(name).expect("valid");
        let steps = vec![Duration::from_millis(200); 20];
        let policy = DeliveryPolicy {
            retry_schedule: RetrySchedule::new(steps).expect("valid"),
            ..DeliveryPolicy::default()
        };
        let endpoint = Endpoint {
            tenant: tenant(),
            id: id.clone(),
            uid: uid(number),
            display_name: String::new(),
            description: String::new(),
            url: url(name),
            headers: [].into(),
            state: EndpointState::Active,
            state_time: now,
            policy,
            labels: [].into(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        };
        let context = format!("{}/{}/secret/1", tenant(), uid(number));
        let secret = signing::Secret::generate();
        let sealed = self.keys.seal(secret.expose().as_bytes(), &context).await.expect("sealed");
        let secret = SealedSecret { version: 1, create_time: now, not_after: None, sealed };
        let subscription = Subscription {
            tenant: tenant(),
            endpoint: id,
            id: SubscriptionId::parse("all").expect("valid"),
            event_types: vec![EventPattern::All],
            filter: String::new(),
            channels: Vec::new(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        };
        let config = EndpointConfig { endpoint, secrets: vec![secret] };
        let put = self.stores().config.put_endpoint(&config, &[subscription], Expect::Absent).await;
        assert!(matches!(put, Ok(Applied::Done(_))), "{put:?}");
    }

    /// Publishes `count` events; their ids.
    pub(crate) async fn publish(&self, prefix: &str, count: usize) -> Vec<String> {
        let ids: Vec<String> = (0..count).map(|n| format!("{prefix}-{n}")).collect();
        let data = bytes::Bytes::from(format!("{{\"order\":\"{}\"}}", "x".repeat(900)));
        for chunk in ids.chunks(500) {
            let record = |id: &String| {
                encode(&Event {
                    tenant: tenant(),
                    id: EventId::parse(id).expect("valid"),
                    event_type: EventType::parse("payment.completed").expect("valid"),
                    created_at: SystemClock::new().now(),
                    api_version: ApiVersion::parse("2026-01-01").expect("valid"),
                    content_type: ContentType::json(),
                    data: data.clone(),
                    ordering_key: None,
                    idempotency_key: None,
                    channels: Vec::new(),
                    deliver_at: None,
                    revision: None,
                    traceparent: None,
                })
            };
            for appended in self.log.append(chunk.iter().map(record).collect()).await {
                appended.expect("appended");
            }
        }
        ids
    }

    /// Starts a worker, and waits until it runs.
    pub(crate) fn worker(&self, name: &'static str) -> Node {
        let freezer = Arc::new(Freezer::default());
        let shutdown = Shutdown::new();
        let (tell, started) = mpsc::sync_channel(1);
        let settings = self.keyspace.settings.clone();
        let (log, feed, keys) = (self.log.clone(), self.feed.clone(), self.keys.clone());
        let observations = self.observations.clone();
        let line = Line { worker: name, ledger: self.ledger.clone(), work: self.work };
        let (frozen, stop) = (freezer.clone(), shutdown.clone());
        let (hold, held) = watch::channel(false);
        let (assigned, shards) = watch::channel(0);
        let log = HeldLog { log, held, assigned };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let clock = Arc::new(SystemClock::new());
                let scylla = Scylla::connect(&settings, clock.clone()).await.expect("connect");
                let stores = Stores::of(&scylla.store());
                let deps = Deps {
                    log: Arc::new(log),
                    events: stores.events,
                    backlog: stores.backlog,
                    lanes: stores.lanes,
                    lines: stores.lines,
                    dead_letters: stores.dead_letters,
                    inbox: stores.inbox,
                    idempotency: stores.idempotency,
                    config: stores.config,
                    feed,
                    observations,
                    keys,
                    sender: Arc::new(line),
                    clock,
                    rng: Arc::new(SystemRng::new()),
                    metrics: Metrics::default(),
                };
                let worker = Worker::new(Config::default(), deps);
                tell.send(scylla.store()).expect("the test waits");
                tokio::select! {
                    ended = Box::pin(worker.run(stop)) => ended.expect("no task ended early"),
                    () = frozen.freeze_when_told() => {}
                }
            });
        });
        let thread = thread.expect("a thread");
        let store = started.recv_timeout(PATIENCE).expect("the worker starts");
        Node { freezer, shutdown, hold, shards, store, thread: Some(thread) }
    }

    /// Waits until a condition holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let clock = SystemClock::new();
        let end = clock.monotonic() + PATIENCE;
        while !holds().await {
            assert!(clock.monotonic() < end, "{what}: not within {PATIENCE:?}");
            clock.sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A worker in a thread of its own.
pub(crate) struct Node {
    freezer: Arc<Freezer>,
    shutdown: Shutdown,
    hold: watch::Sender<bool>,
    shards: watch::Receiver<u16>,
    pub(crate) store: Arc<Store>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Stops all of it in its tracks, as SIGSTOP does: tasks, timers, connections. Returns once it stands still.
    pub(crate) fn suspend(&self) {
        self.freezer.set(true);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.freezer.set(false);
    }

    /// Whether the group cannot reach it: it hears of no record and of no loss.
    pub(crate) fn cut_off(&self, is_cut_off: bool) {
        self.hold.send_replace(is_cut_off);
    }

    /// Waits until it has been assigned every shard: what is published from now on is new to it.
    pub(crate) async fn owns_all_shards(&mut self) {
        let all = self.shards.wait_for(|count| *count == SHARDS);
        tokio::time::timeout(PATIENCE, all).await.expect("in time").expect("the worker runs");
    }

    /// Ends it as SIGTERM does, and waits.
    pub(crate) fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the worker did not panic");
        }
    }
}

/// Holds a single-threaded runtime still from within.
#[derive(Default)]
struct Freezer {
    state: Mutex<Frozen>,
    changed: Condvar,
    told: Notify,
}

#[derive(Default)]
struct Frozen {
    wanted: bool,
    stands: bool,
}

impl Freezer {
    async fn freeze_when_told(&self) {
        loop {
            self.told.notified().await;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.wanted {
                state.stands = true;
                self.changed.notify_all();
                // Blocks the only thread of the runtime: that is what it is for.
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.stands = false;
        }
    }

    fn set(&self, frozen: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wanted = frozen;
        self.changed.notify_all();
        self.told.notify_one();
        while frozen && !state.stands {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
