//! Hints that something changed. A lost hint heals by polling; nothing depends on one for correctness.

use async_trait::async_trait;
use domain::{Revision, Shard, TenantId};
use tokio::sync::broadcast;

use crate::Result;

/// Hints that a tenant's configuration or a shard's inbox changed.
///
/// CF-1  A hint reaches every subscriber that was there before, unless that one is too slow: it is told so by `Lagged` and re-reads everything.
/// CF-2  Sending waits for nobody.
#[async_trait]
pub trait ConfigFeed: Send + Sync + 'static {
    /// Tells all subscribers.
    ///
    /// # Errors
    /// When the hint could not be sent; callers log it and go on.
    async fn hint(&self, hint: Hint) -> Result<()>;

    /// Listens from now on. Bounded: a slow listener loses the oldest hints and learns of it.
    fn subscribe(&self) -> broadcast::Receiver<Hint>;
}

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hint {
    /// A tenant's configuration, now at least this revision.
    Tenant(TenantId, Revision),
    /// There are commands for this shard.
    Inbox(Shard),
}
