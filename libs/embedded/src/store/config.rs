//! Tenants' configuration: the port, and reading.

use async_trait::async_trait;
use domain::{
    EndpointId, EndpointUid, Revision, Subscription, SubscriptionId, TenantId, Timestamp,
};
use ports::{Applied, ConfigStore, EndpointConfig, Expect, StateChange, Tenant, TenantConfig};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{Store, config_write as change, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

pub(super) const TENANTS: &str = "SELECT tenant, display_name, create_time FROM tenants
    WHERE tenant > ?1 ORDER BY tenant LIMIT ?2";
pub(super) const REVISION: &str = "SELECT revision FROM tenants WHERE tenant = ?1";
pub(super) const ENDPOINTS: &str = "SELECT body FROM endpoints WHERE tenant = ?1 ORDER BY endpoint";
pub(super) const SUBSCRIPTIONS: &str =
    "SELECT body FROM subscriptions WHERE tenant = ?1 ORDER BY endpoint, subscription";

#[async_trait]
impl ConfigStore for Store {
    async fn create_tenant(&self, tenant: &Tenant) -> ports::Result<Applied> {
        let tenant = tenant.clone();
        self.write(Cost::ONE, move |conn| change::create_tenant(conn, &tenant)).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> ports::Result<Vec<Tenant>> {
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        let list = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(TENANTS)?;
            let mut rows = statement.query(rusqlite::params![after, sql_limit(limit)])?;
            let mut tenants = Vec::new();
            while let Some(row) = rows.next()? {
                tenants.push(tenant_of(row)?);
            }
            Ok(tenants)
        };
        self.read(list).await
    }

    async fn revision(&self, tenant: &TenantId) -> ports::Result<Option<Revision>> {
        let tenant = tenant.clone();
        self.read(move |conn| revision(conn, &tenant)).await
    }

    async fn load(&self, tenant: &TenantId) -> ports::Result<Option<TenantConfig>> {
        let tenant = tenant.clone();
        self.read(move |conn| load(conn, &tenant)).await
    }

    async fn put_endpoint(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
    ) -> ports::Result<Applied> {
        let (config, subscriptions) = (config.clone(), subscriptions.to_vec());
        let put =
            move |conn: &Connection| change::put_endpoint(conn, config, subscriptions, expect);
        self.write(Cost::ONE, put).await
    }

    async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> ports::Result<Applied> {
        let (tenant, endpoint) = (tenant.clone(), endpoint.clone());
        let delete =
            move |conn: &Connection| change::delete_endpoint(conn, &tenant, &endpoint, expect);
        self.write(Cost::ONE, delete).await
    }

    async fn set_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        to: StateChange,
    ) -> ports::Result<Applied> {
        let tenant = tenant.clone();
        let set = move |conn: &Connection| change::set_state(conn, &tenant, uid, to);
        self.write(Cost::ONE, set).await
    }

    async fn put_subscription(
        &self,
        (tenant, endpoint, subscription): (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        let name = change::SubscriptionName {
            tenant: tenant.clone(),
            endpoint: endpoint.clone(),
            subscription: subscription.clone(),
        };
        let to = to.cloned();
        let put = move |conn: &Connection| change::put_subscription(conn, &name, to, expect);
        self.write(Cost::ONE, put).await
    }
}

pub(super) fn revision(conn: &Connection, tenant: &TenantId) -> Result<Option<Revision>, Fault> {
    let found: Option<i64> =
        conn.prepare_cached(REVISION)?.query_row([tenant.as_str()], |row| row.get(0)).optional()?;
    Ok(found.map(|revision| Revision(revision.cast_unsigned())))
}

/// Everything of a tenant as of one moment.
fn load(conn: &Connection, tenant: &TenantId) -> Result<Option<TenantConfig>, Fault> {
    let snapshot = conn.unchecked_transaction()?;
    let Some(revision) = revision(&snapshot, tenant)? else {
        return Ok(None);
    };
    let config = TenantConfig {
        revision,
        endpoints: bodies(&snapshot, ENDPOINTS, tenant, codec::decode_endpoint)?,
        subscriptions: bodies(&snapshot, SUBSCRIPTIONS, tenant, codec::decode_subscription)?,
    };
    snapshot.commit()?;
    Ok(Some(config))
}

fn bodies<T>(
    conn: &Connection,
    sql: &str,
    tenant: &TenantId,
    decode: impl Fn(&[u8]) -> Result<T, codec::Damaged>,
) -> Result<Vec<T>, Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([tenant.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_blob().map_err(|_| odd("configuration"))?;
        found.push(decode(body)?);
    }
    Ok(found)
}

fn tenant_of(row: &Row<'_>) -> Result<Tenant, Fault> {
    let id = row.get_ref(0)?.as_str().map_err(|_| odd("tenant"))?;
    Ok(Tenant {
        id: TenantId::parse(id).map_err(|_| odd("tenant"))?,
        display_name: row.get(1)?,
        create_time: Timestamp::from_millis(row.get(2)?),
    })
}
