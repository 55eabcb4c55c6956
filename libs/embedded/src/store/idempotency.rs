//! Idempotency keys of publishers.

use async_trait::async_trait;
use domain::limits::IDEMPOTENCY_TTL;
use domain::{EventId, LogPosition, TenantId, Timestamp};
use ports::{IdempotencyRow, IdempotencyStore};
use rusqlite::{Connection, Row, params};

use super::{Store, odd};
use crate::error::Fault;
use crate::writer::Cost;

pub(super) const GET: &str = "SELECT event, at, hash, time FROM idempotency
    WHERE tenant = ?1 AND key = ?2 AND time > ?3";
pub(super) const PUT: &str = "INSERT INTO idempotency(tenant, key, event, at, hash, time)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(tenant, key) DO NOTHING";
pub(super) const FORGET: &str =
    "DELETE FROM idempotency WHERE tenant = ?1 AND key = ?2 AND time <= ?3";

#[async_trait]
impl IdempotencyStore for Store {
    async fn get(
        &self,
        tenant: &TenantId,
        keys: &[&str],
    ) -> ports::Result<Vec<Option<IdempotencyRow>>> {
        let tenant = tenant.clone();
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let since = self.now() - IDEMPOTENCY_TTL;
        let get = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(GET)?;
            let mut found = Vec::with_capacity(keys.len());
            for key in &keys {
                let mut rows = statement.query(params![tenant.as_str(), key, since.as_millis()])?;
                found.push(rows.next()?.map(row_of).transpose()?);
            }
            Ok(found)
        };
        self.read(get).await
    }

    async fn put(&self, tenant: &TenantId, rows: &[(&str, IdempotencyRow)]) -> ports::Result<()> {
        let tenant = tenant.clone();
        let expired = self.now() - IDEMPOTENCY_TTL;
        let rows: Vec<(String, IdempotencyRow)> =
            rows.iter().map(|(key, row)| ((*key).to_owned(), row.clone())).collect();
        let cost = Cost::rows(rows.len());
        let put = move |conn: &Connection| {
            let mut put = conn.prepare_cached(PUT)?;
            let mut forget = conn.prepare_cached(FORGET)?;
            for (key, row) in &rows {
                let mut insert = || {
                    put.execute(params![
                        tenant.as_str(),
                        key,
                        row.event.as_str(),
                        row.at.packed(),
                        row.body_hash,
                        row.time.as_millis()
                    ])
                };
                // The first row of a key stays, unless it has expired and is only not removed yet.
                if insert()? == 0
                    && forget.execute(params![tenant.as_str(), key, expired.as_millis()])? > 0
                {
                    insert()?;
                }
            }
            Ok(())
        };
        self.write(cost, put).await
    }
}

fn row_of(row: &Row<'_>) -> Result<IdempotencyRow, Fault> {
    let bad = || odd("idempotency row");
    let event = row.get_ref(0)?.as_str().map_err(|_| bad())?;
    Ok(IdempotencyRow {
        event: EventId::parse(event).map_err(|_| bad())?,
        at: LogPosition::from_packed(row.get(1)?),
        body_hash: row.get(2)?,
        time: Timestamp::from_millis(row.get(3)?),
    })
}
