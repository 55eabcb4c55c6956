//! Attempts, told within one process.

use std::sync::Arc;

use async_trait::async_trait;
use domain::Observation;
use ports::Observations;
use tokio::sync::broadcast;

/// Observations that a watcher may be behind before it loses the oldest: about 1 MB while somebody watches.
const QUEUE: usize = 4_096;

/// The `Observations` of one process: a broadcast channel.
pub struct InProcessObservations(broadcast::Sender<Arc<Observation>>);

impl InProcessObservations {
    /// Makes one that nobody watches yet.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::Sender::new(QUEUE))
    }
}

impl Default for InProcessObservations {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Observations for InProcessObservations {
    fn tell(&self, observation: Observation) {
        if self.0.receiver_count() > 0 {
            // The last watcher may leave at this moment: then nobody needs to be told.
            let _ = self.0.send(Arc::new(observation));
        }
    }

    async fn watch(&self) -> ports::Result<broadcast::Receiver<Arc<Observation>>> {
        Ok(self.0.subscribe())
    }
}
