//! An application over in-memory ports and a clock that stands still.

use std::sync::Arc;

use bytes::Bytes;
use domain::egress_policy::EgressPolicy;
use domain::{
    ContentType, DeliveryPolicy, EndpointUid, EventId, EventPattern, EventType, Shard, TenantId,
    Timestamp,
};
use ports::Clock as _;
use testkit::{
    MemoryFeed, MemoryLog, MemoryObservations, MemoryStore, PlainKeys, SeededRng, SimClock,
};

use crate::Metrics;
use crate::app::{
    App, Config, CreateEndpoint, CreatedEndpoint, Deps, EndpointDraft, EndpointName, Error,
    PageRequest, Publish, PublishDraft, Published, RequestId, SubscriptionDraft,
    ensure_default_tenant,
};

pub(super) const START: Timestamp = Timestamp::from_millis(1_772_366_400_000);
pub(super) const SHARDS: u16 = 4;

pub(super) struct World {
    pub(super) app: Arc<App>,
    pub(super) clock: SimClock,
    pub(super) log: Arc<MemoryLog>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) observations: Arc<MemoryObservations>,
}

impl World {
    pub(super) async fn new() -> Self {
        let clock = SimClock::new(START);
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        let log = Arc::new(MemoryLog::new(SHARDS, Arc::new(clock.clone())));
        let observations = Arc::new(MemoryObservations::default());
        let deps = Deps {
            observations: observations.clone(),
            log: log.clone(),
            config: store.clone(),
            idempotency: store.clone(),
            events: store.clone(),
            lanes: store.clone(),
            backlog: store.clone(),
            inbox: store.clone(),
            jobs: store.clone(),
            event_types: store.clone(),
            dead_letters: store.clone(),
            feed: Arc::new(MemoryFeed::new()),
            keys: Arc::new(PlainKeys::new()),
            clock: Arc::new(clock.clone()),
            rng: Arc::new(SeededRng::new(1)),
            metrics: Metrics::default(),
            page_token_key: [7; 32],
        };
        ensure_default_tenant(&deps).await.expect("a tenant");
        let config = Config { egress: EgressPolicy::dev(), ..Config::default() };
        Self { app: Arc::new(App::new(config, deps)), clock, log, store, observations }
    }

    /// Makes an endpoint that wants `pattern`.
    pub(super) async fn endpoint(&self, id: &str, pattern: &str) -> CreatedEndpoint {
        self.app.create_endpoint(create(Some(id), &[pattern])).await.expect("an endpoint")
    }

    pub(super) async fn publish(&self, drafts: Vec<PublishDraft>) -> Result<Vec<Published>, Error> {
        self.app.publish(publish(drafts)).await
    }

    /// How many records the log holds.
    pub(super) async fn records(&self) -> usize {
        let mut count = 0;
        for shard in 0..SHARDS {
            let log = &self.app.deps.log;
            let bounds = log.bounds(Shard(shard)).await.expect("bounds");
            let page = log
                .read_range(Shard(shard), bounds.low, bounds.next, 10_000)
                .await
                .expect("records");
            count += page.records.len();
        }
        count
    }

    /// The commands in all inboxes.
    pub(super) async fn commands(&self) -> Vec<domain::Command> {
        let mut commands = Vec::new();
        for shard in 0..SHARDS {
            let inbox = &self.app.deps.inbox;
            commands.extend(inbox.pending(Shard(shard), 100).await.expect("commands"));
        }
        commands
    }

    pub(super) async fn uid(&self, id: &str) -> EndpointUid {
        let found = self.app.endpoint_config(&name(id)).await;
        found.expect("an endpoint").endpoint.uid
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(super) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

pub(super) fn name(id: &str) -> EndpointName {
    EndpointName { tenant: tenant(), endpoint: domain::EndpointId::parse(id).expect("valid") }
}

pub(super) fn endpoint_draft() -> EndpointDraft {
    EndpointDraft {
        display_name: String::new(),
        description: String::new(),
        url: "https://example.com/hook".to_owned(),
        headers: std::collections::BTreeMap::new(),
        policy: DeliveryPolicy::default(),
        labels: std::collections::BTreeMap::new(),
    }
}

pub(super) fn create(id: Option<&str>, patterns: &[&str]) -> CreateEndpoint {
    CreateEndpoint {
        tenant: tenant(),
        id: id.map(|id| domain::EndpointId::parse(id).expect("valid")),
        draft: endpoint_draft(),
        subscriptions: vec![subscription(patterns)],
        secret: None,
        request: None,
        validate_only: false,
    }
}

pub(super) fn subscription(patterns: &[&str]) -> SubscriptionDraft {
    let patterns = patterns.iter();
    SubscriptionDraft {
        event_types: patterns.map(|text| EventPattern::parse(text).expect("valid")).collect(),
        filter: String::new(),
        channels: Vec::new(),
    }
}

pub(super) fn draft(data: &'static str) -> PublishDraft {
    PublishDraft {
        id: None,
        event_type: EventType::parse("payment.completed").expect("valid"),
        data: Bytes::from_static(data.as_bytes()),
        content_type: ContentType::json(),
        api_version: None,
        idempotency_key: None,
        ordering_key: None,
        channels: Vec::new(),
        deliver_at: None,
        created_at: None,
    }
}

pub(super) fn with_id(id: &str, data: &'static str) -> PublishDraft {
    PublishDraft { id: Some(EventId::parse(id).expect("valid")), ..draft(data) }
}

pub(super) fn with_key(key: &str, data: &'static str) -> PublishDraft {
    PublishDraft { idempotency_key: Some(key.into()), ..draft(data) }
}

pub(super) fn publish(drafts: Vec<PublishDraft>) -> Publish {
    Publish { tenant: tenant(), drafts, traceparent: None, validate_only: false }
}

pub(super) fn request(number: u128, hash: u8) -> Option<RequestId> {
    Some(RequestId { id: uuid::Uuid::from_u128(number), hash: [hash; 32] })
}

pub(super) fn page(size: i32, token: &str) -> PageRequest {
    PageRequest::parse(size, token.to_owned()).expect("valid")
}
