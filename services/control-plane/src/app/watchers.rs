//! Calls that last: how many there may be, and how long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;

/// Calls that watch at one time, in this process. Each holds at most a few MiB.
const WATCHERS_MAX: usize = 32;

/// A call that watches ends after this and is made again: below the time in which a connection that was asked to end must end.
pub(super) const WATCH_TIME: Duration = Duration::from_secs(60);

/// The places of those who watch.
pub(crate) struct Watchers(Arc<Semaphore>);

impl Default for Watchers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WATCHERS_MAX)))
    }
}

impl Watchers {
    /// Takes a place, until what is returned is dropped.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.0.clone().try_acquire_owned().map_err(|_| Error::TooManyWatchers(WATCHERS_MAX))
    }
}
