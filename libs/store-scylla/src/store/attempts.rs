//! Facts: by event (what the hand-off rule counts), and an endpoint's requests newest first (what lists show).

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use domain::limits::{ATTEMPT_RETENTION, EXCERPT_SUCCESS_BYTES};
use domain::{
    Attempt, AttemptId, Disposition, EndpointUid, EventId, EventRef, Fact, FactKind, RunId,
    TenantId, Timestamp,
};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::newest_first::newest_first;
use super::registry::{ListPlace, Registry};
use super::{Store, cql_limit, odd, place, time, time_of, undecodable};
use crate::bucket::Bucket;
use crate::cql::{Cql, NewRow, Statement, all, gather};
use crate::error::OpenError;

const TABLE: &str = "attempts";
const EXCERPTS: &str = "attempt_excerpts";
const BY_ENDPOINT: &str = "attempts_by_endpoint";
const PUT: &str = "INSERT INTO attempts (tenant, event, position, endpoint, run, id, time, excerpt_bytes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
const OF_DELIVERY: &str =
    "SELECT position, endpoint, run, id, time, excerpt_bytes, body FROM attempts
    WHERE tenant = ? AND event = ? AND position = ? AND endpoint = ?";
const OF_EVENT: &str = "SELECT position, endpoint, run, id, time, excerpt_bytes, body FROM attempts WHERE tenant = ? AND event = ?";
const PUT_EXCERPT: &str = "INSERT INTO attempt_excerpts (tenant, event, endpoint, position, run, id, excerpt) VALUES (?, ?, ?, ?, ?, ?, ?)";
const EXCERPT: &str = "SELECT excerpt FROM attempt_excerpts
    WHERE tenant = ? AND event = ? AND endpoint = ? AND position = ? AND run = ? AND id = ?";
const PUT_BY_ENDPOINT: &str = "INSERT INTO attempts_by_endpoint
    (endpoint, bucket_start, bucket_width, time, id, tenant, event, position, run, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const NEWEST: &str = "SELECT time, id, tenant, event, position, run, body FROM attempts_by_endpoint
    WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND (time, id) < (?, ?) LIMIT ?";

/// Excerpts of failures beyond so many bytes lie in their own table: an event that fails at every endpoint keeps a small partition.
const INLINE_FAILURE_BYTES: usize = 256;

pub(super) struct Statements {
    put: Statement,
    of_delivery: Statement,
    of_event: Statement,
    put_excerpt: Statement,
    excerpt: Statement,
    put_by_endpoint: Statement,
    newest: Statement,
    buckets: Registry,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            put: cql.prepare(TABLE, PUT).await?,
            of_delivery: cql.prepare(TABLE, OF_DELIVERY).await?,
            of_event: cql.prepare(TABLE, OF_EVENT).await?,
            put_excerpt: cql.prepare(EXCERPTS, PUT_EXCERPT).await?,
            excerpt: cql.prepare(EXCERPTS, EXCERPT).await?,
            put_by_endpoint: cql.prepare(BY_ENDPOINT, PUT_BY_ENDPOINT).await?,
            newest: cql.prepare(BY_ENDPOINT, NEWEST).await?,
            buckets: Registry::prepare(cql, "attempt_buckets").await?,
        })
    }
}

type FactRow = (i64, Uuid, Uuid, Uuid, CqlTimestamp, Option<i32>, Vec<u8>);

impl Store {
    /// Writes facts: first the excerpts, which rows point to, then both rows of each in batches of one partition.
    pub(super) async fn record_facts(&self, facts: &[Fact]) -> ports::Result<()> {
        let rows: Vec<Recorded<'_>> = facts.iter().map(Recorded::of).collect();
        let excerpts = rows.iter().filter_map(Recorded::excerpt_row).collect();
        self.cql.write_each(&self.attempts.put_excerpt, excerpts).await?;
        futures::try_join!(self.record_by_event(&rows), self.record_by_endpoint(&rows))?;
        Ok(())
    }

