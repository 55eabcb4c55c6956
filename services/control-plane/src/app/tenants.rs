//! Tenants' revisions and configuration, read with as few reads as fresh answers allow.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Revision, TenantId};
use ports::{Applied, Hint, Tenant, TenantConfig};

use super::{App, Deps, EndpointName, Error};

/// Tenants whose reads are tracked at once, and whose configuration is kept.
const TENANTS_MAX: usize = 1_024;
/// Between tries while the store is away at the start.
const START_RETRY: Duration = Duration::from_millis(500);

/// Reads revisions; calls at the same time share a read.
///
/// A call takes the answer of a read only if that read began after the call did, so it sees every change that was acknowledged before the call (CF-1).
#[derive(Default)]
pub(crate) struct Revisions {
    reads: Mutex<HashMap<TenantId, Arc<Reads>>>,
}

/// The reads of one tenant's revision, one at a time.
#[derive(Default)]
struct Reads {
    begun: AtomicU64,
    last: tokio::sync::Mutex<LastRead>,
}

/// The last read that ended: its number, counting from 1, and what it found.
#[derive(Clone, Copy, Default)]
struct LastRead {
    number: u64,
    revision: Option<Revision>,
}

impl Revisions {
    /// Cancel safe: a read that is dropped counts for nobody.
    pub(crate) async fn read(
        &self,
        deps: &Deps,
        tenant: &TenantId,
    ) -> Result<Option<Revision>, ports::Error> {
        let reads = self.of(tenant);
        let before = reads.begun.load(Ordering::SeqCst);
        // Held over the read on purpose: whoever waits here shares the next read.
        let mut last = reads.last.lock().await;
        if last.number > before {
            return Ok(last.revision);
        }
        let number = reads.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let revision = deps.config.revision(tenant).await?;
        *last = LastRead { number, revision };
        Ok(revision)
    }

    fn of(&self, tenant: &TenantId) -> Arc<Reads> {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.len() >= TENANTS_MAX {
            // An entry that nobody waits for remembers nothing that counts.
            reads.retain(|_, reads| Arc::strong_count(reads) > 1);
        }
        Arc::clone(reads.entry(tenant.clone()).or_default())
    }
}

/// Configuration as last loaded; used only while its revision is the current one.
#[derive(Default)]
pub(crate) struct LoadedTenants {
    loaded: Mutex<HashMap<TenantId, Arc<TenantConfig>>>,
}

impl LoadedTenants {
    fn at(&self, tenant: &TenantId, revision: Revision) -> Option<Arc<TenantConfig>> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get(tenant).filter(|config| config.revision == revision).cloned()
    }

    fn keep(&self, tenant: &TenantId, config: &Arc<TenantConfig>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.len() >= TENANTS_MAX {
            loaded.clear();
        }
        loaded.insert(tenant.clone(), Arc::clone(config));
    }
}

impl App {
    /// Everything of a tenant, as of now.
    pub(crate) async fn tenant(&self, tenant: &TenantId) -> Result<Arc<TenantConfig>, Error> {
        let missing = || Error::NotFound(format!("tenants/{tenant}"));
        let revision = self.revisions.read(&self.deps, tenant).await?;
        let revision = revision.ok_or_else(missing)?;
        if let Some(config) = self.loaded.at(tenant, revision) {
            return Ok(config);
        }
        let config = self.deps.config.load(tenant).await?.ok_or_else(missing)?;
        let config = Arc::new(config);
        self.loaded.keep(tenant, &config);
        Ok(config)
    }

    /// An endpoint with its secrets.
    pub(crate) async fn endpoint_config(
        &self,
        name: &EndpointName,
    ) -> Result<ports::EndpointConfig, Error> {
        let config = self.tenant(&name.tenant).await?;
        find_endpoint(&config, name).cloned()
    }

    /// Tells the workers that a tenant's configuration changed. A hint that is lost heals by itself.
    pub(crate) async fn hint_tenant(&self, tenant: &TenantId, revision: Revision) {
        let hint = Hint::Tenant(tenant.clone(), revision);
        if let Err(error) = self.deps.feed.hint(hint).await {
            tracing::warn!(%tenant, %error, "hint of a changed configuration was not sent");
        }
    }
}

/// Finds an endpoint of a tenant.
pub(crate) fn find_endpoint<'c>(
    config: &'c TenantConfig,
    name: &EndpointName,
) -> Result<&'c ports::EndpointConfig, Error> {
    config
        .endpoints
        .iter()
        .find(|found| found.endpoint.id == name.endpoint)
        .ok_or_else(|| Error::NotFound(name.to_string()))
}

/// Makes the tenant of one-company installs, unless it is there (surface §3). Waits for a store that is away, and says so once. Cancel safe.
///
/// # Errors
/// When the store refuses in a way that does not pass by itself.
pub async fn ensure_default_tenant(deps: &Deps) -> Result<(), ports::Error> {
    let tenant = Tenant {
        id: TenantId::default_tenant(),
        display_name: String::new(),
        create_time: deps.clock.now(),
    };
    let mut waits = false;
    let applied = loop {
        match deps.config.create_tenant(&tenant).await {
            Ok(applied) => break applied,
            Err(error) if error.is_retryable() => {
                if !std::mem::replace(&mut waits, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the start waits for the store: it is tried again until it answers");
                }
                deps.clock.sleep(START_RETRY).await;
            }
            Err(error) => return Err(error),
        }
    };
    if waits {
        tracing::info!("the store answers; the start goes on");
    }
    match applied {
        Applied::Done(_) | Applied::Exists => Ok(()),
        Applied::Conflict | Applied::NotFound => Err(ports::Error::new(
            ports::ErrorKind::Bug,
            "the store neither made the default tenant nor has it",
        )),
    }
}
