//! Changes of tenants' configuration. Each runs alone on the writer: reading and then writing is the compare-and-set.

use domain::{EndpointId, EndpointUid, Revision, Subscription, SubscriptionId, TenantId};
use ports::{Applied, EndpointConfig, Expect, StateChange, Tenant};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{config, odd};
use crate::error::Fault;

pub(super) const CREATE_TENANT: &str =
    "INSERT INTO tenants(tenant, display_name, create_time, revision)
    VALUES (?1, ?2, ?3, 1) ON CONFLICT(tenant) DO NOTHING";
pub(super) const RAISE: &str =
    "UPDATE tenants SET revision = revision + 1 WHERE tenant = ?1 RETURNING revision";
pub(super) const ENDPOINT: &str = "SELECT body FROM endpoints WHERE tenant = ?1 AND endpoint = ?2";
pub(super) const ENDPOINT_BY_UID: &str = "SELECT body FROM endpoints WHERE uid = ?1";
pub(super) const PUT_ENDPOINT: &str = "INSERT INTO endpoints(tenant, endpoint, uid, revision, body)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT(tenant, endpoint) DO UPDATE SET revision = excluded.revision, body = excluded.body";
pub(super) const DELETE_ENDPOINT: &str =
    "DELETE FROM endpoints WHERE tenant = ?1 AND endpoint = ?2";
pub(super) const DELETE_SUBSCRIPTIONS: &str =
    "DELETE FROM subscriptions WHERE tenant = ?1 AND endpoint = ?2";
pub(super) const SUBSCRIPTION_REVISION: &str = "SELECT revision FROM subscriptions
    WHERE tenant = ?1 AND endpoint = ?2 AND subscription = ?3";
pub(super) const PUT_SUBSCRIPTION: &str = "INSERT INTO subscriptions
    (tenant, endpoint, subscription, revision, body) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT(tenant, endpoint, subscription) DO UPDATE SET revision = excluded.revision, body = excluded.body";
pub(super) const DELETE_SUBSCRIPTION: &str = "DELETE FROM subscriptions
    WHERE tenant = ?1 AND endpoint = ?2 AND subscription = ?3";

/// A subscription's full name.
pub(super) struct SubscriptionName {
    pub(super) tenant: TenantId,
    pub(super) endpoint: EndpointId,
    pub(super) subscription: SubscriptionId,
}

pub(super) fn create_tenant(conn: &Connection, tenant: &Tenant) -> Result<Applied, Fault> {
    let created = conn.prepare_cached(CREATE_TENANT)?.execute(params![
        tenant.id.as_str(),
        tenant.display_name,
        tenant.create_time.as_millis()
    ])?;
    Ok(if created == 0 { Applied::Exists } else { Applied::Done(Revision(1)) })
}

pub(super) fn put_endpoint(
    conn: &Connection,
    mut config: EndpointConfig,
    subscriptions: Vec<Subscription>,
    expect: Expect,
) -> Result<Applied, Fault> {
    let tenant = config.endpoint.tenant.clone();
    if config::revision(conn, &tenant)?.is_none() {
        return Ok(Applied::NotFound);
    }
    let stored = endpoint(conn, &tenant, &config.endpoint.id)?;
    if let Some(refused) = expect.refuses(stored.as_ref().map(|s| s.endpoint.revision)) {
        return Ok(refused);
    }
    let revision = raise(conn, &tenant)?;
    config.endpoint.revision = revision;
    match stored {
        Some(stored) => config.keep_what_is_not_configuration(&stored),
        None => {
            for mut subscription in subscriptions {
                subscription.revision = revision;
                write_subscription(conn, &subscription)?;
            }
        }
    }
    write_endpoint(conn, &config)?;
    Ok(Applied::Done(revision))
}

