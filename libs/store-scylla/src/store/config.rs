//! Tenants' configuration: the port, and reading.

use async_trait::async_trait;
use domain::{EndpointId, EndpointUid, Revision, Subscription, SubscriptionId, TenantId};
use ports::{
    Applied, ConfigStore, EndpointConfig, Error, ErrorKind, Expect, StateChange, Tenant,
    TenantConfig,
};
use scylla::response::PagingState;
use scylla::value::CqlTimestamp;

use super::config_write::{Change, Turns};
use super::{Store, cql_limit, odd, time_of, undecodable};
use crate::cql::{Cql, Statement};
use crate::error::OpenError;

pub(super) const TABLE: &str = "config";
const TENANTS: &str = "tenants";
const REVISION: &str = "SELECT revision FROM config WHERE tenant = ? LIMIT 1";
/// Without the rows of kinds from `type` on: registered types, whose schemas are large, and look-ups.
const WHOLE: &str = "SELECT revision, kind, body FROM config WHERE tenant = ? AND kind < 'type'";
const TYPES: &str =
    "SELECT body FROM config WHERE tenant = ? AND kind = 'type' AND name > ? LIMIT ?";
const ROW: &str = "SELECT body FROM config WHERE tenant = ? AND kind = ? AND name = ? AND part = ?";
const PARTS: &str = "SELECT part FROM config WHERE tenant = ? AND kind = ? AND name = ?";
const TENANT: &str = "SELECT display_name, create_time FROM config WHERE tenant = ? LIMIT 1";
const CREATE_TENANT: &str = "UPDATE config SET revision = 1, display_name = ?, create_time = ? WHERE tenant = ? IF revision = null";
const RAISE: &str = "UPDATE config SET revision = ? WHERE tenant = ? IF revision = ?";
const PUT: &str = "INSERT INTO config (tenant, kind, name, part, body) VALUES (?, ?, ?, ?, ?)";
const DELETE: &str = "DELETE FROM config WHERE tenant = ? AND kind = ? AND name = ? AND part = ?";
const LIST_TENANT: &str =
    "INSERT INTO tenants (initial, tenant, display_name, create_time) VALUES (?, ?, ?, ?)";
const TENANTS_AFTER: &str = "SELECT tenant, display_name, create_time FROM tenants WHERE initial = ? AND tenant > ? LIMIT ?";

/// Kinds of rows.
pub(super) const ENDPOINT: &str = "endpoint";
pub(super) const SUBSCRIPTION: &str = "subscription";
pub(super) const TYPE: &str = "type";
pub(super) const TYPE_SCHEMAS: &str = "type_schemas";
pub(super) const UID: &str = "uid";

/// Reads of a tenant that changed meanwhile and are begun again.
const READS_MAX: usize = 8;
/// First characters of tenants' ids (AIP-122).
const INITIALS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

pub(super) struct Statements {
    revision: Statement,
    whole: Statement,
    pub(super) types: Statement,
    pub(super) row: Statement,
    pub(super) parts: Statement,
    pub(super) tenant: Statement,
    pub(super) create_tenant: Statement,
    pub(super) raise: Statement,
    pub(super) put: Statement,
    pub(super) delete: Statement,
    pub(super) list_tenant: Statement,
    tenants_after: Statement,
    pub(super) turns: Turns,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            revision: cql.prepare(TABLE, REVISION).await?,
            whole: cql.prepare(TABLE, WHOLE).await?,
            types: cql.prepare(TABLE, TYPES).await?,
            row: cql.prepare(TABLE, ROW).await?,
            parts: cql.prepare(TABLE, PARTS).await?,
            tenant: cql.prepare(TABLE, TENANT).await?,
            create_tenant: cql.prepare_cas(TABLE, CREATE_TENANT).await?,
            raise: cql.prepare_cas(TABLE, RAISE).await?,
            put: cql.prepare(TABLE, PUT).await?,
            delete: cql.prepare(TABLE, DELETE).await?,
            list_tenant: cql.prepare(TENANTS, LIST_TENANT).await?,
            tenants_after: cql.prepare(TENANTS, TENANTS_AFTER).await?,
            turns: Turns::new(),
        })
    }
}

