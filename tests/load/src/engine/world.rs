//! The ports around a worker: log and store in memory, everything else as in the product.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use delivery_worker::{Deps, Metrics};
use domain::egress_policy::EgressPolicy;
use domain::{
    DeliveryPolicy, Endpoint, EndpointId, EndpointState, EndpointUid, EventPattern, EventType,
    Revision, SealedSecret, Subscription, SubscriptionId, TenantId, Timestamp,
};
use egress::Egress;
use embedded::InProcessObservations;
use ports::{Applied, Clock, ConfigStore as _, EndpointConfig, Expect, KeyProvider as _, Tenant};
use runtime::{SystemClock, SystemRng};
use signing::Secret;
use testkit::{MemoryFeed, MemoryLog, MemoryStore, PlainKeys};
use uuid::Uuid;

use super::Setup;
use crate::generator::event_type;

/// As many as the embedded log has by default.
const SHARDS: u16 = 4;

pub(super) struct World {
    pub(super) log: MemoryLog,
    pub(super) store: MemoryStore,
    keys: Arc<PlainKeys>,
    clock: Arc<dyn Clock>,
}

impl World {
    /// The default tenant with its endpoints.
    pub(super) async fn new(setup: &Setup) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let world = Self {
            log: MemoryLog::new(SHARDS, Arc::clone(&clock)),
            store: MemoryStore::new(Arc::clone(&clock)),
            keys: Arc::new(PlainKeys::new()),
            clock,
        };
        let (id, create_time) = (TenantId::default_tenant(), world.clock.now());
        let tenant = Tenant { id, display_name: String::new(), create_time };
        world.store.create_tenant(&tenant).await?;
        let groups = usize::from(setup.endpoints / setup.fan_out);
        for (index, url) in setup.urls.iter().enumerate() {
            world.endpoint(index, url, event_type(u64::try_from(index % groups)?)).await?;
        }
        Ok(world)
    }

    async fn endpoint(&self, index: usize, url: &str, event_type: String) -> Result<()> {
        let now = self.clock.now();
        let uid = EndpointUid::from_uuid(Uuid::from_u128(u128::try_from(index)? + 1));
        let endpoint = Endpoint {
            tenant: TenantId::default_tenant(),
            id: EndpointId::parse(&format!("load-{index}"))?,
            uid,
            display_name: String::new(),
            description: String::new(),
            url: url.to_owned(),
            headers: [].into(),
            state: EndpointState::Active,
            state_time: now,
            policy: DeliveryPolicy::default(),
            labels: [].into(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        };
        let subscription = Subscription {
            tenant: TenantId::default_tenant(),
            endpoint: endpoint.id.clone(),
            id: SubscriptionId::parse("load")?,
            event_types: vec![EventPattern::Exact(EventType::parse(&event_type)?)],
            filter: String::new(),
            channels: Vec::new(),
            create_time: now,
            update_time: now,
            revision: Revision(0),
        };
        let config = EndpointConfig { secrets: vec![self.secret(uid, now).await?], endpoint };
        let put = self.store.put_endpoint(&config, &[subscription], Expect::Absent).await?;
        ensure!(matches!(put, Applied::Done(_)), "an endpoint was not put: {put:?}");
        Ok(())
    }

    async fn secret(&self, uid: EndpointUid, now: Timestamp) -> Result<SealedSecret> {
        // What a secret is bound to is the contract of the port `KeyProvider`.
        let context = format!("{}/{uid}/secret/1", TenantId::default_tenant());
        let secret = Secret::generate();
        let sealed = self.keys.seal(secret.expose().as_bytes(), &context).await;
        let sealed = sealed.context("sealing a secret")?;
        Ok(SealedSecret { version: 1, create_time: now, not_after: None, sealed })
    }

    /// A store beside the world's.
    pub(super) fn empty_store(&self) -> MemoryStore {
        MemoryStore::new(Arc::clone(&self.clock))
    }

    /// What a worker is given. Must be called within the worker's runtime.
    pub(super) fn deps(&self) -> Result<Deps> {
        let store = Arc::new(self.store.clone());
        Ok(Deps {
            log: Arc::new(self.log.clone()),
            events: store.clone(),
            backlog: store.clone(),
            lanes: store.clone(),
            lines: store.clone(),
            dead_letters: store.clone(),
            inbox: store.clone(),
            idempotency: store.clone(),
            config: store,
            feed: Arc::new(MemoryFeed::new()),
            observations: Arc::new(InProcessObservations::new()),
            keys: self.keys.clone(),
            sender: Arc::new(Egress::new(&egress::Settings::new(EgressPolicy::dev()))?),
            clock: Arc::clone(&self.clock),
            rng: Arc::new(SystemRng::new()),
            metrics: Metrics::default(),
        })
    }
}
