//! The traits that roles talk through.
//!
//! A port speaks the domain's words and has a numbered contract in its documentation; each number is one function of the conformance suite
//! (module [`conformance`]) that every adapter runs. Roles hold ports as `Arc<dyn …>` and cannot tell the embedded engine from a cluster.
//!
//! Ports are at least once: a write that timed out may have happened ([`Error::is_unknown`]), and repeating any write is harmless.

mod clock;
mod config_feed;
mod config_store;
pub mod conformance;
mod dead_letter_store;
mod delivery_store;
mod error;
mod event_log;
mod event_store;
mod event_type_store;
mod job_store;
mod key_provider;
mod lease;
mod line_store;
mod observations;
mod sender;
mod stores;

pub use clock::{Clock, Rng};
pub use config_feed::{ConfigFeed, Hint};
pub use config_store::{
    Applied, ConfigStore, EndpointConfig, Expect, IdempotencyRow, IdempotencyStore, StateChange,
    Tenant, TenantConfig,
};
pub use dead_letter_store::{
    DeadLetterFilter, DeadLetterKey, DeadLetterPage, DeadLetterStore, Taken,
};
pub use delivery_store::{BacklogPage, BacklogStore, InboxStore, LaneStore};
pub use error::{Error, ErrorKind, Result};
pub use event_log::{
    Ack, AckError, Appended, Bounds, Consumer, ConsumerItem, EventLog, LogRecord, RangePage, Shards,
};
pub use event_store::{EventStore, Loaded, StoredEvent};
pub use event_type_store::EventTypeStore;
pub use job_store::JobStore;
pub use key_provider::{KeyError, KeyProvider};
pub use lease::{Hold, Lease};
pub use line_store::LineStore;
pub use observations::Observations;
pub use sender::{HeaderName, Request, Sender};
pub use stores::Stores;
