//! A worker with in-memory ports around it, and a hand on the clock.

use std::sync::Arc;
use std::time::Duration;

use domain::record::encode;
use domain::{
    ApiVersion, Attempt, Command, CommandId, CommandKind, ContentType, DeliveryPolicy, Endpoint,
    EndpointId, EndpointState, EndpointUid, Event, EventId, EventPattern, EventType, Fact,
    FactKind, LogPosition, Position, Revision, SealedSecret, Shard, Subscription, SubscriptionId,
    TenantId, Timestamp,
};
use ports::{
    Applied, Clock as _, ConfigFeed as _, ConfigStore as _, EndpointConfig, EventLog as _, Expect,
    Hint, InboxStore as _, KeyProvider as _, Tenant,
};
use postrider_delivery_worker::{Config, Deps, Metrics, Worker, WorkerError};
use runtime::Shutdown;
use signing::Secret;
use testkit::{
    MemoryFeed, MemoryLog, MemoryObservations, MemoryStore, ScriptedSender, SeededRng, SimClock,
};
use tokio::task::JoinSet;

use crate::hooked::Hooked;
use crate::lost_keys::LosableKeys;

pub(crate) const SHARDS: u16 = 2;
/// More than any chain of tasks between an input and its last effect is long.
const SETTLE_YIELDS: usize = 100;

pub(crate) struct World {
    pub(crate) clock: SimClock,
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryStore,
    /// The store as the worker sees it.
    pub(crate) hooked: Hooked,
    pub(crate) feed: Arc<MemoryFeed>,
    pub(crate) observations: Arc<MemoryObservations>,
    pub(crate) sender: Arc<ScriptedSender>,
    pub(crate) config: Config,
    pub(crate) shutdown: Shutdown,
    pub(crate) workers: JoinSet<Result<(), WorkerError>>,
    pub(crate) keys: Arc<LosableKeys>,
    rng: Arc<SeededRng>,
    commands: u128,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::parse("acme").expect("a tenant id")
}

