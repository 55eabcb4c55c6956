//! Shards that were given up here, and of which writes are still under way.
//!
//! A shard that comes back to this worker is read once those have ended: what was answered is recorded then, and is not sent again. Not for longer than a call
//! and what follows it take: what lands after that does no harm (ADR 15), and other shards wait meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::Shard;
use ports::Clock;
use tokio::sync::watch;

/// Longest wait: a call that is under way ends after 10 s, and the successes of its batch are recorded by another one.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Shared by the reader, which tells of losses and take-overs, and the loop, which knows what is written.
#[derive(Clone)]
pub(crate) struct Former(Arc<watch::Sender<BTreeSet<Shard>>>);

impl Former {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeSet::new())))
    }

    /// The loop is about to be told that a shard is lost.
    pub(crate) fn begin(&self, shard: Shard) {
        self.0.send_modify(|shards| {
            shards.insert(shard);
        });
    }

    /// Nothing of a shard's former assignment is under way any more.
    pub(crate) fn end(&self, shard: Shard) {
        self.0.send_if_modified(|shards| shards.remove(&shard));
    }

    /// Waits until nothing of a shard's former assignment is under way. Cancel safe: it only looks.
    pub(crate) async fn ended(&self, shard: Shard, clock: &dyn Clock) {
        let mut shards = self.0.subscribe();
        tokio::select! {
            biased;
            // The sender lives in `self`.
            _ = shards.wait_for(|shards| !shards.contains(&shard)) => {}
            () = clock.sleep(WAIT_MAX) => {
                tracing::warn!(
                    shard = shard.0,
                    "a shard came back while writes of its last assignment still wait for the store; what they record may be sent again",
                );
            }
        }
    }
}
