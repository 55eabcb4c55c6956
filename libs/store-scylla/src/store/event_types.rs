//! Registered event types: rows of the tenant's configuration, so that they change with its revision. A type's entry and its schemas are a row each, since
//! lists show entries alone; both have the type's revision.

use async_trait::async_trait;
use domain::{EventType, RegisteredType, Revision, TenantId, TypeEntry};
use ports::{Applied, Error, ErrorKind, EventTypeStore, Expect};

use super::config::{TABLE, TYPE, TYPE_SCHEMAS};
use super::config_write::{Change, Decision};
use super::{Store, cql_limit, undecodable};

/// Reads of a type that changed meanwhile and are begun again.
const READS_MAX: usize = 8;

#[async_trait]
impl EventTypeStore for Store {
    async fn get(
        &self,
        tenant: &TenantId,
        event_type: &EventType,
    ) -> ports::Result<Option<RegisteredType>> {
        for _ in 0..READS_MAX {
            let Some(entry) = self.type_entry(tenant, event_type).await? else {
                return Ok(None);
            };
            let schemas = self.body(tenant, TYPE_SCHEMAS, event_type.as_str(), "").await?;
            let schemas = schemas.map(|body| codec::decode_schemas(&body)).transpose();
            if let Some((revision, schemas)) = schemas.map_err(undecodable(TABLE))?
                && revision == entry.revision
            {
                return Ok(Some(RegisteredType { entry, schemas }));
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "the event type {event_type} of tenant {tenant} changes faster than it is read"
            ),
        ))
    }

    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&EventType>,
        limit: usize,
    ) -> ports::Result<Vec<TypeEntry>> {
        let after = after.map_or("", EventType::as_str);
        let values = (tenant.as_str(), after, cql_limit(limit));
        let rows: Vec<(Vec<u8>,)> = self.cql.read(&self.config.types, values).await?;
        let entries =
            rows.iter().map(|(body,)| codec::decode_type_entry(body).map_err(undecodable(TABLE)));
        entries.collect()
    }

    async fn put(
        &self,
        (tenant, event_type): (&TenantId, &EventType),
        to: Option<&RegisteredType>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.change(tenant, Change::PutType { event_type, to, expect }).await
    }
}

impl Store {
    async fn type_entry(
        &self,
        tenant: &TenantId,
        event_type: &EventType,
    ) -> ports::Result<Option<TypeEntry>> {
        let body = self.body(tenant, TYPE, event_type.as_str(), "").await?;
        body.map(|body| codec::decode_type_entry(&body)).transpose().map_err(undecodable(TABLE))
    }

    pub(super) async fn decide_type(
        &self,
        (tenant, event_type): (&TenantId, &EventType),
        to: Option<&RegisteredType>,
        expect: Expect,
        next: Revision,
    ) -> ports::Result<Decision> {
        let stored = self.type_entry(tenant, event_type).await?;
        if stored.is_none() && to.is_none() {
            return Ok(Decision::Refused(Applied::NotFound));
        }
        if let Some(refused) = expect.refuses(stored.map(|stored| stored.revision)) {
            return Ok(Decision::Refused(refused));
        }
        let name = event_type.as_str();
        Ok(Decision::Write(match to {
            Some(to) => {
                let entry = TypeEntry { revision: next, ..to.entry.clone() };
                let entry = codec::encode_type_entry(&entry);
                let schemas = codec::encode_schemas(next, &to.schemas);
                vec![
                    self.put_row(tenant, TYPE, name, "", Some(entry)),
                    self.put_row(tenant, TYPE_SCHEMAS, name, "", Some(schemas)),
                ]
            }
            None => vec![
                self.delete_row(tenant, TYPE, name, ""),
                self.delete_row(tenant, TYPE_SCHEMAS, name, ""),
            ],
        }))
    }
}
