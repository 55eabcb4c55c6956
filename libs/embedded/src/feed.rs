//! Hints within one process.

use async_trait::async_trait;
use ports::{ConfigFeed, Hint};
use tokio::sync::broadcast;

/// Hints that a listener may be behind before it is told to read everything again.
const QUEUE: usize = 1_024;

/// The `ConfigFeed` of one process: a broadcast channel.
pub struct InProcessFeed {
    hints: broadcast::Sender<Hint>,
}

impl InProcessFeed {
    /// Makes a feed that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        let (hints, _) = broadcast::channel(QUEUE);
        Self { hints }
    }
}

impl Default for InProcessFeed {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ConfigFeed for InProcessFeed {
    async fn hint(&self, hint: Hint) -> ports::Result<()> {
        // Without listeners there is nobody to tell: that is no failure.
        let _ = self.hints.send(hint);
        Ok(())
    }

    fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}
