//! Making, reading, listing, changing and deleting endpoints.

use domain::{
    CommandKind, Endpoint, EndpointId, EndpointState, Revision, SealedSecret, Subscription,
    TenantId, Timestamp,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ports::{Applied, EndpointConfig, Expect, TenantConfig};
use signing::Secret;

use super::endpoint_state::TRIES_MAX;
use super::page::ListName;
use super::tenants::find_endpoint;
use super::{
    App, EndpointDraft, EndpointName, Error, Health, Issued, Page, PageRequest, RequestId, Seed,
    SubscriptionDraft,
};

/// Endpoints whose health is read at once.
const HEALTH_AT_ONCE: usize = 4;

/// An endpoint as callers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EndpointView {
    pub(crate) endpoint: Endpoint,
    /// The live secrets, the current one first.
    pub(crate) secrets: Vec<SealedSecret>,
    pub(crate) health: Health,
}

/// A call of `CreateEndpoint`, with a checked draft.
#[derive(Debug)]
pub(crate) struct CreateEndpoint {
    pub(crate) tenant: TenantId,
    pub(crate) id: Option<EndpointId>,
    pub(crate) draft: EndpointDraft,
    pub(crate) subscriptions: Vec<SubscriptionDraft>,
    pub(crate) secret: Option<Secret>,
    pub(crate) request: Option<RequestId>,
    pub(crate) validate_only: bool,
}

/// What a create made.
#[derive(Debug)]
pub(crate) struct CreatedEndpoint {
    pub(crate) view: EndpointView,
    pub(crate) subscriptions: Vec<Subscription>,
    /// `None` for `validate_only`, and for a repeat after the secret has been rotated away.
    pub(crate) secret: Option<Issued>,
}

impl App {
    /// Makes an endpoint with its subscriptions and its first secret: all of it or nothing.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::QuotaExceeded`].
    pub(crate) async fn create_endpoint(
        &self,
        call: CreateEndpoint,
    ) -> Result<CreatedEndpoint, Error> {
        let tenant = self.tenant(&call.tenant).await?;
        let seed = if call.validate_only {
            Seed::new(&*self.deps.clock, &*self.deps.rng)
        } else {
            self.seed(&call.tenant, call.request.as_ref()).await?
        };
        let (endpoint, subscriptions) = new_endpoint(&call, seed);
        let name = name_of(&endpoint);
        if let Ok(found) = find_endpoint(&tenant, &name) {
            return self.repeated(&tenant, found, &endpoint).await;
        }
        let max = self.config.endpoints_per_tenant_max;
        if tenant.endpoints.len() >= max {
            return Err(Error::QuotaExceeded {
                what: format!("tenants/{}", call.tenant),
                max,
                of: "endpoints",
            });
        }
        if call.validate_only {
            return Ok(as_if(endpoint, subscriptions));
        }
        let secret = call.secret.unwrap_or_else(Secret::generate);
        let sealed = self.seal(&endpoint, &secret, 1, seed.time()).await?;
        let config = EndpointConfig { endpoint, secrets: vec![sealed] };
        let store = &self.deps.config;
        let applied = store.put_endpoint(&config, &subscriptions, Expect::Absent).await?;
        match applied {
            Applied::Done(revision) => self.created(config, subscriptions, secret, revision).await,
            Applied::Exists | Applied::Conflict => {
                let tenant = self.tenant(&call.tenant).await?;
                let found = find_endpoint(&tenant, &name)
                    .map_err(|_| Error::Contended(name.to_string()))?;
                self.repeated(&tenant, found, &config.endpoint).await
            }
            Applied::NotFound => Err(Error::NotFound(format!("tenants/{}", call.tenant))),
        }
    }

    async fn created(
        &self,
        mut config: EndpointConfig,
        mut subscriptions: Vec<Subscription>,
        secret: Secret,
        revision: Revision,
    ) -> Result<CreatedEndpoint, Error> {
        self.hint_tenant(&config.endpoint.tenant, revision).await;
        config.endpoint.revision = revision;
        for subscription in &mut subscriptions {
            subscription.revision = revision;
        }
        Ok(CreatedEndpoint {
            view: self.view(config).await?,
            subscriptions,
            secret: Some(Issued { secret, version: 1 }),
        })
    }

