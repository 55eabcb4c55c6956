//! The cache of tenants' configuration, made ready for matching and sending.

mod cache;
mod refresh;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use delivery::EndpointSpec;
use domain::{DisableReason, EndpointState, EndpointUid, Matcher, Revision, TenantId};
use ports::{EndpointConfig, TenantConfig};

use self::cache::Cache;
pub(crate) use self::refresh::keep_fresh;
use crate::calls::within;
use crate::config::Deps;
use crate::target::Target;

/// A tenant's configuration at one revision.
pub(crate) struct TenantView {
    pub(crate) tenant: TenantId,
    pub(crate) revision: Revision,
    pub(crate) matcher: Matcher,
    pub(crate) endpoints: BTreeMap<EndpointUid, (EndpointSpec, Arc<Target>)>,
    /// Those whose secrets could not be opened.
    pub(crate) sealed: BTreeSet<EndpointUid>,
}

/// The tenants that this worker serves. Loaded when one is first seen.
pub(crate) struct Tenants {
    deps: Deps,
    cache: Cache,
}

impl Tenants {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps, cache: Cache::new() }
    }

    /// A tenant's view at `revision` or newer; `None` when there is no such tenant. Callers that miss at the same time share one load; tenants do not wait
    /// for each other.
    pub(crate) async fn at_least(
        &self,
        tenant: &TenantId,
        revision: Revision,
    ) -> ports::Result<Option<Arc<TenantView>>> {
        if let Some(view) = self.cache.get(tenant, revision) {
            return Ok(Some(view));
        }
        let turn = self.cache.turn(tenant);
        let _ours = turn.lock().await;
        if let Some(view) = self.cache.get(tenant, revision) {
            return Ok(Some(view));
        }
        let loaded = within(&*self.deps.clock, self.deps.config.load(tenant)).await?;
        let Some(config) = loaded else {
            self.cache.remove(tenant);
            return Ok(None);
        };
        let view = Arc::new(self.prepare(tenant, config).await);
        self.cache.put(&view);
        Ok(Some(view))
    }

    /// Reads a tenant anew, whatever the cache says.
    pub(crate) async fn reload(&self, tenant: &TenantId) -> ports::Result<Option<Arc<TenantView>>> {
        self.at_least(tenant, Revision(u64::MAX)).await
    }

    async fn prepare(&self, tenant: &TenantId, config: TenantConfig) -> TenantView {
        let before = self.cache.get(tenant, Revision(0));
        let mut endpoints = BTreeMap::new();
        let mut uids = BTreeMap::new();
        let mut sealed = BTreeSet::new();
        for endpoint in config.endpoints {
            let uid = endpoint.endpoint.uid;
            uids.insert(endpoint.endpoint.id.clone(), uid);
            let prepared = match self.open(&endpoint).await {
                Ok(target) => (spec(endpoint), target),
                // Without its secret an endpoint cannot be served; the others of the tenant can. What it wants waits for it, as if it were paused (DL-1).
                Err(error) => {
                    if before.as_ref().is_none_or(|before| !before.sealed.contains(&uid)) {
                        tracing::error!(
                            tenant = %tenant, endpoint = %endpoint.endpoint.id, error,
                            "cannot open the secrets of an endpoint: its deliveries wait until its secret is rotated or the key is restored",
                        );
                    }
                    sealed.insert(uid);
                    let target = Target::without_secrets(&endpoint);
                    (held(spec(endpoint)), target)
                }
            };
            endpoints.insert(uid, (prepared.0, Arc::new(prepared.1)));
        }
        let matcher = Matcher::new(config.subscriptions, &uids);
        let matcher = match &before {
            Some(before) => matcher.with_filters_of(&before.matcher),
            None => matcher,
        };
        say_unread(&matcher).await;
        TenantView { tenant: tenant.clone(), revision: config.revision, matcher, endpoints, sealed }
    }

    /// Opens an endpoint's secrets; what keeps it from that otherwise.
    async fn open(&self, endpoint: &EndpointConfig) -> Result<Target, String> {
        let opening = async { Ok(Target::prepare(endpoint, &*self.deps.keys).await) };
        match within(&*self.deps.clock, opening).await {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(error) => Err(format!("the key provider gave {error}")),
        }
    }
}

/// Reads the filters that are new, and says which cannot be read. Others have their turn between two: a tenant may have thousands.
async fn say_unread(matcher: &Matcher) {
    for (subscription, error) in matcher.read_filters() {
        if let Some(error) = error {
            tracing::error!(
                tenant = %subscription.tenant, endpoint = %subscription.endpoint, subscription = %subscription.id, %error,
                "a subscription's filter cannot be read by this version: it matches nothing until it is changed",
            );
        }
        tokio::task::yield_now().await;
    }
}

fn spec(config: EndpointConfig) -> EndpointSpec {
    let endpoint = config.endpoint;
    EndpointSpec {
        uid: endpoint.uid,
        id: endpoint.id,
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
