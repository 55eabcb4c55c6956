//! What the role is given.

use std::sync::Arc;

use domain::egress_policy::EgressPolicy;
use domain::{ApiVersion, limits};
use ports::{
    BacklogStore, Clock, ConfigFeed, ConfigStore, DeadLetterStore, EventLog, EventStore,
    EventTypeStore, IdempotencyStore, InboxStore, JobStore, KeyProvider, LaneStore, Observations,
    Rng,
};

use crate::telemetry::Metrics;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `api_version` of events whose publisher names none. Default `2026-01-01`.
    pub api_version: ApiVersion,
    /// Most bytes of an event's data; at most [`limits::EVENT_BODY_BYTES_MAX`], which is the default.
    pub event_bytes_max: usize,
    /// The rules that a URL is checked with; the dial enforces the same.
    pub egress: EgressPolicy,
    /// Most endpoints of one tenant. Default [`limits::ENDPOINTS_PER_TENANT_MAX`].
    pub endpoints_per_tenant_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::parse("2026-01-01").expect("a date is a valid version"),
            event_bytes_max: limits::EVENT_BODY_BYTES_MAX,
            egress: EgressPolicy::production(),
            endpoints_per_tenant_max: limits::ENDPOINTS_PER_TENANT_MAX,
        }
    }
}

/// The ports that the role talks through. Cheap to clone.
#[derive(Clone)]
pub struct Deps {
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// Tenants, endpoints, subscriptions, sealed secrets.
    pub config: Arc<dyn ConfigStore>,
    /// Registered event types.
    pub event_types: Arc<dyn EventTypeStore>,
    /// Keys of publishers, and request ids.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Bodies and facts.
    pub events: Arc<dyn EventStore>,
    /// Lanes, read for the health of endpoints.
    pub lanes: Arc<dyn LaneStore>,
    /// What waits, read for lists of deliveries.
    pub backlog: Arc<dyn BacklogStore>,
    /// Commands to the owners of shards.
    pub inbox: Arc<dyn InboxStore>,
    /// Dead letters.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Hints to the workers.
    pub feed: Arc<dyn ConfigFeed>,
    /// Attempts as they end.
    pub observations: Arc<dyn Observations>,
    /// Seals secrets.
    pub keys: Arc<dyn KeyProvider>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// What it counts.
    pub metrics: Metrics,
    /// Authenticates page tokens; the same in every process that serves the API, or tokens hold for one process only.
    pub page_token_key: [u8; 32],
}