    /// The answer to a create whose id is taken: the same again when this very call took it.
    async fn repeated(
        &self,
        tenant: &TenantConfig,
        found: &EndpointConfig,
        ours: &Endpoint,
    ) -> Result<CreatedEndpoint, Error> {
        if found.endpoint.uid != ours.uid {
            return Err(Error::AlreadyExists(name_of(ours).to_string()));
        }
        let subscriptions = tenant.subscriptions.iter();
        Ok(CreatedEndpoint {
            subscriptions: subscriptions
                .filter(|subscription| subscription.endpoint == ours.id)
                .cloned()
                .collect(),
            secret: self.reopen(found, 1).await?,
            view: self.view(found.clone()).await?,
        })
    }

    /// Reads an endpoint with its health.
    pub(crate) async fn get_endpoint(&self, name: &EndpointName) -> Result<EndpointView, Error> {
        let config = self.endpoint_config(name).await?;
        self.view(config).await
    }

    pub(crate) async fn view(&self, config: EndpointConfig) -> Result<EndpointView, Error> {
        let now = self.deps.clock.now();
        Ok(EndpointView {
            health: self.health(config.endpoint.uid).await?,
            secrets: config.secrets.into_iter().filter(|secret| secret.is_live(now)).collect(),
            endpoint: config.endpoint,
        })
    }

