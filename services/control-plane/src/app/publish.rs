//! Publishing events (spec §2; architecture §6).
//!
//! One call costs one read of the tenant's revision (and, after a change of it, one of the registered types), at most one read and one write of idempotency rows, and one append; nothing is awaited per event.
//!
//! *Dramatis personae.* Under `<key>` lies the row of an idempotency key: event, place, hash of the body. Under `event <id>` lies the same row again for an
//! event whose id the publisher did not use as key, so that the event is found by id before its first attempt; no key has a blank.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::{
    ApiVersion, Content, ContentType, Event, EventId, EventType, Revision, TenantId, Timestamp,
    record,
};
use ports::{Appended, ErrorKind, IdempotencyRow};

use super::known_types::TypesAt;
use super::seed::uuid_v7;
use super::{App, Error};

/// An event to publish, valid in itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PublishDraft {
    pub(crate) id: Option<EventId>,
    pub(crate) event_type: EventType,
    pub(crate) data: Bytes,
    pub(crate) content_type: ContentType,
    pub(crate) api_version: Option<ApiVersion>,
    pub(crate) idempotency_key: Option<Arc<str>>,
    pub(crate) ordering_key: Option<Arc<str>>,
    pub(crate) channels: Vec<Arc<str>>,
    pub(crate) deliver_at: Option<Timestamp>,
    /// When it happened; `None`: now.
    pub(crate) created_at: Option<Timestamp>,
}

impl PublishDraft {
    /// What a repeat must have in common with it. `default` is the version that stands in for a missing one.
    fn content(&self, default: &ApiVersion) -> Content<'_> {
        Content {
            event_type: &self.event_type,
            content_type: &self.content_type,
            data: &self.data,
            api_version: self.api_version.as_ref().filter(|version| *version != default),
            ordering_key: self.ordering_key.as_deref(),
            channels: &self.channels,
        }
    }
}

/// A call of `PublishEvents`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Publish {
    pub(crate) tenant: TenantId,
    pub(crate) drafts: Vec<PublishDraft>,
    pub(crate) traceparent: Option<Arc<str>>,
    pub(crate) validate_only: bool,
}

/// What became of one event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Published {
    /// Its id; of the first one when this is a duplicate.
    pub(crate) id: EventId,
    /// Nothing new was appended.
    pub(crate) duplicate: bool,
    /// Why it is not durable.
    pub(crate) failure: Option<PublishFailure>,
    /// What the publisher should know although nothing failed.
    pub(crate) warning: Option<String>,
}

/// Why one event of a batch is not durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PublishFailure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl From<&ports::Error> for PublishFailure {
    fn from(error: &ports::Error) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

/// What is to be done with one event of a batch.
enum Plan {
    Append {
        id: EventId,
        key: Option<Keyed>,
    },
    /// The same as an earlier one of the batch.
    SameAs(usize),
    /// Published before.
    Known(EventId),
}

impl Plan {
    fn appends(&self) -> bool {
        match self {
            Self::Append { .. } => true,
            Self::SameAs(_) | Self::Known(_) => false,
        }
    }
}

/// An idempotency key with the hash of what it stands for.
#[derive(Clone)]
struct Keyed {
    key: Arc<str>,
    hash: [u8; 32],
    /// Whether the id is not a fresh one, so that it may have to be found by a row.
    id_is_lasting: bool,
}

impl App {
    /// Publishes a batch whose events are valid in themselves: answers once all that has no failure is durable.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the tenant, [`Error::IdempotencyKeyReused`] for a key that came with another body, [`Error::SchemaViolation`] for data
    /// that does not conform; nothing was appended.
    pub(crate) async fn publish(&self, call: Publish) -> Result<Vec<Published>, Error> {
        let revision = self.revisions.read(&self.deps, &call.tenant).await?;
        let revision =
            revision.ok_or_else(|| Error::NotFound(format!("tenants/{}", call.tenant)))?;
        let now = self.deps.clock.now();
        let mut plans = self.plan(&call, now)?;
        self.mark_known(&call, &mut plans).await?;
        let types = self.known_types(&call.tenant, revision).await?;
        // What was published before stays published, whatever its type asks for now: repeating a call is safe.
        self.check_conformity(&types, &new_ones(&plans, &call.drafts)).await?;
        if call.validate_only {
            return Ok(warned(&types, &call, results(&plans, &HashMap::new())));
        }
        let outcomes = self.append(&call, &plans, revision, now).await;
        let failures = self.remember(&call.tenant, &plans, outcomes, now).await;
        let results = warned(&types, &call, results(&plans, &failures));
        self.deps.metrics.published(&results);
        Ok(results)
    }

