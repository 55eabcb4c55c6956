//! Attempts as they happen, told to whoever watches. Nothing depends on one being heard: what is durable is in the store.

use std::sync::Arc;

use async_trait::async_trait;
use domain::Observation;
use tokio::sync::broadcast;

use crate::Result;

/// A best-effort broadcast of attempts, from all workers to all watchers.
///
/// OB-1  What is told reaches every watcher that was there before, unless that one is too slow: it is told so by `Lagged`, and hears the newest.
/// OB-2  Telling waits for nobody and never fails: what cannot be sent is dropped.
/// OB-3  An observation comes as it was told, times to the millisecond and durations to the microsecond.
#[async_trait]
pub trait Observations: Send + Sync + 'static {
    /// Tells all watchers.
    fn tell(&self, observation: Observation);

    /// Watches from now on, all tenants. Bounded: a slow watcher loses the oldest and learns of it.
    ///
    /// # Errors
    /// When nothing can be heard now.
    async fn watch(&self) -> Result<broadcast::Receiver<Arc<Observation>>>;
}
