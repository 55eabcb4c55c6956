//! A store whose calls a test may hold up or fail, one by one.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::{
    BacklogKey, BacklogRow, Command, CommandId, EndpointId, EndpointUid, Epoch, EventId, EventRef,
    Fact, LaneKey, LaneRow, Revision, Shard, Subscription, SubscriptionId, TenantId, Timestamp,
};
use ports::{
    Applied, BacklogPage, BacklogStore, ConfigStore, EndpointConfig, Error, ErrorKind, EventStore,
    Expect, InboxStore, LaneStore, Loaded, StateChange, StoredEvent, Tenant, TenantConfig,
};
use postrider_delivery_worker::Deps;
use testkit::MemoryStore;

/// A call that is about to be made.
pub(crate) enum Call<'a> {
    PutEvents(&'a [StoredEvent]),
    Record(&'a [Fact]),
    SaveLanes(&'a [LaneRow]),
    LoadEvent,
    Page(LaneKey),
    Pending(Shard),
    Revision,
    Load(&'a TenantId),
    SetState,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    Go,
    Hang,
    Fail(ErrorKind),
}

type Hook = Box<dyn FnMut(Call<'_>) -> Then + Send>;

/// Asks a hook before each call of the memory store.
#[derive(Clone)]
pub(crate) struct Hooked {
    store: MemoryStore,
    hook: Arc<Mutex<Hook>>,
}

impl Hooked {
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self { store, hook: Arc::new(Mutex::new(Box::new(|_| Then::Go))) }
    }

    /// Asks this hook from now on; calls that hang go on hanging.
    pub(crate) fn on(&self, hook: impl FnMut(Call<'_>) -> Then + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(hook);
    }

    pub(crate) fn put_into(&self, deps: &mut Deps) {
        let store = Arc::new(self.clone());
        deps.events = store.clone();
        deps.backlog = store.clone();
        deps.lanes = store.clone();
        deps.inbox = store.clone();
        deps.config = store;
    }

    async fn ask(&self, call: Call<'_>) -> ports::Result<()> {
        let then = self.hook.lock().unwrap_or_else(PoisonError::into_inner)(call);
        match then {
            Then::Go => Ok(()),
            Then::Hang => std::future::pending().await,
            Then::Fail(kind) => Err(Error::new(kind, "made to fail")),
        }
    }
}

#[async_trait]
impl EventStore for Hooked {
    async fn put_events(&self, events: &[StoredEvent]) -> ports::Result<()> {
        self.ask(Call::PutEvents(events)).await?;
        self.store.put_events(events).await
    }

    async fn record(&self, facts: &[Fact]) -> ports::Result<()> {
        self.ask(Call::Record(facts)).await?;
        self.store.record(facts).await
    }

    async fn load(&self, event: &EventRef, endpoint: EndpointUid) -> ports::Result<Loaded> {
        self.ask(Call::LoadEvent).await?;
        EventStore::load(&self.store, event, endpoint).await
    }

    async fn find(&self, tenant: &TenantId, event: &EventId) -> ports::Result<Option<StoredEvent>> {
        self.store.find(tenant, event).await
    }

    async fn facts(
        &self,
        tenant: &TenantId,
        event: &EventId,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.store.facts(tenant, event, limit).await
    }

    async fn attempts_of_endpoint(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.store.attempts_of_endpoint(endpoint, before, limit).await
    }
}

#[async_trait]
impl BacklogStore for Hooked {
    async fn append(&self, rows: &[(LaneKey, BacklogRow)]) -> ports::Result<()> {
        self.store.append(rows).await
    }

    async fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> ports::Result<BacklogPage> {
        self.ask(Call::Page(lane)).await?;
        self.store.page(lane, after, upto, limit).await
    }

    async fn trim(&self, lane: LaneKey, upto: BacklogKey) -> ports::Result<()> {
        self.store.trim(lane, upto).await
    }
}

#[async_trait]
impl LaneStore for Hooked {
    async fn save(&self, lanes: &[LaneRow]) -> ports::Result<()> {
        self.ask(Call::SaveLanes(lanes)).await?;
        self.store.save(lanes).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<EndpointUid>,
        limit: usize,
    ) -> ports::Result<Vec<LaneRow>> {
        self.store.of_shard(shard, after, limit).await
    }

    async fn get(&self, lane: LaneKey) -> ports::Result<Option<LaneRow>> {
        LaneStore::get(&self.store, lane).await
    }

    async fn remove(&self, lane: LaneKey, epoch: Epoch) -> ports::Result<()> {
        self.store.remove(lane, epoch).await
    }
}

#[async_trait]
impl InboxStore for Hooked {
    async fn send(&self, commands: &[Command]) -> ports::Result<()> {
        self.store.send(commands).await
    }

    async fn pending(&self, shard: Shard, limit: usize) -> ports::Result<Vec<Command>> {
        self.ask(Call::Pending(shard)).await?;
        self.store.pending(shard, limit).await
    }

    async fn done(&self, shard: Shard, commands: &[CommandId]) -> ports::Result<()> {
        self.store.done(shard, commands).await
    }
}

#[async_trait]
impl ConfigStore for Hooked {
    async fn create_tenant(&self, tenant: &Tenant) -> ports::Result<Applied> {
        self.store.create_tenant(tenant).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> ports::Result<Vec<Tenant>> {
        self.store.tenants(after, limit).await
    }

    async fn revision(&self, tenant: &TenantId) -> ports::Result<Option<Revision>> {
        self.ask(Call::Revision).await?;
        self.store.revision(tenant).await
    }

    async fn load(&self, tenant: &TenantId) -> ports::Result<Option<TenantConfig>> {
        self.ask(Call::Load(tenant)).await?;
        ConfigStore::load(&self.store, tenant).await
    }

    async fn put_endpoint(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.store.put_endpoint(config, subscriptions, expect).await
    }

    async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.store.delete_endpoint(tenant, endpoint, expect).await
    }

    async fn set_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        change: StateChange,
    ) -> ports::Result<Applied> {
        self.ask(Call::SetState).await?;
        self.store.set_state(tenant, uid, change).await
    }

    async fn put_subscription(
        &self,
        name: (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.store.put_subscription(name, to, expect).await
    }
}
