//! Shards that were given up here, and of which writes are still under way.
//!
//! A shard that comes back to this worker is read once those have ended: what was answered is recorded then, and is not sent again. Not for longer than a call
//! and what follows it take: what lands after that does no harm (ADR 15), and other shards wait meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Shard;
use ports::Clock;
use tokio::sync::Notify;

/// Longest wait: a call that is under way ends after 10 s, and the successes of its batch are recorded by another one.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Shared by the reader, which tells of losses and take-overs, and the loop, which knows what is written.
#[derive(Clone, Default)]
pub(crate) struct Former(Arc<Inner>);

#[derive(Default)]
struct Inner {
    shards: Mutex<BTreeSet<Shard>>,
    /// Wakes all who wait in the order in which they came: shards that come back together are read in the same order each time.
    ended: Notify,
}

impl Former {
    /// The loop is about to be told that a shard is lost.
    pub(crate) fn begin(&self, shard: Shard) {
        self.shards().insert(shard);
    }

    /// Nothing of a shard's former assignment is under way any more.
    pub(crate) fn end(&self, shard: Shard) {
        if self.shards().remove(&shard) {
            self.0.ended.notify_waiters();
        }
    }

    /// Waits until nothing of a shard's former assignment is under way. Cancel safe: it only looks.
    pub(crate) async fn ended(&self, shard: Shard, clock: &dyn Clock) {
        tokio::select! {
            biased;
            () = self.wait(shard) => {}
            () = clock.sleep(WAIT_MAX) => {
                tracing::warn!(
                    shard = shard.0,
                    "a shard came back while writes of its last assignment still wait for the store; what they record may be sent again",
                );
            }
        }
    }

    async fn wait(&self, shard: Shard) {
        loop {
            // Made before the look: an end in between is heard.
            let ended = self.0.ended.notified();
            if !self.shards().contains(&shard) {
                return;
            }
            ended.await;
        }
    }

    fn shards(&self) -> MutexGuard<'_, BTreeSet<Shard>> {
        self.0.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
