//! Bodies of events, and the port of events and facts.

use std::sync::Arc;

use async_trait::async_trait;
use domain::limits::ATTEMPT_RETENTION;
use domain::{EndpointUid, Event, EventId, EventRef, Fact, TenantId, Timestamp};
use ports::{EventStore, Loaded, StoredEvent};

use super::{Store, place, time, undecodable};
use crate::cql::{Cql, NewRow, Statement};
use crate::error::OpenError;

const TABLE: &str = "events";
const PUT: &str =
    "INSERT INTO events (tenant, event, position, put_time, body) VALUES (?, ?, ?, ?, ?)";
const GET: &str = "SELECT body FROM events WHERE tenant = ? AND event = ? AND position = ?";
const NEWEST: &str = "SELECT position, body FROM events WHERE tenant = ? AND event = ? ORDER BY position DESC LIMIT 1";

pub(super) struct Statements {
    put: Statement,
    get: Statement,
    newest: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            put: cql.prepare(TABLE, PUT).await?,
            get: cql.prepare(TABLE, GET).await?,
            newest: cql.prepare(TABLE, NEWEST).await?,
        })
    }
}

#[async_trait]
impl EventStore for Store {
    async fn put_events(&self, events: &[StoredEvent]) -> ports::Result<()> {
        let now = time(self.now());
        let row = |stored: &StoredEvent| {
            let body = codec::encode_event(&stored.event);
            let (tenant, event) = (stored.at.tenant.clone(), stored.at.id.clone());
            let bytes = body.len() + event.as_str().len() + 24;
            let values = (
                tenant.as_str().to_owned(),
                event.as_str().to_owned(),
                stored.at.at.packed(),
                now,
                body,
            );
            NewRow { values, bytes }
        };
        self.cql.write_each(&self.events.put, events.iter().map(row).collect()).await
    }

    async fn record(&self, facts: &[Fact]) -> ports::Result<()> {
        self.record_facts(facts).await
    }

    async fn load(&self, event: &EventRef, endpoint: EndpointUid) -> ports::Result<Loaded> {
        let key = (event.tenant.as_str(), event.id.as_str(), event.at.packed());
        let body = async {
            let rows: Vec<(Vec<u8>,)> = self.cql.read(&self.events.get, key).await?;
            rows.into_iter().next().map(|(body,)| decode(&body)).transpose()
        };
        let since = self.now() - ATTEMPT_RETENTION;
        let (event, facts) =
            futures::try_join!(body, self.facts_of_delivery(event, endpoint, since))?;
        Ok(Loaded { event, facts })
    }

    async fn find(&self, tenant: &TenantId, event: &EventId) -> ports::Result<Option<StoredEvent>> {
        let rows: Vec<(i64, Vec<u8>)> =
            self.cql.read(&self.events.newest, (tenant.as_str(), event.as_str())).await?;
        let Some((position, body)) = rows.into_iter().next() else {
            return Ok(None);
        };
        let at = EventRef { tenant: tenant.clone(), id: event.clone(), at: place(position) };
        Ok(Some(StoredEvent { at, event: decode(&body)? }))
    }

    async fn facts(
        &self,
        tenant: &TenantId,
        event: &EventId,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.facts_of_event(tenant, event, limit).await
    }

    async fn attempts_of_endpoint(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.newest_attempts(endpoint, before, limit).await
    }
}

fn decode(body: &[u8]) -> ports::Result<Arc<Event>> {
    codec::decode_event(body).map(Arc::new).map_err(undecodable(TABLE))
}