pub(super) fn delete_endpoint(
    conn: &Connection,
    tenant: &TenantId,
    id: &EndpointId,
    expect: Expect,
) -> Result<Applied, Fault> {
    let Some(stored) = endpoint(conn, tenant, id)? else {
        return Ok(Applied::NotFound);
    };
    if let Some(refused) = expect.refuses(Some(stored.endpoint.revision)) {
        return Ok(refused);
    }
    for sql in [DELETE_ENDPOINT, DELETE_SUBSCRIPTIONS] {
        conn.prepare_cached(sql)?.execute([tenant.as_str(), id.as_str()])?;
    }
    raise(conn, tenant).map(Applied::Done)
}

pub(super) fn set_state(
    conn: &Connection,
    tenant: &TenantId,
    uid: EndpointUid,
    change: StateChange,
) -> Result<Applied, Fault> {
    let stored = read_endpoint(conn, ENDPOINT_BY_UID, params![uid.as_bytes()])?;
    let Some(mut config) = stored.filter(|config| config.endpoint.tenant == *tenant) else {
        return Ok(Applied::NotFound);
    };
    if config.endpoint.state != change.from {
        return Ok(Applied::Conflict);
    }
    let revision = raise(conn, tenant)?;
    config.endpoint.state = change.to;
    config.endpoint.state_time = change.time;
    config.endpoint.revision = revision;
    write_endpoint(conn, &config)?;
    Ok(Applied::Done(revision))
}

pub(super) fn put_subscription(
    conn: &Connection,
    name: &SubscriptionName,
    to: Option<Subscription>,
    expect: Expect,
) -> Result<Applied, Fault> {
    if endpoint(conn, &name.tenant, &name.endpoint)?.is_none() {
        return Ok(Applied::NotFound);
    }
    let key = [name.tenant.as_str(), name.endpoint.as_str(), name.subscription.as_str()];
    let stored: Option<i64> =
        conn.prepare_cached(SUBSCRIPTION_REVISION)?.query_row(key, |row| row.get(0)).optional()?;
    let stored = stored.map(|revision| Revision(revision.cast_unsigned()));
    if stored.is_none() && to.is_none() {
        return Ok(Applied::NotFound);
    }
    if let Some(refused) = expect.refuses(stored) {
        return Ok(refused);
    }
    let revision = raise(conn, &name.tenant)?;
    match to {
        None => {
            conn.prepare_cached(DELETE_SUBSCRIPTION)?.execute(key)?;
        }
        Some(mut subscription) => {
            subscription.revision = revision;
            write_subscription(conn, &subscription)?;
        }
    }
    Ok(Applied::Done(revision))
}

pub(super) fn raise(conn: &Connection, tenant: &TenantId) -> Result<Revision, Fault> {
    let raised: i64 = conn.prepare_cached(RAISE)?.query_row([tenant.as_str()], |row| row.get(0))?;
    Ok(Revision(raised.cast_unsigned()))
}

fn endpoint(
    conn: &Connection,
    tenant: &TenantId,
    id: &EndpointId,
) -> Result<Option<EndpointConfig>, Fault> {
    read_endpoint(conn, ENDPOINT, params![tenant.as_str(), id.as_str()])
}

fn read_endpoint(
    conn: &Connection,
    sql: &str,
    key: impl rusqlite::Params,
) -> Result<Option<EndpointConfig>, Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(key)?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let body = row.get_ref(0)?.as_blob().map_err(|_| odd("endpoint"))?;
    Ok(Some(codec::decode_endpoint(body)?))
}

fn write_endpoint(conn: &Connection, config: &EndpointConfig) -> Result<(), Fault> {
    let endpoint = &config.endpoint;
    conn.prepare_cached(PUT_ENDPOINT)?.execute(params![
        endpoint.tenant.as_str(),
        endpoint.id.as_str(),
        endpoint.uid.as_bytes(),
        endpoint.revision.0.cast_signed(),
        codec::encode_endpoint(config)
    ])?;
    Ok(())
}

fn write_subscription(conn: &Connection, subscription: &Subscription) -> Result<(), Fault> {
    conn.prepare_cached(PUT_SUBSCRIPTION)?.execute(params![
        subscription.tenant.as_str(),
        subscription.endpoint.as_str(),
        subscription.id.as_str(),
        subscription.revision.0.cast_signed(),
        codec::encode_subscription(subscription)
    ])?;
    Ok(())
}