    /// Gives every event its id and key, and finds duplicates within the batch.
    fn plan(&self, call: &Publish, now: Timestamp) -> Result<Vec<Plan>, Error> {
        let mut first: HashMap<Arc<str>, (usize, [u8; 32])> = HashMap::new();
        let mut plans = Vec::with_capacity(call.drafts.len());
        for (index, draft) in call.drafts.iter().enumerate() {
            let Some(key) = key_of(draft) else {
                let random = self.deps.rng.next_u128().to_be_bytes();
                let id = EventId::from_uuid(uuid_v7(now, &random));
                plans.push(Plan::Append { id, key: None });
                continue;
            };
            let hash = draft.content(&self.config.api_version).hash(&key);
            if let Some((earlier, same)) = first.get(&key) {
                if *same != hash {
                    return Err(reused(draft, index, &key));
                }
                plans.push(Plan::SameAs(*earlier));
                continue;
            }
            first.insert(Arc::clone(&key), (index, hash));
            let id = draft.id.clone().unwrap_or_else(|| EventId::of_key(&call.tenant, &key));
            let id_is_lasting = id.as_str() != &*key;
            plans.push(Plan::Append { id, key: Some(Keyed { key, hash, id_is_lasting }) });
        }
        Ok(plans)
    }

    /// Looks the keys up, all at once, and takes out what was published before.
    async fn mark_known(&self, call: &Publish, plans: &mut [Plan]) -> Result<(), Error> {
        let keyed: Vec<(usize, Keyed)> = plans
            .iter()
            .enumerate()
            .filter_map(|(index, plan)| match plan {
                Plan::Append { key: Some(key), .. } => Some((index, key.clone())),
                Plan::Append { key: None, .. } | Plan::SameAs(_) | Plan::Known(_) => None,
            })
            .collect();
        if keyed.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = keyed.iter().map(|(_, keyed)| &*keyed.key).collect();
        let rows = self.deps.idempotency.get(&call.tenant, &keys).await?;
        for ((index, keyed), row) in keyed.iter().zip(rows) {
            let Some(row) = row else { continue };
            if row.body_hash != keyed.hash {
                let draft = call.drafts.get(*index);
                let draft = draft.expect("plans are made one per draft");
                return Err(reused(draft, *index, &keyed.key));
            }
            if let Some(plan) = plans.get_mut(*index) {
                *plan = Plan::Known(row.event);
            }
        }
        Ok(())
    }

    /// Appends what is new; gives the outcome by index in the batch.
    async fn append(
        &self,
        call: &Publish,
        plans: &[Plan],
        revision: Revision,
        now: Timestamp,
    ) -> Vec<(usize, ports::Result<Appended>)> {
        let mut indexes = Vec::with_capacity(plans.len());
        let mut records = Vec::with_capacity(plans.len());
        for (index, (plan, draft)) in plans.iter().zip(&call.drafts).enumerate() {
            if let Plan::Append { id, key } = plan {
                let key = key.as_ref().map(|keyed| Arc::clone(&keyed.key));
                let event = self.stamped(call, draft, (id.clone(), key), revision, now);
                records.push(record::encode(&event));
                indexes.push(index);
            }
        }
        if records.is_empty() {
            return Vec::new();
        }
        let outcomes = self.deps.log.append(records).await;
        indexes.into_iter().zip(outcomes).collect()
    }

    fn stamped(
        &self,
        call: &Publish,
        draft: &PublishDraft,
        (id, idempotency_key): (EventId, Option<Arc<str>>),
        revision: Revision,
        now: Timestamp,
    ) -> Event {
        let api_version = draft.api_version.as_ref();
        Event {
            tenant: call.tenant.clone(),
            id,
            event_type: draft.event_type.clone(),
            created_at: draft.created_at.unwrap_or(now),
            api_version: api_version.unwrap_or(&self.config.api_version).clone(),
            content_type: draft.content_type.clone(),
            data: draft.data.clone(),
            ordering_key: draft.ordering_key.clone(),
            idempotency_key,
            channels: draft.channels.clone(),
            // A time in the past means at once.
            deliver_at: draft.deliver_at.filter(|at| *at > now),
            revision: Some(revision),
            traceparent: call.traceparent.clone(),
        }
    }

