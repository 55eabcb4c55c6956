//! Bodies of events, and facts.

use std::sync::Arc;

use async_trait::async_trait;
use domain::limits::{ATTEMPT_RETENTION, DEAD_LETTER_RETENTION};
use domain::{
    AttemptId, EndpointUid, EventId, EventRef, Fact, FactKind, LogPosition, RunId, TenantId,
    Timestamp,
};
use ports::{EventStore, Loaded, StoredEvent};
use rusqlite::{Connection, Row, params};

use super::{Store, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

/// A body is kept while anything may wait for it: 7 days in the backlog, 7 days ahead for a scheduled delivery, 3 to spare (ES-6).
pub(super) const KEEP_BODY: std::time::Duration = std::time::Duration::from_secs(17 * 24 * 3_600);
/// A dead letter's body is kept as long as the dead letter, and while a redrive of it may wait.
pub(super) const KEEP_DEAD: std::time::Duration = DEAD_LETTER_RETENTION.saturating_add(KEEP_BODY);

pub(super) const PUT_EVENT: &str = "INSERT INTO events(tenant, event, at, keep_until, body)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT(event, tenant, at) DO UPDATE SET keep_until = max(keep_until, excluded.keep_until)";
pub(super) const KEEP_EVENT: &str = "UPDATE events SET keep_until = ?4
    WHERE event = ?2 AND tenant = ?1 AND at = ?3 AND keep_until < ?4";
pub(super) const EVENT: &str =
    "SELECT body FROM events WHERE event = ?2 AND tenant = ?1 AND at = ?3";
pub(super) const NEWEST_EVENT: &str = "SELECT at, body FROM events
    WHERE event = ?2 AND tenant = ?1 ORDER BY at DESC LIMIT 1";
pub(super) const RECORD: &str = "INSERT INTO facts
    (tenant, event, at, endpoint, run, fact, time, attempt, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT(event, tenant, at, endpoint, fact, run) DO NOTHING";
pub(super) const DELIVERY_FACTS: &str =
    "SELECT tenant, event, at, endpoint, run, fact, time, body FROM facts
    WHERE event = ?2 AND tenant = ?1 AND at = ?3 AND endpoint = ?4 AND time > ?5";
pub(super) const EVENT_FACTS: &str =
    "SELECT tenant, event, at, endpoint, run, fact, time, body FROM facts
    WHERE event = ?2 AND tenant = ?1 AND time > ?3 ORDER BY time, fact LIMIT ?4";
pub(super) const ENDPOINT_FACTS: &str =
    "SELECT tenant, event, at, endpoint, run, fact, time, body FROM facts
    WHERE attempt = 1 AND endpoint = ?1 AND time > ?2 AND (time, fact) < (?3, ?4)
    ORDER BY time DESC, fact DESC LIMIT ?5";

/// Sorts after every fact's id, which is a UUID of version 7.
const LAST_ID: u128 = u128::MAX;

#[async_trait]
impl EventStore for Store {
    async fn put_events(&self, events: &[StoredEvent]) -> ports::Result<()> {
        let keep = self.now() + KEEP_BODY;
        let rows: Vec<(EventRef, Vec<u8>)> = events
            .iter()
            .map(|stored| (stored.at.clone(), codec::encode_event(&stored.event)))
            .collect();
        let cost = Cost { rows: rows.len(), bytes: rows.iter().map(|(_, body)| body.len()).sum() };
        let put = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(PUT_EVENT)?;
            for (at, body) in &rows {
                let (tenant, event, at) = key(at);
                statement.execute(params![tenant, event, at, keep.as_millis(), body])?;
            }
            Ok(())
        };
        self.write(cost, put).await
    }

    async fn record(&self, facts: &[Fact]) -> ports::Result<()> {
        // Encoded here, in parallel, and not on the one writer thread.
        let rows: Vec<(Fact, Vec<u8>)> = facts.iter().map(without_body).collect();
        let cost =
            Cost { rows: rows.len(), bytes: rows.iter().map(|(_, body)| body.len() + 128).sum() };
        let record = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(RECORD)?;
            for (fact, body) in &rows {
                let (tenant, event, at) = key(&fact.event);
                // The kind in `fact` is emptied; its body starts with a format byte and the kind's number.
                let attempt = body.get(1) == Some(&1);
                statement.execute(params![
                    tenant,
                    event,
                    at,
                    fact.endpoint.as_bytes(),
                    fact.run.as_bytes(),
                    fact.id.as_bytes(),
                    fact.time.as_millis(),
                    attempt,
                    body
                ])?;
            }
            Ok(())
        };
        self.write(cost, record).await
    }

    async fn load(&self, event: &EventRef, endpoint: EndpointUid) -> ports::Result<Loaded> {
        let event = event.clone();
        let since = self.now() - ATTEMPT_RETENTION;
        let load = move |conn: &Connection| {
            let (tenant, id, at) = key(&event);
            let mut body = conn.prepare_cached(EVENT)?;
            let mut bodies = body.query(params![tenant, id, at])?;
            let stored = bodies.next()?.map(|row| body_of(row, 0)).transpose()?;
            let mut facts = conn.prepare_cached(DELIVERY_FACTS)?;
            let rows =
                facts.query(params![tenant, id, at, endpoint.as_bytes(), since.as_millis()])?;
            Ok(Loaded { event: stored, facts: collect(rows)? })
        };
        self.read(load).await
    }

    async fn find(&self, tenant: &TenantId, event: &EventId) -> ports::Result<Option<StoredEvent>> {
        let (tenant, id) = (tenant.clone(), event.clone());
        let find = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(NEWEST_EVENT)?;
            let mut rows = statement.query(params![tenant.as_str(), id.as_str()])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            let at = LogPosition::from_packed(row.get(0)?);
            let event = body_of(row, 1)?;
            let at = EventRef { tenant, id, at };
            Ok(Some(StoredEvent { at, event }))
        };
        self.read(find).await
    }

    async fn facts(
        &self,
        tenant: &TenantId,
        event: &EventId,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        let (tenant, event) = (tenant.clone(), event.clone());
        let since = self.now() - ATTEMPT_RETENTION;
        let facts = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(EVENT_FACTS)?;
            collect(statement.query(params![
                tenant.as_str(),
                event.as_str(),
                since.as_millis(),
                sql_limit(limit)
            ])?)
        };
        self.read(facts).await
    }

    async fn attempts_of_endpoint(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        let since = self.now() - ATTEMPT_RETENTION;
        let (time, id) = before.unwrap_or((Timestamp::MAX, LAST_ID));
        let list = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(ENDPOINT_FACTS)?;
            collect(statement.query(params![
                endpoint.as_bytes(),
                since.as_millis(),
                time.as_millis(),
                id.to_be_bytes(),
                sql_limit(limit)
            ])?)
        };
        self.read(list).await
    }
}

