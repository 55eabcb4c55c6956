//! Subscriptions of an endpoint.

use std::sync::Arc;

use domain::{
    EndpointUid, EventPattern, Revision, Subscription, SubscriptionId, Timestamp, limits,
};
use ports::{Applied, Expect, TenantConfig};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::endpoint_state::TRIES_MAX;
use super::endpoints::check_etag;
use super::page::ListName;
use super::tenants::find_endpoint;
use super::{App, EndpointName, Error, Page, PageRequest, RequestId, Seed, SubscriptionName};

/// What a caller may set of a subscription; valid in itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubscriptionDraft {
    /// 1 to [`limits::PATTERNS_MAX`].
    pub(crate) event_types: Vec<EventPattern>,
    /// Empty: none.
    pub(crate) filter: String,
    pub(crate) channels: Vec<Arc<str>>,
}

/// A subscription as callers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SubscriptionView {
    pub(crate) uid: Uuid,
    pub(crate) subscription: Subscription,
}

/// A call of `CreateSubscription`.
#[derive(Debug)]
pub(crate) struct CreateSubscription {
    pub(crate) endpoint: EndpointName,
    pub(crate) id: Option<SubscriptionId>,
    pub(crate) draft: SubscriptionDraft,
    pub(crate) request: Option<RequestId>,
    pub(crate) validate_only: bool,
}

impl SubscriptionDraft {
    pub(crate) fn of(subscription: &Subscription) -> Self {
        Self {
            event_types: subscription.event_types.clone(),
            filter: subscription.filter.clone(),
            channels: subscription.channels.clone(),
        }
    }

    pub(crate) fn made(
        self,
        endpoint: &EndpointName,
        id: SubscriptionId,
        time: Timestamp,
    ) -> Subscription {
        Subscription {
            tenant: endpoint.tenant.clone(),
            endpoint: endpoint.endpoint.clone(),
            id,
            event_types: self.event_types,
            filter: self.filter,
            channels: self.channels,
            create_time: time,
            update_time: time,
            revision: Revision::default(),
        }
    }
}

impl SubscriptionView {
    /// The uid is a function of the endpoint's uid, the id and the time of the create: new at each create, and nothing to store.
    pub(crate) fn new(endpoint: EndpointUid, subscription: Subscription) -> Self {
        let digest = Sha256::new()
            .chain_update(endpoint.as_bytes())
            .chain_update(subscription.create_time.as_millis().to_be_bytes())
            .chain_update(subscription.id.as_str())
            .finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self { uid: uuid::Builder::from_custom_bytes(bytes).into_uuid(), subscription }
    }
}

impl App {
    /// Makes a subscription.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::QuotaExceeded`].
    pub(crate) async fn create_subscription(
        &self,
        call: CreateSubscription,
    ) -> Result<SubscriptionView, Error> {
        let tenant = self.tenant(&call.endpoint.tenant).await?;
        let endpoint = find_endpoint(&tenant, &call.endpoint)?.endpoint.uid;
        let seed = if call.validate_only {
            Seed::new(&*self.deps.clock, &*self.deps.rng)
        } else {
            self.seed(&call.endpoint.tenant, call.request.as_ref()).await?
        };
        let is_repeatable = call.request.is_some();
        let id = call.id.unwrap_or_else(|| seed.subscription_id(0));
        let mut made = call.draft.made(&call.endpoint, id, seed.time());
        let name = name_of(&made);
        if let Some(found) = find(&tenant, &name) {
            return repeated(endpoint, found, &made, is_repeatable);
        }
        check_quota(&tenant, &call.endpoint)?;
        if call.validate_only {
            return Ok(SubscriptionView::new(endpoint, made));
        }
        match self.put(&name, Some(&made), Expect::Absent).await? {
            Applied::Done(revision) => {
                made.revision = revision;
                Ok(SubscriptionView::new(endpoint, made))
            }
            Applied::Exists | Applied::Conflict => {
                let found = self.get_subscription(&name).await?;
                repeated(endpoint, &found.subscription, &made, is_repeatable)
            }
            Applied::NotFound => Err(Error::NotFound(call.endpoint.to_string())),
        }
    }

    /// Reads one.
    pub(crate) async fn get_subscription(
        &self,
        name: &SubscriptionName,
    ) -> Result<SubscriptionView, Error> {
        let tenant = self.tenant(&name.endpoint.tenant).await?;
        let endpoint = find_endpoint(&tenant, &name.endpoint)?.endpoint.uid;
        let found = find(&tenant, name).ok_or_else(|| Error::NotFound(name.to_string()))?;
        Ok(SubscriptionView::new(endpoint, found.clone()))
    }

    /// Lists those of an endpoint, newest first.
    pub(crate) async fn list_subscriptions(
        &self,
        parent: &EndpointName,
        page: &PageRequest,
    ) -> Result<Page<SubscriptionView>, Error> {
        let parent_text = parent.to_string();
        let list = ListName(&["subscriptions", &parent_text]);
        let after: Option<(i64, String)> = self.open_token(&list, &page.token)?;
        let tenant = self.tenant(&parent.tenant).await?;
        let endpoint = find_endpoint(&tenant, parent)?.endpoint.uid;
        let mut all: Vec<&Subscription> = of_endpoint(&tenant, parent).collect();
        all.sort_by(|a, b| key_of(b).cmp(&key_of(a)));
        let mut rest = all.into_iter().filter(|subscription| {
            after.as_ref().is_none_or(|after| key_of(subscription) < (after.0, after.1.as_str()))
        });
        let chosen: Vec<&Subscription> = rest.by_ref().take(page.size).collect();
        let next = match (rest.next(), chosen.last()) {
            (Some(_), Some(last)) => self.make_token(&list, &key_of(last)),
            (None, _) | (_, None) => String::new(),
        };
        let items = chosen
            .into_iter()
            .map(|subscription| SubscriptionView::new(endpoint, subscription.clone()))
            .collect();
        Ok(Page { items, next })
    }

