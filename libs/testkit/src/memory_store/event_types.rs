//! Registered event types.

use async_trait::async_trait;
use domain::{EventType, RegisteredType, Revision, TenantId, TypeEntry};
use ports::{Applied, EventTypeStore, Expect};

use super::MemoryStore;

#[async_trait]
impl EventTypeStore for MemoryStore {
    async fn get(
        &self,
        tenant: &TenantId,
        event_type: &EventType,
    ) -> ports::Result<Option<RegisteredType>> {
        let key = (tenant.clone(), event_type.clone());
        self.read(|state, _| state.types.get(&key).cloned())
    }

    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&EventType>,
        limit: usize,
    ) -> ports::Result<Vec<TypeEntry>> {
        self.read(|state, _| {
            let entries = state.types.values().map(|registered| &registered.entry);
            let entries = entries.filter(|entry| entry.tenant == *tenant);
            let entries =
                entries.filter(|entry| after.is_none_or(|after| entry.event_type > *after));
            entries.take(limit).cloned().collect()
        })
    }

    async fn put(
        &self,
        (tenant, event_type): (&TenantId, &EventType),
        to: Option<&RegisteredType>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.write(|state, _| {
            let Some((_, config)) = state.tenants.get_mut(tenant) else {
                return Applied::NotFound;
            };
            let key = (tenant.clone(), event_type.clone());
            let stored = state.types.get(&key).map(|stored| stored.entry.revision);
            if stored.is_none() && to.is_none() {
                return Applied::NotFound;
            }
            if let Some(refused) = expect.refuses(stored) {
                return refused;
            }
            config.revision = Revision(config.revision.0 + 1);
            match to {
                None => {
                    state.types.remove(&key);
                }
                Some(to) => {
                    let mut new = to.clone();
                    new.entry.revision = config.revision;
                    state.types.insert(key, new);
                }
            }
            Applied::Done(config.revision)
        })
    }
}