pub(crate) fn url(endpoint: &str) -> String {
    format!("https://{endpoint}.example/hook")
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn endpoint_id(name: &str) -> EndpointId {
    EndpointId::parse(name).expect("an endpoint id")
}

pub(crate) fn uid(number: u128) -> EndpointUid {
    EndpointUid::from_uuid(uuid::Uuid::from_u128(number))
}

impl World {
    /// A tenant, and no worker yet.
    pub(crate) async fn new() -> Self {
        let clock = SimClock::default();
        let shared = Arc::new(clock.clone());
        let store = MemoryStore::new(shared.clone());
        let tenant = Tenant { id: tenant(), display_name: String::new(), create_time: clock.now() };
        store.create_tenant(&tenant).await.expect("a tenant");
        Self {
            log: MemoryLog::new(SHARDS, shared.clone()),
            hooked: Hooked::new(store.clone()),
            store,
            feed: Arc::new(MemoryFeed::new()),
            observations: Arc::default(),
            sender: Arc::new(ScriptedSender::new(shared)),
            config: Config::default(),
            shutdown: Shutdown::new(),
            workers: JoinSet::new(),
            keys: Arc::default(),
            rng: Arc::new(SeededRng::new(1)),
            commands: 0,
            clock,
        }
    }

    pub(crate) fn deps(&self) -> Deps {
        let store = Arc::new(self.store.clone());
        let mut deps = Deps {
            log: Arc::new(self.log.clone()),
            events: store.clone(),
            backlog: store.clone(),
            lanes: store.clone(),
            lines: store.clone(),
            dead_letters: store.clone(),
            inbox: store.clone(),
            idempotency: store.clone(),
            config: store,
            feed: self.feed.clone(),
            observations: self.observations.clone(),
            keys: self.keys.clone(),
            sender: self.sender.clone(),
            clock: Arc::new(self.clock.clone()),
            rng: self.rng.clone(),
            metrics: Metrics::default(),
        };
        self.hooked.put_into(&mut deps);
        deps
    }

    /// Starts a worker, and waits until it has taken its shards.
    pub(crate) async fn start(&mut self) {
        self.shutdown = Shutdown::new();
        let worker = Worker::new(self.config.clone(), self.deps());
        self.workers.spawn(Box::pin(worker.run(self.shutdown.clone())));
        self.settle().await;
    }

    /// Ends the worker as SIGKILL does.
    pub(crate) async fn kill(&mut self) {
        self.workers.shutdown().await;
        self.settle().await;
    }

    /// Lets every task do what it can without the clock.
    pub(crate) async fn settle(&self) {
        for _ in 0..SETTLE_YIELDS {
            tokio::task::yield_now().await;
        }
    }

    /// Lets so much time pass, from sleeper to sleeper.
    pub(crate) async fn pass(&self, time: Duration) {
        let end = self.clock.now() + time;
        self.settle().await;
        while let Some(next) = self.clock.next_wake().filter(|next| *next <= end) {
            self.clock.advance_to(next);
            self.settle().await;
        }
        self.clock.advance_to(end);
        self.settle().await;
    }

    /// Asks for the shutdown and lets so much time pass; what the worker said at its end, if it has ended.
    pub(crate) async fn stop(&mut self, within: Duration) -> Option<Result<(), WorkerError>> {
        self.shutdown.cancel();
        self.pass(within).await;
        let ended = self.workers.try_join_next()?;
        Some(ended.expect("the worker did not panic"))
    }

    /// An endpoint as it is put: `*`, the default policy, one secret.
    pub(crate) async fn draft(&self, name: &str, number: u128) -> (EndpointConfig, Secret) {
        let now = self.clock.now();
        let endpoint = Endpoint {
            tenant: tenant(),
            id: endpoint_id(name),
            uid: uid(number),
            display_name: String::new(),
            description: String::new(),
            url: url(name),
            headers: [].into(),
            state: EndpointState::Active,
            state_time: now,
            policy: DeliveryPolicy::default(),
            labels: [].into(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        };
        let secret = Secret::generate();
        let sealed = self.seal(&secret, number, 1).await;
        (EndpointConfig { endpoint, secrets: vec![sealed] }, secret)
    }

    pub(crate) async fn seal(&self, secret: &Secret, number: u128, version: u32) -> SealedSecret {
        let context = format!("{}/{}/secret/{version}", tenant(), uid(number));
        let sealed = self.keys.seal(secret.expose().as_bytes(), &context).await;
        SealedSecret {
            version,
            create_time: self.clock.now(),
            not_after: None,
            sealed: sealed.expect("sealed"),
        }
    }

    /// Creates or replaces an endpoint that wants every event. Nobody is told.
    pub(crate) async fn put(&self, config: &EndpointConfig, expect: Expect) -> Revision {
        let now = self.clock.now();
        let subscription = Subscription {
            tenant: tenant(),
            endpoint: config.endpoint.id.clone(),
            id: SubscriptionId::parse("all").expect("a subscription id"),
            event_types: vec![EventPattern::All],
            filter: String::new(),
            channels: Vec::new(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        };
        match self.store.put_endpoint(config, &[subscription], expect).await {
            Ok(Applied::Done(revision)) => revision,
            other => panic!("the endpoint was not put: {other:?}"),
        }
    }

    /// Creates an endpoint that wants every event.
    pub(crate) async fn endpoint(&self, name: &str, number: u128) -> Secret {
        let (config, secret) = self.draft(name, number).await;
        let revision = self.put(&config, Expect::Absent).await;
        self.hint(revision).await;
        secret
    }

    pub(crate) async fn delete(&self, name: &str) {
        let (tenant, id) = (tenant(), endpoint_id(name));
        match self.store.delete_endpoint(&tenant, &id, Expect::Present).await {
            Ok(Applied::Done(revision)) => self.hint(revision).await,
            other => panic!("the endpoint was not deleted: {other:?}"),
        }
        self.settle().await;
    }

    pub(crate) async fn hint(&self, revision: Revision) {
        self.feed.hint(Hint::Tenant(tenant(), revision)).await.expect("a hint");
    }

    pub(crate) fn event(&self, id: &str) -> Event {
        Event {
            tenant: tenant(),
            id: EventId::parse(id).expect("an event id"),
            event_type: EventType::parse("payment.completed").expect("a type"),
            created_at: self.clock.now(),
            api_version: ApiVersion::parse("2026-01-01").expect("a version"),
            content_type: ContentType::json(),
            data: format!("{{\"name\":\"{id}\"}}").into(),
            ordering_key: None,
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        }
    }

    /// Publishes as the API does: with the tenant's revision. Returns where the event lies.
    pub(crate) async fn publish(&self, id: &str) -> LogPosition {
        let revision = self.store.revision(&tenant()).await.expect("a revision");
        self.append(&Event { revision, ..self.event(id) }).await
    }

    pub(crate) async fn append(&self, event: &Event) -> LogPosition {
        let mut appended = self.log.append(vec![encode(event)]).await;
        let at = appended.pop().expect("one answer").expect("durable").at;
        self.settle().await;
        at
    }

    /// Sends a command, and hints.
    pub(crate) async fn command(&mut self, endpoint: u128, shard: Shard, kind: CommandKind) {
        self.commands += 1;
        let command = Command {
            id: CommandId(uuid::Uuid::from_u128(self.commands)),
            shard,
            time: self.clock.now(),
            tenant: tenant(),
            endpoint: uid(endpoint),
            kind,
        };
        self.store.send(&[command]).await.expect("sent");
    }

    /// Requests to an endpoint's URL, as (time, `webhook-id`).
    pub(crate) fn sent(&self, endpoint: &str) -> Vec<(Timestamp, String)> {
        let sent = self.sender.sent_to(&url(endpoint)).into_iter();
        let id = |sent: &testkit::Sent| sent.header("webhook-id").unwrap_or_default().to_owned();
        sent.map(|sent| (sent.time, id(&sent))).collect()
    }

    pub(crate) fn attempts(&self, endpoint: u128) -> Vec<(Fact, Attempt)> {
        let facts = self.store.all_facts().into_iter();
        let mut attempts: Vec<_> = facts
            .filter(|fact| fact.endpoint == uid(endpoint))
            .filter_map(|fact| match fact.kind.clone() {
                FactKind::Attempt(attempt) => Some((fact, attempt)),
                FactKind::Cancelled | FactKind::DeadLettered(_) => None,
            })
            .collect();
        attempts.sort_by_key(|(fact, _)| fact.time);
        attempts
    }

    pub(crate) fn acked(&self, shard: Shard) -> Option<Position> {
        self.log.acked(&self.config.group, shard)
    }
}
