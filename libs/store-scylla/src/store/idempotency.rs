//! Publishers' keys. All rows of a key are kept; the earliest one of the last day counts, so that the first one stays without a compare-and-set.

use async_trait::async_trait;
use domain::limits::IDEMPOTENCY_TTL;
use domain::{EventId, TenantId};
use ports::{IdempotencyRow, IdempotencyStore};
use scylla::value::CqlTimestamp;

use super::{Store, odd, place, time, time_of};
use crate::cql::{Cql, NewRow, Statement, gather};
use crate::error::OpenError;

const TABLE: &str = "idempotency";
const PUT: &str =
    "INSERT INTO idempotency (tenant, key, time, event, position, hash) VALUES (?, ?, ?, ?, ?, ?)";
const GET: &str = "SELECT time, event, position, hash FROM idempotency WHERE tenant = ? AND key = ? AND time > ? LIMIT 1";

pub(super) struct Statements {
    put: Statement,
    get: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self { put: cql.prepare(TABLE, PUT).await?, get: cql.prepare(TABLE, GET).await? })
    }
}

type Row = (CqlTimestamp, String, i64, Vec<u8>);

#[async_trait]
impl IdempotencyStore for Store {
    async fn get(
        &self,
        tenant: &TenantId,
        keys: &[&str],
    ) -> ports::Result<Vec<Option<IdempotencyRow>>> {
        let since = time(self.now() - IDEMPOTENCY_TTL);
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        gather(keys.into_iter().map(|key| self.first_of((tenant.as_str().to_owned(), key, since))))
            .await
    }

    async fn put(&self, tenant: &TenantId, rows: &[(&str, IdempotencyRow)]) -> ports::Result<()> {
        let row = |(key, row): &(&str, IdempotencyRow)| {
            let bytes = tenant.as_str().len() + key.len() + row.event.as_str().len() + 48;
            let values = (
                tenant.as_str().to_owned(),
                (*key).to_owned(),
                time(row.time),
                row.event.as_str().to_owned(),
                row.at.packed(),
                row.body_hash.to_vec(),
            );
            NewRow { values, bytes }
        };
        self.cql.write_each(&self.idempotency.put, rows.iter().map(row).collect()).await
    }
}

impl Store {
    async fn first_of(
        &self,
        key: (String, String, CqlTimestamp),
    ) -> ports::Result<Option<IdempotencyRow>> {
        let rows: Vec<Row> = self.cql.read(&self.idempotency.get, key).await?;
        rows.into_iter().next().map(found).transpose()
    }
}

fn found((time, event, position, hash): Row) -> ports::Result<IdempotencyRow> {
    Ok(IdempotencyRow {
        event: EventId::parse(&event).map_err(|_| odd(TABLE))?,
        at: place(position),
        body_hash: hash.try_into().map_err(|_| odd(TABLE))?,
        time: time_of(time),
    })
}
