//! Changes of tenants' configuration: read what the change is about, decide, and write it with the tenant's next revision if that is still the next one.

use domain::{
    EndpointId, EndpointUid, EventType, RegisteredType, Revision, Subscription, SubscriptionId,
    TenantId,
};
use ports::{Applied, EndpointConfig, Error, ErrorKind, Expect, StateChange, Tenant};
use scylla::value::{CqlTimestamp, CqlValue};
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{Mutex, MutexGuard};

use super::config::{ENDPOINT, SUBSCRIPTION, TABLE, UID};
use super::{Store, time, time_of, undecodable};
use crate::cql::{NewRow, Step};

/// Changes of others that one change gives way to before it says so.
const TRIES_MAX: usize = 32;
/// Locks that keep this process's own changes of one tenant from racing each other.
const TURNS: usize = 64;

/// A change of one tenant.
#[derive(Clone, Copy)]
pub(super) enum Change<'a> {
    PutEndpoint {
        config: &'a EndpointConfig,
        subscriptions: &'a [Subscription],
        expect: Expect,
    },
    DeleteEndpoint {
        endpoint: &'a EndpointId,
        expect: Expect,
    },
    SetState {
        uid: EndpointUid,
        change: StateChange,
    },
    PutSubscription {
        endpoint: &'a EndpointId,
        subscription: &'a SubscriptionId,
        to: Option<&'a Subscription>,
        expect: Expect,
    },
    PutType {
        event_type: &'a EventType,
        to: Option<&'a RegisteredType>,
        expect: Expect,
    },
}

/// Turns of this process: a tenant's changes go one after the other.
pub(super) struct Turns(Vec<Mutex<()>>);

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }

    async fn take(&self, tenant: &TenantId) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0);
        Some(self.0.get(turn)?.lock().await)
    }
}

/// What a look at the tenant decided.
pub(super) enum Decision {
    /// Nothing changes, for this reason.
    Refused(Applied),
    /// These rows change, with the revision.
    Write(Vec<Step>),
}

impl Store {
    pub(super) async fn add_tenant(&self, tenant: &Tenant) -> ports::Result<Applied> {
        let values = (tenant.display_name.as_str(), time(tenant.create_time), tenant.id.as_str());
        let is_new = self.cql.set_if(&self.config.create_tenant, values).await?;
        // Also when it exists: the call that made it may have ended before this.
        let rows: Vec<(Option<String>, Option<CqlTimestamp>)> =
            self.cql.read(&self.config.tenant, (tenant.id.as_str(),)).await?;
        let (name, made) = rows.into_iter().next().unwrap_or_default();
        let initial: String = tenant.id.as_str().chars().take(1).collect();
        let made = made.map_or(tenant.create_time, time_of);
        let values = (initial, tenant.id.as_str(), name.unwrap_or_default(), time(made));
        self.cql.write(&self.config.list_tenant, NewRow { values, bytes: 64 }).await?;
        Ok(if is_new { Applied::Done(Revision(1)) } else { Applied::Exists })
    }

    pub(super) async fn change(
        &self,
        tenant: &TenantId,
        change: Change<'_>,
    ) -> ports::Result<Applied> {
        let _turn = self.config.turns.take(tenant).await;
        for _ in 0..TRIES_MAX {
            // The revision first: what is read after it is as new or newer, and then the compare fails.
            let Some(now) = ports::ConfigStore::revision(self, tenant).await? else {
                return Ok(Applied::NotFound);
            };
            let next = Revision(now.0 + 1);
            let steps = match self.decide(tenant, change, next).await? {
                Decision::Refused(answer) => return Ok(answer),
                Decision::Write(steps) => steps,
            };
            let raise =
                self.config.raise.step(vec![number(next), text(tenant.as_str()), number(now)]);
            let all = std::iter::once(raise).chain(steps).collect();
            if self.cql.compare_and_set(TABLE, all).await? {
                return Ok(Applied::Done(next));
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the configuration of tenant {tenant} is being changed by too many at once"),
        ))
    }

    async fn decide(
        &self,
        tenant: &TenantId,
        change: Change<'_>,
        next: Revision,
    ) -> ports::Result<Decision> {
        match change {
            Change::PutEndpoint { config, subscriptions, expect } => {
                self.decide_put(config, subscriptions, expect, next).await
            }
            Change::DeleteEndpoint { endpoint, expect } => {
                self.decide_delete(tenant, endpoint, expect).await
            }
            Change::SetState { uid, change } => self.decide_state(tenant, uid, change, next).await,
            Change::PutSubscription { endpoint, subscription, to, expect } => {
                self.decide_subscription((tenant, endpoint, subscription), to, expect, next).await
            }
            Change::PutType { event_type, to, expect } => {
                self.decide_type((tenant, event_type), to, expect, next).await
            }
        }
    }

    async fn decide_put(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
        next: Revision,
    ) -> ports::Result<Decision> {
        let tenant = &config.endpoint.tenant;
        let stored = self.endpoint(tenant, &config.endpoint.id).await?;
        if let Some(refused) =
            expect.refuses(stored.as_ref().map(|stored| stored.endpoint.revision))
        {
            return Ok(Decision::Refused(refused));
        }
        let mut new = config.clone();
        new.endpoint.revision = next;
        let mut steps = Vec::new();
        match &stored {
            Some(old) => new.keep_what_is_not_configuration(old),
            None => {
                for subscription in subscriptions {
                    steps.push(self.put_subscription_row(&Subscription {
                        revision: next,
                        ..subscription.clone()
                    }));
                }
                let uid = new.endpoint.uid.uuid().simple().to_string();
                steps.push(self.put_row(tenant, UID, &uid, new.endpoint.id.as_str(), None));
            }
        }
        steps.push(self.put_endpoint_row(&new));
        Ok(Decision::Write(steps))
    }

