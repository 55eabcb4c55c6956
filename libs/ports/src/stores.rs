//! All stores of one adapter, together.

use std::sync::Arc;

use crate::{
    BacklogStore, ConfigStore, DeadLetterStore, EventStore, EventTypeStore, IdempotencyStore,
    InboxStore, JobStore, LaneStore, LineStore,
};

/// Every store port of one adapter.
#[derive(Clone)]
pub struct Stores {
    /// Events and facts.
    pub events: Arc<dyn EventStore>,
    /// What waits.
    pub backlog: Arc<dyn BacklogStore>,
    /// Lanes.
    pub lanes: Arc<dyn LaneStore>,
    /// What is held behind others of its ordering key.
    pub lines: Arc<dyn LineStore>,
    /// Commands.
    pub inbox: Arc<dyn InboxStore>,
    /// Dead letters.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Configuration.
    pub config: Arc<dyn ConfigStore>,
    /// Registered event types.
    pub event_types: Arc<dyn EventTypeStore>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Idempotency keys.
    pub idempotency: Arc<dyn IdempotencyStore>,
}

impl Stores {
    /// The ports of a type that has all of them.
    pub fn of<S>(store: &Arc<S>) -> Self
    where
        S: EventStore
            + BacklogStore
            + LaneStore
            + LineStore
            + InboxStore
            + DeadLetterStore
            + ConfigStore
            + EventTypeStore
            + JobStore
            + IdempotencyStore,
    {
        Self {
            events: Arc::clone(store) as _,
            backlog: Arc::clone(store) as _,
            lanes: Arc::clone(store) as _,
            lines: Arc::clone(store) as _,
            inbox: Arc::clone(store) as _,
            dead_letters: Arc::clone(store) as _,
            config: Arc::clone(store) as _,
            event_types: Arc::clone(store) as _,
            jobs: Arc::clone(store) as _,
            idempotency: Arc::clone(store) as _,
        }
    }
}
