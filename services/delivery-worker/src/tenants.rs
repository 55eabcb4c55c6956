//! The cache of tenants' configuration, made ready for matching and sending.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use delivery::EndpointSpec;
use domain::{DisableReason, EndpointState, EndpointUid, Matcher, Revision, TenantId};
use ports::{EndpointConfig, Hint, TenantConfig};
use runtime::Shutdown;
use tokio::sync::{Mutex, broadcast::error::RecvError, mpsc};

use crate::config::{Config, Deps};
use crate::target::Target;
use crate::worker::Input;

/// A tenant's configuration at one revision.
pub(crate) struct TenantView {
    pub(crate) tenant: TenantId,
    pub(crate) revision: Revision,
    pub(crate) matcher: Matcher,
    pub(crate) endpoints: BTreeMap<EndpointUid, (EndpointSpec, Arc<Target>)>,
}

/// The tenants that this worker serves. Loaded when one is first seen.
pub(crate) struct Tenants {
    deps: Deps,
    views: Mutex<HashMap<TenantId, Arc<TenantView>>>,
}

impl Tenants {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps, views: Mutex::new(HashMap::new()) }
    }

    /// A tenant's view at `revision` or newer; `None` when there is no such tenant.
    pub(crate) async fn at_least(
        &self,
        tenant: &TenantId,
        revision: Revision,
    ) -> ports::Result<Option<Arc<TenantView>>> {
        // One lock over the read: callers that miss at the same time share one load.
        let mut views = self.views.lock().await;
        if let Some(view) = views.get(tenant)
            && view.revision >= revision
        {
            return Ok(Some(view.clone()));
        }
        let Some(view) = self.load(tenant).await? else {
            views.remove(tenant);
            return Ok(None);
        };
        views.insert(tenant.clone(), view.clone());
        Ok(Some(view))
    }

    /// Reads a tenant anew, whatever the cache says.
    pub(crate) async fn reload(&self, tenant: &TenantId) -> ports::Result<Option<Arc<TenantView>>> {
        self.at_least(tenant, Revision(u64::MAX)).await
    }

    async fn load(&self, tenant: &TenantId) -> ports::Result<Option<Arc<TenantView>>> {
        let Some(config) = self.deps.config.load(tenant).await? else { return Ok(None) };
        Ok(Some(Arc::new(self.prepare(tenant, config).await)))
    }

    async fn prepare(&self, tenant: &TenantId, config: TenantConfig) -> TenantView {
        let mut endpoints = BTreeMap::new();
        let mut uids = BTreeMap::new();
        for endpoint in config.endpoints {
            let uid = endpoint.endpoint.uid;
            uids.insert(endpoint.endpoint.id.clone(), uid);
            let prepared = match Target::prepare(&endpoint, &*self.deps.keys).await {
                Ok(target) => (spec(endpoint), target),
                // Without its secret an endpoint cannot be served; the others of the tenant can. What it wants waits for it, as if it were paused (DL-1).
                Err(error) => {
                    tracing::error!(
                        tenant = %tenant, endpoint = %endpoint.endpoint.id, %error,
                        "cannot open the secrets of an endpoint: its deliveries wait until its secret is rotated or the key is restored",
                    );
                    let target = Target::without_secrets(&endpoint);
                    (held(spec(endpoint)), target)
                }
            };
            endpoints.insert(uid, (prepared.0, Arc::new(prepared.1)));
        }
        TenantView {
            tenant: tenant.clone(),
            revision: config.revision,
            matcher: Matcher::new(config.subscriptions, &uids),
            endpoints,
        }
    }

    /// The tenants in the cache with their revisions.
    async fn cached(&self) -> Vec<(TenantId, Revision)> {
        let views = self.views.lock().await;
        views.values().map(|view| (view.tenant.clone(), view.revision)).collect()
    }
}

fn spec(config: EndpointConfig) -> EndpointSpec {
    let endpoint = config.endpoint;
    EndpointSpec {
        uid: endpoint.uid,
        tenant: endpoint.tenant,
        url: endpoint.url.as_str().into(),
        policy: endpoint.policy,
        state: endpoint.state,
        state_time: endpoint.state_time,
        revision: endpoint.revision,
    }
}

/// The same endpoint, held back. What skips its events goes on skipping them.
fn held(spec: EndpointSpec) -> EndpointSpec {
    match spec.state {
        EndpointState::Active | EndpointState::Disabled(DisableReason::Failing) => {
            EndpointSpec { state: EndpointState::Paused, ..spec }
        }
        EndpointState::Paused
        | EndpointState::Disabled(DisableReason::Answer(_) | DisableReason::ByHand) => spec,
    }
}

/// Keeps the cache fresh: by hints at once, by reading revisions again every 30 s.
pub(crate) async fn keep_fresh(
    tenants: Arc<Tenants>,
    config: Config,
    inputs: mpsc::Sender<Input>,
    shutdown: Shutdown,
) {
    let mut hints = tenants.deps.feed.subscribe();
    let clock = tenants.deps.clock.clone();
    // A fixed time, not a wait that begins anew: hints of others must not put it off.
    let mut refresh_at = clock.now() + config.refresh;
    loop {
        let stale = tokio::select! {
            () = shutdown.cancelled() => return,
            () = clock.sleep_until(refresh_at) => {
                refresh_at = clock.now() + config.refresh;
                stale_tenants(&tenants).await
            }
            hint = hints.recv() => match hint {
                Ok(Hint::Tenant(tenant, revision)) => vec![(tenant, revision)],
                Ok(Hint::Inbox(_)) => continue,
                Err(RecvError::Lagged(_)) => stale_tenants(&tenants).await,
                Err(RecvError::Closed) => return shutdown.cancelled().await,
            },
        };
        let known = tenants.cached().await;
        for (tenant, revision) in stale {
            // A tenant that was never seen is loaded when it is.
            if !known.iter().any(|(id, cached)| *id == tenant && *cached < revision) {
                continue;
            }
            match tenants.at_least(&tenant, revision).await {
                Ok(Some(view)) => {
                    if inputs.send(Input::Tenant(view)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => tracing::info!(%tenant, "a tenant is gone"),
                Err(error) => {
                    tracing::warn!(%tenant, %error, "cannot read a tenant's configuration; it is read again within 30 s")
                }
            }
        }
    }
}

async fn stale_tenants(tenants: &Tenants) -> Vec<(TenantId, Revision)> {
    let mut stale = Vec::new();
    for (tenant, cached) in tenants.cached().await {
        match tenants.deps.config.revision(&tenant).await {
            Ok(Some(revision)) if revision > cached => stale.push((tenant, revision)),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%tenant, %error, "cannot read a tenant's revision; it is read again within 30 s")
            }
        }
    }
    stale
}
