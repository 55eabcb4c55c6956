//! Events that outlive the log, and what happened to them.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{EndpointUid, Event, EventId, EventRef, Fact, TenantId, Timestamp};

use crate::Result;

/// Bodies of events that something waits for, and every fact of every delivery.
///
/// ES-1  `put_events` and `record` are durable when they return. Writing the same row again changes nothing.
/// ES-2  `load` gives the event as it was put, and all facts of that delivery that were recorded before the call; long excerpts may be left out.
/// ES-3  `facts` gives all facts of an event id of a tenant, of every position it was used at and every endpoint, oldest first, at most `limit`.
/// ES-4  `attempts_of_endpoint` gives an endpoint's requests newest first, strictly before the key (time, attempt id), at most `limit`; excerpts may be left out.
/// ES-5  Nothing of one tenant is given for another.
/// ES-6  Facts older than the retention are hidden at once; bodies are kept while anything may wait for them (17 days at least).
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Keeps bodies, before the backlog row or dead letter that needs them.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn put_events(&self, events: &[StoredEvent]) -> Result<()>;

    /// Records facts.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn record(&self, facts: &[Fact]) -> Result<()>;

    /// Reads what a second send needs: the event (`None` unless it was put) and the facts of this delivery.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self, event: &EventRef, endpoint: EndpointUid) -> Result<Loaded>;

    /// Reads an event that was put; of an id that was used twice, the newest.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn find(&self, tenant: &TenantId, event: &EventId) -> Result<Option<StoredEvent>>;

    /// Reads the facts of an event.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn facts(&self, tenant: &TenantId, event: &EventId, limit: usize) -> Result<Vec<Fact>>;

    /// Reads an endpoint's requests, newest first, strictly before `before` (time, attempt id bytes as `u128`).
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn attempts_of_endpoint(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> Result<Vec<Fact>>;
}

/// An event with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its name and place.
    pub at: EventRef,
    /// The event.
    pub event: Arc<Event>,
}

/// What a second send needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    /// The event, if it was put.
    pub event: Option<Arc<Event>>,
    /// The facts of the delivery, in any order.
    pub facts: Vec<Fact>,
}