    async fn record_by_event(&self, rows: &[Recorded<'_>]) -> ports::Result<()> {
        let mut events: BTreeMap<(&TenantId, &EventId), Vec<_>> = BTreeMap::new();
        for row in rows {
            let event = &row.fact.event;
            events.entry((&event.tenant, &event.id)).or_default().push(row.by_event());
        }
        let writes =
            events.into_values().map(|rows| self.cql.write_partition(&self.attempts.put, rows));
        all(writes).await
    }

    async fn record_by_endpoint(&self, rows: &[Recorded<'_>]) -> ports::Result<()> {
        let mut lists: HashMap<ListPlace, Vec<_>> = HashMap::new();
        let mut new: HashSet<ListPlace> = HashSet::new();
        for row in rows.iter().filter(|row| matches!(row.fact.kind, FactKind::Attempt(_))) {
            let (list, is_registered) =
                self.attempts.buckets.place(row.fact.endpoint, row.fact.time);
            if !is_registered {
                new.insert(list);
            }
            lists.entry(list).or_default().push(row.by_endpoint(list.1));
        }
        // A bucket is known before a row in it is acknowledged.
        self.attempts.buckets.register(&self.cql, new).await?;
        all(lists
            .into_values()
            .map(|rows| self.cql.write_partition(&self.attempts.put_by_endpoint, rows)))
        .await
    }

    /// The facts of one delivery, without long excerpts.
    pub(super) async fn facts_of_delivery(
        &self,
        event: &EventRef,
        endpoint: EndpointUid,
        since: Timestamp,
    ) -> ports::Result<Vec<Fact>> {
        let key = (event.tenant.as_str(), event.id.as_str(), event.at.packed(), endpoint.uuid());
        let rows: Vec<FactRow> = self.cql.read(&self.attempts.of_delivery, key).await?;
        let facts =
            rows.into_iter().map(|row| fact(&event.tenant, &event.id, row).map(|(fact, _)| fact));
        let facts = facts.filter(|fact| fact.as_ref().map_or(true, |fact| fact.time > since));
        facts.collect()
    }

    /// The facts of an event, oldest first, with their excerpts.
    pub(super) async fn facts_of_event(
        &self,
        tenant: &TenantId,
        event: &EventId,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        let since = self.now() - ATTEMPT_RETENTION;
        let rows: Vec<FactRow> =
            self.cql.read(&self.attempts.of_event, (tenant.as_str(), event.as_str())).await?;
        let mut facts = rows
            .into_iter()
            .map(|row| fact(tenant, event, row))
            .collect::<ports::Result<Vec<_>>>()?;
        facts.retain(|(fact, _)| fact.time > since);
        facts.sort_by_key(|(fact, _)| (fact.time, fact.id));
        facts.truncate(limit);
        gather(facts.into_iter().map(|(fact, is_cut)| self.with_excerpt(fact, is_cut))).await
    }

    async fn with_excerpt(&self, mut fact: Fact, is_cut: bool) -> ports::Result<Fact> {
        if let FactKind::Attempt(attempt) = &mut fact.kind
            && is_cut
        {
            let event = &fact.event;
            let key = (
                event.tenant.as_str(),
                event.id.as_str(),
                fact.endpoint.uuid(),
                event.at.packed(),
                fact.run.uuid(),
                fact.id.uuid(),
            );
            let rows: Vec<(Vec<u8>,)> = self.cql.read(&self.attempts.excerpt, key).await?;
            attempt.excerpt =
                rows.into_iter().next().map(|(excerpt,)| Bytes::from(excerpt)).unwrap_or_default();
        }
        Ok(fact)
    }

    /// An endpoint's requests, newest first, without long excerpts.
    pub(super) async fn newest_attempts(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        let since = self.now() - ATTEMPT_RETENTION;
        // Requests are made before they are listed: nothing lies in a later day than this one, but for clocks that differ.
        let newest = self.now() + std::time::Duration::from_secs(60);
        let (time_before, id_before) = before.unwrap_or((newest, u128::MAX));
        let read = |bucket: Bucket| async move {
            let key = (
                endpoint.uuid(),
                time(bucket.start),
                bucket.width.seconds(),
                time(time_before),
                Uuid::from_u128(id_before),
                cql_limit(limit),
            );
            let rows: Vec<SummaryRow> = self.cql.read(&self.attempts.newest, key).await?;
            let facts = rows
                .into_iter()
                .map(|row| summary(endpoint, row))
                .collect::<ports::Result<Vec<_>>>()?;
            Ok(facts.into_iter().filter(|fact| fact.time > since).collect())
        };
        let list = (&self.cql, &self.attempts.buckets);
        let key = |fact: &Fact| (fact.time, fact.id);
        newest_first(list, endpoint, (since, time_before), limit, read, key).await
    }
}

type EventRow = (String, String, i64, Uuid, Uuid, Uuid, CqlTimestamp, ExcerptBytes, Vec<u8>);
type EndpointRow =
    (Uuid, CqlTimestamp, i32, CqlTimestamp, Uuid, String, String, i64, Uuid, Vec<u8>);
type ExcerptRow = (String, String, Uuid, i64, Uuid, Uuid, Vec<u8>);

/// A fact on its way into its rows.
struct Recorded<'a> {
    fact: &'a Fact,
    /// Its kind without an excerpt that is too long for a row.
    body: Vec<u8>,
    excerpt: Option<&'a Bytes>,
}

impl<'a> Recorded<'a> {
    fn of(fact: &'a Fact) -> Self {
        match &fact.kind {
            FactKind::Attempt(attempt) if attempt.excerpt.len() > inline_bytes(attempt) => {
                let short = FactKind::Attempt(Attempt { excerpt: Bytes::new(), ..attempt.clone() });
                Self {
                    fact,
                    body: codec::encode_fact_kind(&short),
                    excerpt: Some(&attempt.excerpt),
                }
            }
            kind @ (FactKind::Attempt(_) | FactKind::DeadLettered(_) | FactKind::Cancelled) => {
                Self { fact, body: codec::encode_fact_kind(kind), excerpt: None }
            }
        }
    }