    /// Changes one: `change` turns what is set now into what shall be.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::EtagMismatch`].
    pub(crate) async fn update_subscription<F>(
        &self,
        name: &SubscriptionName,
        change: F,
        etag: &str,
        (request, validate_only): (Option<&RequestId>, bool),
    ) -> Result<SubscriptionView, Error>
    where
        F: Fn(SubscriptionDraft) -> Result<SubscriptionDraft, Error> + Send + Sync,
    {
        let tenant = &name.endpoint.tenant;
        self.tenant(tenant).await?;
        if !validate_only && self.was_done(tenant, request).await? {
            return self.get_subscription(name).await;
        }
        for _ in 0..TRIES_MAX {
            let mut view = self.get_subscription(name).await?;
            let old = view.subscription.revision;
            check_etag(name, etag, old)?;
            let before = SubscriptionDraft::of(&view.subscription);
            let draft = change(before.clone())?;
            if draft == before {
                // Nothing is written, so that etag and time stay.
                if !validate_only {
                    self.note_done(tenant, request).await?;
                }
                return Ok(view);
            }
            view.subscription.event_types = draft.event_types;
            view.subscription.filter = draft.filter;
            view.subscription.channels = draft.channels;
            view.subscription.update_time = self.deps.clock.now();
            if validate_only {
                return Ok(view);
            }
            let applied = self.put(name, Some(&view.subscription), Expect::At(old)).await?;
            match applied {
                Applied::Done(revision) => {
                    view.subscription.revision = revision;
                    self.note_done(tenant, request).await?;
                    return Ok(view);
                }
                Applied::Conflict | Applied::Exists => {}
                Applied::NotFound => return Err(Error::NotFound(name.to_string())),
            }
        }
        Err(Error::Contended(name.to_string()))
    }

    /// Deletes one. What it matched before goes on.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`].
    pub(crate) async fn delete_subscription(
        &self,
        name: &SubscriptionName,
        etag: &str,
        request: Option<&RequestId>,
    ) -> Result<(), Error> {
        let tenant = &name.endpoint.tenant;
        self.tenant(tenant).await?;
        if self.was_done(tenant, request).await? {
            return Ok(());
        }
        let found = self.get_subscription(name).await?.subscription;
        check_etag(name, etag, found.revision)?;
        let expect = if etag.is_empty() { Expect::Present } else { Expect::At(found.revision) };
        match self.put(name, None, expect).await? {
            Applied::Done(_) => self.note_done(tenant, request).await,
            Applied::Conflict | Applied::Exists => Err(Error::EtagMismatch(name.to_string())),
            Applied::NotFound => Err(Error::NotFound(name.to_string())),
        }
    }

    async fn put(
        &self,
        name: &SubscriptionName,
        to: Option<&Subscription>,
        expect: Expect,
    ) -> Result<Applied, Error> {
        let tenant = &name.endpoint.tenant;
        let key = (tenant, &name.endpoint.endpoint, &name.subscription);
        let applied = self.deps.config.put_subscription(key, to, expect).await?;
        if let Applied::Done(revision) = applied {
            self.hint_tenant(tenant, revision).await;
        }
        Ok(applied)
    }
}

fn key_of(subscription: &Subscription) -> (i64, &str) {
    let time = subscription.create_time.as_millis();
    (time, subscription.id.as_str())
}

pub(crate) fn name_of(subscription: &Subscription) -> SubscriptionName {
    SubscriptionName {
        endpoint: EndpointName {
            tenant: subscription.tenant.clone(),
            endpoint: subscription.endpoint.clone(),
        },
        subscription: subscription.id.clone(),
    }
}

fn of_endpoint<'c>(
    tenant: &'c TenantConfig,
    endpoint: &'c EndpointName,
) -> impl Iterator<Item = &'c Subscription> {
    let all = tenant.subscriptions.iter();
    all.filter(|subscription| subscription.endpoint == endpoint.endpoint)
}

fn find<'c>(tenant: &'c TenantConfig, name: &'c SubscriptionName) -> Option<&'c Subscription> {
    of_endpoint(tenant, &name.endpoint).find(|found| found.id == name.subscription)
}

fn check_quota(tenant: &TenantConfig, endpoint: &EndpointName) -> Result<(), Error> {
    if of_endpoint(tenant, endpoint).count() < limits::SUBSCRIPTIONS_MAX {
        return Ok(());
    }
    Err(Error::QuotaExceeded {
        what: endpoint.to_string(),
        max: limits::SUBSCRIPTIONS_MAX,
        of: "subscriptions",
    })
}

/// The answer to a create whose id is taken: the same again when a call with the same request id took it, which its time tells.
fn repeated(
    endpoint: EndpointUid,
    found: &Subscription,
    ours: &Subscription,
    is_repeatable: bool,
) -> Result<SubscriptionView, Error> {
    if !is_repeatable || found.create_time != ours.create_time {
        return Err(Error::AlreadyExists(name_of(ours).to_string()));
    }
    Ok(SubscriptionView::new(endpoint, found.clone()))
}