#[async_trait]
impl ConfigStore for Store {
    async fn create_tenant(&self, tenant: &Tenant) -> ports::Result<Applied> {
        self.add_tenant(tenant).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> ports::Result<Vec<Tenant>> {
        let after = after.map_or("", TenantId::as_str);
        let first = after.bytes().next().unwrap_or(0);
        let mut tenants = Vec::new();
        for initial in INITIALS.iter().filter(|initial| **initial >= first) {
            if tenants.len() >= limit {
                break;
            }
            let key = (
                char::from(*initial).to_string(),
                after.to_owned(),
                cql_limit(limit - tenants.len()),
            );
            let rows: Vec<(String, Option<String>, CqlTimestamp)> =
                self.cql.read(&self.config.tenants_after, key).await?;
            for (id, display_name, create_time) in rows {
                tenants.push(Tenant {
                    id: TenantId::parse(&id).map_err(|_| odd(TENANTS))?,
                    display_name: display_name.unwrap_or_default(),
                    create_time: time_of(create_time),
                });
            }
        }
        Ok(tenants)
    }

    async fn revision(&self, tenant: &TenantId) -> ports::Result<Option<Revision>> {
        let rows: Vec<(Option<i64>,)> =
            self.cql.read(&self.config.revision, (tenant.as_str(),)).await?;
        Ok(rows.into_iter().next().and_then(|(revision,)| revision_of(revision)))
    }

    async fn load(&self, tenant: &TenantId) -> ports::Result<Option<TenantConfig>> {
        let mut empty_at = None;
        for _ in 0..READS_MAX {
            match self.read_whole(tenant).await? {
                Whole::Nothing => {
                    // No row says the revision of a tenant that has neither: it is read before both are looked for once more (CS-3).
                    if let Some(revision) = empty_at {
                        return Ok(Some(TenantConfig::empty(revision)));
                    }
                    empty_at = self.revision(tenant).await?;
                    if empty_at.is_none() {
                        return Ok(None);
                    }
                }
                Whole::Read(config) => return Ok(Some(config)),
                Whole::Changed => empty_at = None,
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("the configuration of tenant {tenant} changes faster than it is read"),
        ))
    }

    async fn put_endpoint(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
    ) -> ports::Result<Applied> {
        let tenant = config.endpoint.tenant.clone();
        self.change(&tenant, Change::PutEndpoint { config, subscriptions, expect }).await
    }

    async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.change(tenant, Change::DeleteEndpoint { endpoint, expect }).await
    }

    async fn set_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        change: StateChange,
    ) -> ports::Result<Applied> {
        self.change(tenant, Change::SetState { uid, change }).await
    }

    async fn put_subscription(
        &self,
        (tenant, endpoint, subscription): (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.change(tenant, Change::PutSubscription { endpoint, subscription, to, expect }).await
    }
}

/// How reading a tenant went.
enum Whole {
    Nothing,
    Read(TenantConfig),
    /// It changed between two pages.
    Changed,
}

type WholeRow = (Option<i64>, Option<String>, Option<Vec<u8>>);

impl Store {
    /// Reads a tenant's partition. One page is one moment; of several, the revision tells whether anything changed in between.
    async fn read_whole(&self, tenant: &TenantId) -> ports::Result<Whole> {
        let mut config: Option<TenantConfig> = None;
        let mut at = PagingState::start();
        loop {
            let (rows, more) =
                self.cql.read_page::<WholeRow>(&self.config.whole, (tenant.as_str(),), at).await?;
            for (revision, kind, body) in rows {
                let Some(revision) = revision_of(revision) else {
                    return Ok(Whole::Nothing);
                };
                let config = config.get_or_insert_with(|| TenantConfig::empty(revision));
                if config.revision != revision {
                    return Ok(Whole::Changed);
                }
                take(config, kind.as_deref(), body.as_deref())?;
            }
            match more {
                Some(state) => at = state,
                None => return Ok(config.map_or(Whole::Nothing, Whole::Read)),
            }
        }
    }
}

/// A tenant exists once it has a revision.
pub(super) fn revision_of(column: Option<i64>) -> Option<Revision> {
    column.map(|revision| Revision(revision.cast_unsigned()))
}

fn take(config: &mut TenantConfig, kind: Option<&str>, body: Option<&[u8]>) -> ports::Result<()> {
    match (kind, body) {
        (Some(ENDPOINT), Some(body)) => {
            config.endpoints.push(codec::decode_endpoint(body).map_err(undecodable(TABLE))?);
        }
        (Some(SUBSCRIPTION), Some(body)) => {
            config
                .subscriptions
                .push(codec::decode_subscription(body).map_err(undecodable(TABLE))?);
        }
        // The row of a tenant that has nothing yet.
        _ => {}
    }
    Ok(())
}
