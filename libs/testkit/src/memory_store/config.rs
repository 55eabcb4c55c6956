//! Tenants' configuration.

use async_trait::async_trait;
use domain::{EndpointId, EndpointUid, Revision, Subscription, SubscriptionId, TenantId};
use ports::{Applied, ConfigStore, EndpointConfig, Expect, StateChange, Tenant, TenantConfig};

use super::{MemoryStore, State};

#[async_trait]
impl ConfigStore for MemoryStore {
    async fn create_tenant(&self, tenant: &Tenant) -> ports::Result<Applied> {
        self.write(|state, _| {
            if state.tenants.contains_key(&tenant.id) {
                return Applied::Exists;
            }
            let config = TenantConfig::empty(Revision(1));
            state.tenants.insert(tenant.id.clone(), (tenant.clone(), config));
            Applied::Done(Revision(1))
        })
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> ports::Result<Vec<Tenant>> {
        self.read(|state, _| {
            let tenants = state.tenants.values().map(|(tenant, _)| tenant);
            let tenants = tenants.filter(|tenant| after.is_none_or(|after| tenant.id > *after));
            tenants.take(limit).cloned().collect()
        })
    }

    async fn revision(&self, tenant: &TenantId) -> ports::Result<Option<Revision>> {
        self.read(|state, _| state.tenants.get(tenant).map(|(_, config)| config.revision))
    }

    async fn load(&self, tenant: &TenantId) -> ports::Result<Option<TenantConfig>> {
        self.read(|state, _| state.tenants.get(tenant).map(|(_, config)| config.clone()))
    }

    async fn put_endpoint(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.change(&config.endpoint.tenant, |tenant, revision| {
            let id = &config.endpoint.id;
            let stored = tenant.endpoints.iter_mut().find(|stored| stored.endpoint.id == *id);
            if let Some(refused) = refuse(expect, stored.as_ref().map(|s| s.endpoint.revision)) {
                return refused;
            }
            let mut new = config.clone();
            new.endpoint.revision = revision;
            if let Some(stored) = stored {
                let old = &stored.endpoint;
                new.endpoint.uid = old.uid;
                new.endpoint.create_time = old.create_time;
                new.endpoint.state = old.state;
                new.endpoint.state_time = old.state_time;
                *stored = new;
                return Applied::Done(revision);
            }
            tenant.endpoints.push(new);
            tenant.endpoints.sort_by(|a, b| a.endpoint.id.cmp(&b.endpoint.id));
            let new = subscriptions.iter().cloned();
            tenant
                .subscriptions
                .extend(new.map(|subscription| Subscription { revision, ..subscription }));
            sort(&mut tenant.subscriptions);
            Applied::Done(revision)
        })
    }

    async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.change(tenant, |tenant, revision| {
            let stored = tenant.endpoints.iter().find(|stored| stored.endpoint.id == *endpoint);
            let Some(stored) = stored else {
                return Applied::NotFound;
            };
            if let Some(refused) = refuse(expect, Some(stored.endpoint.revision)) {
                return refused;
            }
            tenant.endpoints.retain(|stored| stored.endpoint.id != *endpoint);
            tenant.subscriptions.retain(|stored| stored.endpoint != *endpoint);
            Applied::Done(revision)
        })
    }

    async fn set_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        change: StateChange,
    ) -> ports::Result<Applied> {
        self.change(tenant, |tenant, revision| {
            let stored = tenant.endpoints.iter_mut().find(|stored| stored.endpoint.uid == uid);
            let Some(EndpointConfig { endpoint, .. }) = stored else {
                return Applied::NotFound;
            };
            if endpoint.state != change.from {
                return Applied::Conflict;
            }
            endpoint.state = change.to;
            endpoint.state_time = change.time;
            endpoint.revision = revision;
            Applied::Done(revision)
        })
    }

    async fn put_subscription(
        &self,
        (tenant, endpoint, id): (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.change(tenant, |tenant, revision| {
            if !tenant.endpoints.iter().any(|stored| stored.endpoint.id == *endpoint) {
                return Applied::NotFound;
            }
            let is_it = |stored: &Subscription| stored.endpoint == *endpoint && stored.id == *id;
            let stored = tenant.subscriptions.iter().find(|stored| is_it(stored));
            let stored = stored.map(|stored| stored.revision);
            if stored.is_none() && to.is_none() {
                return Applied::NotFound;
            }
            if let Some(refused) = refuse(expect, stored) {
                return refused;
            }
            tenant.subscriptions.retain(|stored| !is_it(stored));
            tenant
                .subscriptions
                .extend(to.cloned().map(|subscription| Subscription { revision, ..subscription }));
            sort(&mut tenant.subscriptions);
            Applied::Done(revision)
        })
    }
}

impl MemoryStore {
    /// Runs a change with the revision that it will have; only one that is done raises it.
    fn change(
        &self,
        tenant: &TenantId,
        run: impl FnOnce(&mut TenantConfig, Revision) -> Applied,
    ) -> ports::Result<Applied> {
        self.write(|state: &mut State, _| {
            let Some((_, config)) = state.tenants.get_mut(tenant) else {
                return Applied::NotFound;
            };
            let applied = run(config, Revision(config.revision.0 + 1));
            if let Applied::Done(revision) = applied {
                config.revision = revision;
            }
            applied
        })
    }
}

fn sort(subscriptions: &mut [Subscription]) {
    subscriptions.sort_by(|a, b| (&a.endpoint, &a.id).cmp(&(&b.endpoint, &b.id)));
}

/// Why a change does not happen, if it does not.
fn refuse(expect: Expect, stored: Option<Revision>) -> Option<Applied> {
    match (expect, stored) {
        (Expect::Absent, None) | (Expect::Present, Some(_)) => None,
        (Expect::Absent, Some(_)) => Some(Applied::Exists),
        (Expect::Present | Expect::At(_), None) => Some(Applied::NotFound),
        (Expect::At(expected), Some(stored)) => (expected != stored).then_some(Applied::Conflict),
    }
}
