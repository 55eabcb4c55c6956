//! What the API does, in the domain's words: no protobuf, no HTTP.
//!
//! One file a group of verbs. Everything takes parsed input and gives domain values or an [`Error`]; bad input changes nothing.

mod commands;
mod dead_letter_list;
mod dead_letters;
mod deliveries;
mod delivery_list;
mod delivery_waiting;
mod deps;
mod endpoint_draft;
mod endpoint_health;
mod endpoint_state;
mod endpoint_test;
mod endpoints;
mod error;
mod event_list;
mod event_types;
mod events;
mod jobs;
mod known_types;
mod names;
mod outage;
mod page;
mod publish;
mod publish_checks;
mod request_id;
mod resend;
mod schema;
mod secrets;
mod seed;
mod subscriptions;
mod tenants;
mod watch_deliveries;
mod watch_events;
mod watchers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use deps::{Config, Deps};
pub use jobs::JobRunner;
pub use tenants::ensure_default_tenant;

pub(crate) use dead_letter_list::DeadLetterQuery;
pub(crate) use dead_letters::{DeadLetterView, RedriveTarget};
pub(crate) use deliveries::{AttemptView, DeliveryView};
pub(crate) use endpoint_draft::{EndpointDraft, check_text};
pub(crate) use endpoint_health::Health;
pub(crate) use endpoint_state::{StateVerb, disable_text};
pub(crate) use endpoints::{
    CreateEndpoint, CreatedEndpoint, EndpointView, etag_of, name_of as name_of_endpoint,
};
pub(crate) use error::{Error, Faults, Violation};
pub(crate) use event_list::TimeRange;
pub(crate) use event_types::{
    CreateEventType, EventTypeDraft, name_of_type, schema_field, uid_of_type,
};
pub(crate) use jobs::{JobView, LettersVerb, Replay};
pub(crate) use names::tenant as parse_tenant;
pub(crate) use names::{
    DeadLetterName, DeliveryName, EndpointName, EndpointScope, EventName, EventTypeName, JobName,
    SubscriptionName,
};
pub(crate) use page::{Page, PageRequest};
pub(crate) use publish::{Publish, PublishDraft, PublishFailure, Published};
pub(crate) use request_id::RequestId;
pub(crate) use secrets::{Issued, RotateSecret};
pub(crate) use seed::Seed;
pub(crate) use subscriptions::{
    CreateSubscription, SubscriptionDraft, SubscriptionView, name_of as name_of_subscription,
};

pub(crate) use watch_deliveries::{WatchDeliveries, WatchedAttempt};
pub(crate) use watch_events::{WatchEvents, WatchedEvent};

/// The application: configuration, ports, and the little that is remembered between calls.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) deps: Deps,
    pub(crate) revisions: tenants::Revisions,
    pub(crate) loaded: tenants::LoadedTenants,
    pub(crate) types: known_types::KnownTypes,
    pub(crate) outage: outage::Outage,
    pub(crate) watchers: watchers::Watchers,
    /// A job was asked for in this process.
    pub(crate) job_asked: tokio::sync::Notify,
}

impl App {
    pub(crate) fn new(config: Config, deps: Deps) -> Self {
        Self {
            outage: outage::Outage::new(Arc::clone(&deps.clock)),
            config,
            deps,
            revisions: tenants::Revisions::default(),
            loaded: tenants::LoadedTenants::default(),
            types: known_types::KnownTypes::default(),
            watchers: watchers::Watchers::default(),
            job_asked: tokio::sync::Notify::new(),
        }
    }
}