    async fn decide_delete(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> ports::Result<Decision> {
        let Some(stored) = self.endpoint(tenant, endpoint).await? else {
            return Ok(Decision::Refused(Applied::NotFound));
        };
        if let Some(refused) = expect.refuses(Some(stored.endpoint.revision)) {
            return Ok(Decision::Refused(refused));
        }
        let uid = stored.endpoint.uid.uuid().simple().to_string();
        let mut steps = vec![
            self.delete_row(tenant, ENDPOINT, endpoint.as_str(), ""),
            self.delete_row(tenant, UID, &uid, endpoint.as_str()),
        ];
        for subscription in self.parts(tenant, SUBSCRIPTION, endpoint.as_str()).await? {
            steps.push(self.delete_row(tenant, SUBSCRIPTION, endpoint.as_str(), &subscription));
        }
        Ok(Decision::Write(steps))
    }

    async fn decide_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        change: StateChange,
        next: Revision,
    ) -> ports::Result<Decision> {
        let name = uid.uuid().simple().to_string();
        let ids = self.parts(tenant, UID, &name).await?;
        let id = ids.first().and_then(|id| EndpointId::parse(id).ok());
        let stored = match &id {
            Some(id) => self.endpoint(tenant, id).await?,
            None => None,
        };
        let Some(mut config) = stored.filter(|stored| stored.endpoint.uid == uid) else {
            return Ok(Decision::Refused(Applied::NotFound));
        };
        if config.endpoint.state != change.from {
            return Ok(Decision::Refused(Applied::Conflict));
        }
        config.endpoint.state = change.to;
        config.endpoint.state_time = change.time;
        config.endpoint.revision = next;
        Ok(Decision::Write(vec![self.put_endpoint_row(&config)]))
    }

    async fn decide_subscription(
        &self,
        (tenant, endpoint, subscription): (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
        next: Revision,
    ) -> ports::Result<Decision> {
        if self.endpoint(tenant, endpoint).await?.is_none() {
            return Ok(Decision::Refused(Applied::NotFound));
        }
        let body =
            self.body(tenant, SUBSCRIPTION, endpoint.as_str(), subscription.as_str()).await?;
        let stored = body
            .map(|body| codec::decode_subscription(&body))
            .transpose()
            .map_err(undecodable(TABLE))?;
        if stored.is_none() && to.is_none() {
            return Ok(Decision::Refused(Applied::NotFound));
        }
        if let Some(refused) = expect.refuses(stored.map(|stored| stored.revision)) {
            return Ok(Decision::Refused(refused));
        }
        let step = match to {
            Some(to) => self.put_subscription_row(&Subscription { revision: next, ..to.clone() }),
            None => self.delete_row(tenant, SUBSCRIPTION, endpoint.as_str(), subscription.as_str()),
        };
        Ok(Decision::Write(vec![step]))
    }

    async fn endpoint(
        &self,
        tenant: &TenantId,
        id: &EndpointId,
    ) -> ports::Result<Option<EndpointConfig>> {
        let body = self.body(tenant, ENDPOINT, id.as_str(), "").await?;
        body.map(|body| codec::decode_endpoint(&body)).transpose().map_err(undecodable(TABLE))
    }

    pub(super) async fn body(
        &self,
        tenant: &TenantId,
        kind: &str,
        name: &str,
        part: &str,
    ) -> ports::Result<Option<Vec<u8>>> {
        let key = (tenant.as_str(), kind, name, part);
        let rows: Vec<(Option<Vec<u8>>,)> = self.cql.read(&self.config.row, key).await?;
        Ok(rows.into_iter().next().and_then(|(body,)| body))
    }

    async fn parts(&self, tenant: &TenantId, kind: &str, name: &str) -> ports::Result<Vec<String>> {
        let rows: Vec<(String,)> =
            self.cql.read(&self.config.parts, (tenant.as_str(), kind, name)).await?;
        Ok(rows.into_iter().map(|(part,)| part).collect())
    }

    fn put_endpoint_row(&self, config: &EndpointConfig) -> Step {
        let endpoint = &config.endpoint;
        self.put_row(
            &endpoint.tenant,
            ENDPOINT,
            endpoint.id.as_str(),
            "",
            Some(codec::encode_endpoint(config)),
        )
    }

    fn put_subscription_row(&self, subscription: &Subscription) -> Step {
        let body = codec::encode_subscription(subscription);
        let (endpoint, id) = (subscription.endpoint.as_str(), subscription.id.as_str());
        self.put_row(&subscription.tenant, SUBSCRIPTION, endpoint, id, Some(body))
    }

    pub(super) fn put_row(
        &self,
        tenant: &TenantId,
        kind: &str,
        name: &str,
        part: &str,
        body: Option<Vec<u8>>,
    ) -> Step {
        // A look-up row has an empty body: a null would be a tombstone.
        let body = CqlValue::Blob(body.unwrap_or_default());
        self.config.put.step(vec![text(tenant.as_str()), text(kind), text(name), text(part), body])
    }

    pub(super) fn delete_row(&self, tenant: &TenantId, kind: &str, name: &str, part: &str) -> Step {
        self.config.delete.step(vec![text(tenant.as_str()), text(kind), text(name), text(part)])
    }
}

fn text(value: &str) -> CqlValue {
    CqlValue::Text(value.to_owned())
}

fn number(revision: Revision) -> CqlValue {
    CqlValue::BigInt(revision.0.cast_signed())
}