    fn by_event(&self) -> NewRow<EventRow> {
        let fact = self.fact;
        let (tenant, event) = (fact.event.tenant.as_str(), fact.event.id.as_str());
        let excerpt_bytes = match self.excerpt {
            Some(excerpt) => ExcerptBytes::Set(cql_limit(excerpt.len())),
            None => ExcerptBytes::Unset,
        };
        let values = (
            tenant.to_owned(),
            event.to_owned(),
            fact.event.at.packed(),
            fact.endpoint.uuid(),
            fact.run.uuid(),
            fact.id.uuid(),
            time(fact.time),
            excerpt_bytes,
            self.body.clone(),
        );
        NewRow { values, bytes: tenant.len() + event.len() + 64 + self.body.len() }
    }

    fn by_endpoint(&self, bucket: Bucket) -> NewRow<EndpointRow> {
        let fact = self.fact;
        let (tenant, event) = (fact.event.tenant.as_str(), fact.event.id.as_str());
        let values = (
            fact.endpoint.uuid(),
            time(bucket.start),
            bucket.width.seconds(),
            time(fact.time),
            fact.id.uuid(),
            tenant.to_owned(),
            event.to_owned(),
            fact.event.at.packed(),
            fact.run.uuid(),
            self.body.clone(),
        );
        NewRow { values, bytes: tenant.len() + event.len() + 76 + self.body.len() }
    }

    fn excerpt_row(&self) -> Option<NewRow<ExcerptRow>> {
        let excerpt = self.excerpt?;
        let event = &self.fact.event;
        let values = (
            event.tenant.as_str().to_owned(),
            event.id.as_str().to_owned(),
            self.fact.endpoint.uuid(),
            event.at.packed(),
            self.fact.run.uuid(),
            self.fact.id.uuid(),
            excerpt.to_vec(),
        );
        Some(NewRow { values, bytes: excerpt.len() + 96 })
    }
}

/// Unset, not null: a null is a tombstone.
type ExcerptBytes = scylla::value::MaybeUnset<i32>;

fn inline_bytes(attempt: &Attempt) -> usize {
    match attempt.disposition {
        Disposition::Delivered => EXCERPT_SUCCESS_BYTES,
        Disposition::Retry { .. } | Disposition::DeadLettered(_) => INLINE_FAILURE_BYTES,
    }
}

/// The fact of a row of `attempts`, and whether its excerpt lies elsewhere.
fn fact(tenant: &TenantId, event: &EventId, row: FactRow) -> ports::Result<(Fact, bool)> {
    let (position, endpoint, run, id, time, excerpt_bytes, body) = row;
    let fact = Fact {
        event: EventRef { tenant: tenant.clone(), id: event.clone(), at: place(position) },
        endpoint: EndpointUid::from_uuid(endpoint),
        run: RunId::from_uuid(run),
        id: AttemptId::from_uuid(id),
        time: time_of(time),
        kind: codec::decode_fact_kind(&body).map_err(undecodable(TABLE))?,
    };
    Ok((fact, excerpt_bytes.is_some()))
}

type SummaryRow = (CqlTimestamp, Uuid, String, String, i64, Uuid, Vec<u8>);

fn summary(endpoint: EndpointUid, row: SummaryRow) -> ports::Result<Fact> {
    let (time, id, tenant, event, position, run, body) = row;
    Ok(Fact {
        event: EventRef {
            tenant: TenantId::parse(&tenant).map_err(|_| odd(BY_ENDPOINT))?,
            id: EventId::parse(&event).map_err(|_| odd(BY_ENDPOINT))?,
            at: place(position),
        },
        endpoint,
        run: RunId::from_uuid(run),
        id: AttemptId::from_uuid(id),
        time: time_of(time),
        kind: codec::decode_fact_kind(&body).map_err(undecodable(BY_ENDPOINT))?,
    })
}