/// The columns that name an event.
pub(super) fn key(event: &EventRef) -> (&str, &str, i64) {
    (event.tenant.as_str(), event.id.as_str(), event.at.packed())
}

/// Keeps an event's body until a time at least; a body that was never put needs nothing.
pub(super) fn keep(conn: &Connection, event: &EventRef, until: Timestamp) -> Result<(), Fault> {
    let (tenant, id, at) = key(event);
    conn.prepare_cached(KEEP_EVENT)?.execute(params![tenant, id, at, until.as_millis()])?;
    Ok(())
}

/// The fact's key, cheap to clone, and its kind as bytes.
fn without_body(fact: &Fact) -> (Fact, Vec<u8>) {
    let key = Fact { event: fact.event.clone(), kind: FactKind::Cancelled, ..*fact };
    (key, codec::encode_fact_kind(&fact.kind))
}

fn body_of(row: &Row<'_>, column: usize) -> Result<Arc<domain::Event>, Fault> {
    let body = row.get_ref(column)?.as_blob().map_err(|_| odd("event"))?;
    Ok(Arc::new(codec::decode_event(body)?))
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Fact>, Fault> {
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        facts.push(fact(row)?);
    }
    Ok(facts)
}

fn fact(row: &Row<'_>) -> Result<Fact, Fault> {
    let bad = || odd("fact");
    let text = |column| row.get_ref(column)?.as_str().map_err(|_| odd("fact"));
    let blob = |column| row.get_ref(column)?.as_blob().map_err(|_| odd("fact"));
    Ok(Fact {
        event: EventRef {
            tenant: TenantId::parse(text(0)?).map_err(|_| bad())?,
            id: EventId::parse(text(1)?).map_err(|_| bad())?,
            at: LogPosition::from_packed(row.get(2)?),
        },
        endpoint: EndpointUid::from_slice(blob(3)?).ok_or_else(bad)?,
        run: RunId::from_slice(blob(4)?).ok_or_else(bad)?,
        id: AttemptId::from_slice(blob(5)?).ok_or_else(bad)?,
        time: Timestamp::from_millis(row.get(6)?),
        kind: codec::decode_fact_kind(blob(7)?)?,
    })
}