    /// Lists a tenant's endpoints, newest first.
    pub(crate) async fn list_endpoints(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<EndpointView>, Error> {
        let parent = format!("tenants/{tenant}");
        let list = ListName(&["endpoints", &parent]);
        let after: Option<(i64, String)> = self.open_token(&list, &page.token)?;
        let config = self.tenant(tenant).await?;
        let mut all: Vec<&EndpointConfig> = config.endpoints.iter().collect();
        all.sort_by(|a, b| key_of(&b.endpoint).cmp(&key_of(&a.endpoint)));
        let mut rest = all.into_iter().filter(|config| {
            after
                .as_ref()
                .is_none_or(|after| key_of(&config.endpoint) < (after.0, after.1.as_str()))
        });
        let chosen: Vec<EndpointConfig> = rest.by_ref().take(page.size).cloned().collect();
        let next = match (rest.next(), chosen.last()) {
            (Some(_), Some(last)) => self.make_token(&list, &key_of(&last.endpoint)),
            (None, _) | (_, None) => String::new(),
        };
        let items = stream::iter(chosen)
            .map(|config| self.view(config))
            .buffered(HEALTH_AT_ONCE)
            .try_collect()
            .await?;
        Ok(Page { items, next })
    }

    /// Changes an endpoint: `change` turns what is set now into what shall be. A new URL or new headers allow a probe at once; a change that changes
    /// nothing writes nothing, so that etag and time stay.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::EtagMismatch`].
    pub(crate) async fn update_endpoint<F>(
        &self,
        name: &EndpointName,
        change: F,
        etag: &str,
        (request, validate_only): (Option<&RequestId>, bool),
    ) -> Result<EndpointView, Error>
    where
        F: Fn(EndpointDraft) -> Result<EndpointDraft, Error> + Send + Sync,
    {
        self.tenant(&name.tenant).await?;
        if !validate_only && self.was_done(&name.tenant, request).await? {
            return self.get_endpoint(name).await;
        }
        for _ in 0..TRIES_MAX {
            let old = self.endpoint_config(name).await?;
            check_etag(name, etag, old.endpoint.revision)?;
            let draft = change(EndpointDraft::of(&old.endpoint))?;
            let new = changed(&old, draft, self.deps.clock.now());
            if validate_only {
                return self.view(new).await;
            }
            if is_same(&old, &new) {
                self.note_done(&name.tenant, request).await?;
                return self.view(old).await;
            }
            let expect = Expect::At(old.endpoint.revision);
            match self.deps.config.put_endpoint(&new, &[], expect).await? {
                Applied::Done(revision) => {
                    let view = self.updated(&old, new, revision).await?;
                    self.note_done(&name.tenant, request).await?;
                    return Ok(view);
                }
                Applied::Conflict | Applied::Exists => {}
                Applied::NotFound => return Err(Error::NotFound(name.to_string())),
            }
        }
        Err(Error::Contended(name.to_string()))
    }

    async fn updated(
        &self,
        old: &EndpointConfig,
        mut new: EndpointConfig,
        revision: Revision,
    ) -> Result<EndpointView, Error> {
        let tenant = new.endpoint.tenant.clone();
        self.hint_tenant(&tenant, revision).await;
        if old.endpoint.url != new.endpoint.url || old.endpoint.headers != new.endpoint.headers {
            let uid = new.endpoint.uid;
            self.send_to_all_shards(&tenant, uid, &CommandKind::Probe).await?;
        }
        new.endpoint.revision = revision;
        self.view(new).await
    }

    /// Deletes an endpoint with its subscriptions and secrets. Workers then drop what is pending: told by a hint, and by a command in case that is
    /// lost, since the configuration is read anew before any command is done.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`].
    pub(crate) async fn delete_endpoint(
        &self,
        name: &EndpointName,
        etag: &str,
        request: Option<&RequestId>,
    ) -> Result<(), Error> {
        let tenant = self.tenant(&name.tenant).await?;
        if self.was_done(&name.tenant, request).await? {
            return Ok(());
        }
        let endpoint = &find_endpoint(&tenant, name)?.endpoint;
        check_etag(name, etag, endpoint.revision)?;
        let expect = if etag.is_empty() { Expect::Present } else { Expect::At(endpoint.revision) };
        let store = &self.deps.config;
        let applied = store.delete_endpoint(&name.tenant, &name.endpoint, expect).await?;
        match applied {
            Applied::Done(revision) => {
                self.hint_tenant(&name.tenant, revision).await;
                self.send_to_all_shards(&name.tenant, endpoint.uid, &CommandKind::Probe).await?;
                self.note_done(&name.tenant, request).await
            }
            Applied::Conflict | Applied::Exists => Err(Error::EtagMismatch(name.to_string())),
            Applied::NotFound => Err(Error::NotFound(name.to_string())),
        }
    }
}

/// The order of lists: newest last.
fn key_of(endpoint: &Endpoint) -> (i64, &str) {
    (endpoint.create_time.as_millis(), endpoint.id.as_str())
}

pub(crate) fn name_of(endpoint: &Endpoint) -> EndpointName {
    EndpointName { tenant: endpoint.tenant.clone(), endpoint: endpoint.id.clone() }
}

/// The etag of a revision.
pub(crate) fn etag_of(revision: Revision) -> String {
    revision.0.to_string()
}

/// Checks a caller's etag; an empty one fits every revision.
pub(crate) fn check_etag(
    name: &impl ToString,
    etag: &str,
    revision: Revision,
) -> Result<(), Error> {
    if etag.is_empty() || etag == etag_of(revision) {
        return Ok(());
    }
    Err(Error::EtagMismatch(name.to_string()))
}

fn new_endpoint(call: &CreateEndpoint, seed: Seed) -> (Endpoint, Vec<Subscription>) {
    let draft = call.draft.clone();
    let time = seed.time();
    let endpoint = Endpoint {
        tenant: call.tenant.clone(),
        id: call.id.clone().unwrap_or_else(|| seed.endpoint_id()),
        uid: seed.endpoint_uid(),
        display_name: draft.display_name,
        description: draft.description,
        url: draft.url,
        headers: draft.headers,
        state: EndpointState::Active,
        state_time: time,
        policy: draft.policy,
        labels: draft.labels,
        create_time: time,
        update_time: time,
        revision: Revision::default(),
    };
    let name = name_of(&endpoint);
    let subscriptions = call.subscriptions.iter().enumerate();
    let subscriptions = subscriptions
        .map(|(index, draft)| draft.clone().made(&name, seed.subscription_id(index), time))
        .collect();
    (endpoint, subscriptions)
}

/// The answer to `validate_only`: nothing was made.
fn as_if(endpoint: Endpoint, subscriptions: Vec<Subscription>) -> CreatedEndpoint {
    CreatedEndpoint {
        view: EndpointView { endpoint, secrets: Vec::new(), health: Health::default() },
        subscriptions,
        secret: None,
    }
}

/// Whether only the time of the change tells the two apart.
fn is_same(old: &EndpointConfig, new: &EndpointConfig) -> bool {
    let update_time = old.endpoint.update_time;
    Endpoint { update_time, ..new.endpoint.clone() } == old.endpoint
}

fn changed(old: &EndpointConfig, draft: EndpointDraft, now: Timestamp) -> EndpointConfig {
    EndpointConfig {
        endpoint: Endpoint {
            display_name: draft.display_name,
            description: draft.description,
            url: draft.url,
            headers: draft.headers,
            policy: draft.policy,
            labels: draft.labels,
            update_time: now,
            ..old.endpoint.clone()
        },
        secrets: old.secrets.clone(),
    }
}
