//! The contracts of the ports as code: one function a number. Every adapter runs them.
//!
//! A fixture makes an empty adapter for each function ([`LogFixture::fresh`], [`StoreFixture::fresh`]), restarts it, and moves its clock; nothing
//! sleeps, and a wait that never ends is a panic after [`PATIENCE`]. `*_suite` runs all functions of one port. Failures are panics that say what
//! was expected.

mod config;
mod dead_letter_lists;
mod dead_letters;
mod delivery;
mod event_log;
mod event_log_groups;
mod event_types;
mod events;
mod feed;
mod idempotency;
mod jobs;
mod keys;
mod lines;
mod observations;
mod sample;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;

use crate::{Ack, AckError, Consumer, EventLog, Stores};

pub use config::*;
pub use dead_letter_lists::*;
pub use dead_letters::*;
pub use delivery::*;
pub use event_log::*;
pub use event_log_groups::*;
pub use event_types::*;
pub use events::*;
pub use feed::*;
pub use idempotency::*;
pub use jobs::*;
pub use keys::*;
pub use lines::*;
pub use observations::*;

/// How long the suites wait for something that a working adapter does at once: a bound on hanging, not an assertion.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Makes logs of one adapter.
#[async_trait]
pub trait LogFixture: Send + Sync {
    /// An empty log of two shards at least.
    async fn fresh(&self) -> Box<dyn LogUnderTest>;
}

/// One log.
#[async_trait]
pub trait LogUnderTest: Send + Sync {
    /// The log, as it is open now.
    fn log(&self) -> Arc<dyn EventLog>;
    /// A group of this log alone. On a server that tests share, members of another log's group would take part in its rebalances.
    fn group(&self) -> String {
        "g".to_owned()
    }
    /// Closes the log and opens it again. Consumers and logs from before are dropped by the caller first.
    async fn restart(&mut self);
    /// Lets retention remove every record that was appended, whatever groups have acked.
    async fn remove_all(&mut self);
}

/// Makes stores of one adapter.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// An empty store.
    async fn fresh(&self) -> Box<dyn StoreUnderTest>;
}

/// One store.
#[async_trait]
pub trait StoreUnderTest: Send + Sync {
    /// Its ports, as they are open now.
    fn stores(&self) -> Stores;
    /// Closes the store and opens it again. Ports from before are dropped by the caller first.
    async fn restart(&mut self);
    /// The time that the store sees.
    fn now(&self) -> Timestamp;
    /// Moves that time on.
    fn advance(&self, by: Duration);
    /// Lets the store remove what has expired.
    async fn maintain(&self);
}

/// Runs the contracts of all stores.
pub async fn store_suite(fixture: &impl StoreFixture) {
    event_store_suite(fixture).await;
    backlog_store_suite(fixture).await;
    lane_store_suite(fixture).await;
    line_store_suite(fixture).await;
    inbox_store_suite(fixture).await;
    dead_letter_store_suite(fixture).await;
    config_store_suite(fixture).await;
    event_type_store_suite(fixture).await;
    idempotency_store_suite(fixture).await;
    job_store_suite(fixture).await;
}

/// Acks one shard.
///
/// # Errors
/// As [`Consumer::ack`] answers.
pub async fn acked(consumer: &mut dyn Consumer, ack: Ack) -> Result<(), AckError> {
    let mut answers = soon("an ack", consumer.ack(&[ack])).await;
    assert_eq!(answers.len(), 1, "one answer each");
    answers.remove(0)
}

/// Waits for what a working adapter does at once.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("{what} did not happen within {PATIENCE:?}");
    };
    value
}
