//! Registered event types. Each change runs alone on the writer: reading and then writing is the compare-and-set.

use async_trait::async_trait;
use domain::{EventType, RegisteredType, Revision, TenantId, TypeEntry};
use ports::{Applied, EventTypeStore, Expect};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, config, config_write, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

pub(super) const GET: &str =
    "SELECT body, schemas FROM event_types WHERE tenant = ?1 AND event_type = ?2";
pub(super) const LIST: &str = "SELECT body FROM event_types
    WHERE tenant = ?1 AND event_type > ?2 ORDER BY event_type LIMIT ?3";
pub(super) const TYPE_REVISION: &str =
    "SELECT revision FROM event_types WHERE tenant = ?1 AND event_type = ?2";
pub(super) const PUT: &str = "INSERT INTO event_types(tenant, event_type, revision, body, schemas)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT(tenant, event_type)
    DO UPDATE SET revision = excluded.revision, body = excluded.body, schemas = excluded.schemas";
pub(super) const DELETE: &str = "DELETE FROM event_types WHERE tenant = ?1 AND event_type = ?2";

#[async_trait]
impl EventTypeStore for Store {
    async fn get(
        &self,
        tenant: &TenantId,
        event_type: &EventType,
    ) -> ports::Result<Option<RegisteredType>> {
        let (tenant, event_type) = (tenant.clone(), event_type.clone());
        self.read(move |conn| get(conn, &tenant, &event_type)).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&EventType>,
        limit: usize,
    ) -> ports::Result<Vec<TypeEntry>> {
        let tenant = tenant.clone();
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        let list = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(LIST)?;
            let mut rows = statement.query(params![tenant.as_str(), after, sql_limit(limit)])?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                let body = row.get_ref(0)?.as_blob().map_err(|_| odd("event type"))?;
                entries.push(codec::decode_type_entry(body)?);
            }
            Ok(entries)
        };
        self.read(list).await
    }

    async fn put(
        &self,
        (tenant, event_type): (&TenantId, &EventType),
        to: Option<&RegisteredType>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        let (tenant, event_type, to) = (tenant.clone(), event_type.clone(), to.cloned());
        let put = move |conn: &Connection| put(conn, (&tenant, &event_type), to, expect);
        self.write(Cost::ONE, put).await
    }
}

fn get(
    conn: &Connection,
    tenant: &TenantId,
    event_type: &EventType,
) -> Result<Option<RegisteredType>, Fault> {
    let mut statement = conn.prepare_cached(GET)?;
    let mut rows = statement.query([tenant.as_str(), event_type.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let blob = |column: usize| row.get_ref(column)?.as_blob().map_err(|_| odd("event type"));
    let entry = codec::decode_type_entry(blob(0)?)?;
    let (_, schemas) = codec::decode_schemas(blob(1)?)?;
    Ok(Some(RegisteredType { entry, schemas }))
}

fn put(
    conn: &Connection,
    (tenant, event_type): (&TenantId, &EventType),
    to: Option<RegisteredType>,
    expect: Expect,
) -> Result<Applied, Fault> {
    if config::revision(conn, tenant)?.is_none() {
        return Ok(Applied::NotFound);
    }
    let key = [tenant.as_str(), event_type.as_str()];
    let stored: Option<i64> =
        conn.prepare_cached(TYPE_REVISION)?.query_row(key, |row| row.get(0)).optional()?;
    let stored = stored.map(|revision| Revision(revision.cast_unsigned()));
    if stored.is_none() && to.is_none() {
        return Ok(Applied::NotFound);
    }
    if let Some(refused) = expect.refuses(stored) {
        return Ok(refused);
    }
    let revision = config_write::raise(conn, tenant)?;
    match to {
        None => {
            conn.prepare_cached(DELETE)?.execute(key)?;
        }
        Some(mut to) => {
            to.entry.revision = revision;
            let body = codec::encode_type_entry(&to.entry);
            let schemas = codec::encode_schemas(revision, &to.schemas);
            let values = params![
                tenant.as_str(),
                event_type.as_str(),
                revision.0.cast_signed(),
                body,
                schemas
            ];
            conn.prepare_cached(PUT)?.execute(values)?;
        }
    }
    Ok(Applied::Done(revision))
}
