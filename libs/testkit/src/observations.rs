//! Attempts that were told, in memory.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::Observation;
use ports::Observations;
use tokio::sync::broadcast;

/// The `Observations` of one process, which remembers all that it was told.
pub struct MemoryObservations {
    told: Mutex<Vec<Arc<Observation>>>,
    watchers: broadcast::Sender<Arc<Observation>>,
}

impl MemoryObservations {
    /// What was told, oldest first.
    #[must_use]
    pub fn told(&self) -> Vec<Arc<Observation>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for MemoryObservations {
    fn default() -> Self {
        Self { told: Mutex::default(), watchers: broadcast::Sender::new(1_024) }
    }
}

#[async_trait]
impl Observations for MemoryObservations {
    fn tell(&self, observation: Observation) {
        let observation = Arc::new(observation);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(observation.clone());
        // Nobody watches: nobody needs to be told.
        let _ = self.watchers.send(observation);
    }

    async fn watch(&self) -> ports::Result<broadcast::Receiver<Arc<Observation>>> {
        Ok(self.watchers.subscribe())
    }
}