    /// Writes the rows of what was appended, before anything is answered (DL-7). Gives the failures by index in the batch.
    async fn remember(
        &self,
        tenant: &TenantId,
        plans: &[Plan],
        outcomes: Vec<(usize, ports::Result<Appended>)>,
        now: Timestamp,
    ) -> HashMap<usize, PublishFailure> {
        let mut failures = HashMap::new();
        let mut rows: Vec<(String, IdempotencyRow)> = Vec::new();
        let mut keyed_indexes = Vec::new();
        for (index, outcome) in outcomes {
            let appended = match outcome {
                Ok(appended) => appended,
                Err(error) => {
                    self.outage.note(&error);
                    failures.insert(index, PublishFailure::from(&error));
                    continue;
                }
            };
            if let Some(Plan::Append { id, key: Some(keyed) }) = plans.get(index) {
                keyed_indexes.push(index);
                let row = IdempotencyRow {
                    event: id.clone(),
                    at: appended.at,
                    body_hash: keyed.hash,
                    time: now,
                };
                if keyed.id_is_lasting {
                    rows.push((event_row_key(id), row.clone()));
                }
                rows.push((keyed.key.to_string(), row));
            }
        }
        if rows.is_empty() {
            return failures;
        }
        let rows: Vec<(&str, IdempotencyRow)> =
            rows.iter().map(|(key, row)| (key.as_str(), row.clone())).collect();
        if let Err(error) = self.deps.idempotency.put(tenant, &rows).await {
            self.outage.note(&error);
            // The events are durable, but a repeat would not be known as one: the publisher has to repeat, with the same id.
            for index in keyed_indexes {
                failures.insert(index, PublishFailure::from(&error));
            }
        }
        failures
    }
}

/// The key under which an event's row lies when its id is not its idempotency key.
pub(crate) fn event_row_key(id: &EventId) -> String {
    format!("event {id}")
}

/// The key of an event: its idempotency key, else the id that the publisher gave.
fn key_of(draft: &PublishDraft) -> Option<Arc<str>> {
    match (&draft.idempotency_key, &draft.id) {
        (Some(key), _) => Some(Arc::clone(key)),
        (None, Some(id)) => Some(id.as_str().into()),
        (None, None) => None,
    }
}

fn reused(draft: &PublishDraft, index: usize, key: &str) -> Error {
    let field = if draft.idempotency_key.is_some() { "idempotency_key" } else { "id" };
    Error::IdempotencyKeyReused { field: format!("events[{index}].{field}"), key: key.to_owned() }
}

/// One result per event, in order. A duplicate within the batch shares its first one's fate.
fn results(plans: &[Plan], failures: &HashMap<usize, PublishFailure>) -> Vec<Published> {
    let mut results: Vec<Published> = Vec::with_capacity(plans.len());
    for (index, plan) in plans.iter().enumerate() {
        let result = match plan {
            Plan::Append { id, .. } => Published {
                id: id.clone(),
                duplicate: false,
                failure: failures.get(&index).cloned(),
                warning: None,
            },
            Plan::Known(id) => {
                Published { id: id.clone(), duplicate: true, failure: None, warning: None }
            }
            Plan::SameAs(earlier) => {
                let earlier = results.get(*earlier);
                let mut same = earlier.expect("duplicates follow their first one").clone();
                same.duplicate = true;
                same
            }
        };
        results.push(result);
    }
    results
}

/// What is to be appended, with its index in the batch.
fn new_ones<'d>(plans: &[Plan], drafts: &'d [PublishDraft]) -> Vec<(usize, &'d PublishDraft)> {
    let all = plans.iter().zip(drafts).enumerate();
    let new = all.filter(|(_, (plan, _))| plan.appends());
    new.map(|(index, (_, draft))| (index, draft)).collect()
}

/// Adds what publishers should know of the types.
fn warned(types: &TypesAt, call: &Publish, mut results: Vec<Published>) -> Vec<Published> {
    for (result, draft) in results.iter_mut().zip(&call.drafts) {
        result.warning = types.warning(&draft.event_type);
    }
    results
}
