//! The system's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::Timestamp;
use ports::Clock;

/// Longest sleep before the wall clock is looked at again: a clock that was set forward wakes sleepers within this time.
const RECHECK: Duration = Duration::from_secs(10);

/// The system's clock as a [`Clock`].
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Makes a clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the adapter of the `Clock` port")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the adapter of the `Clock` port")]
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: nothing is due, and nothing panics.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep_until(&self, time: Timestamp) {
        loop {
            let left = time.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(RECHECK)).await;
        }
    }

    /// Waits by the monotonic clock: a wall clock that is set meanwhile changes nothing.
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeping_ends_once_the_time_has_come() {
        let clock = SystemClock::new();
        let (until, before) = (clock.now() + Duration::from_millis(20), clock.monotonic());
        clock.sleep_until(until).await;
        assert!(clock.now() >= until);
        assert!(clock.monotonic() > before);
    }

    #[tokio::test]
    async fn a_time_in_the_past_returns_at_once() {
        SystemClock::new().sleep_until(Timestamp::ZERO).await;
    }
}
