//! Time and chance, as ports, so that tests drive them.

use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;

/// Tells and waits for the time.
///
/// CK-1  `now` never goes back by more than the machine's clock does; `monotonic` never goes back.
/// CK-2  `sleep_until(t)` returns once `now() >= t`; a time in the past returns at once. Cancel safe.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: for due times, signatures and what people see.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment: for durations and deadlines.
    fn monotonic(&self) -> Duration;
    /// Waits until the wall clock reaches `time`.
    async fn sleep_until(&self, time: Timestamp);
    /// Waits so long.
    async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }
}

/// Gives random bits: for jitter, ids and keys.
///
/// RN-1  Values of the system's adapter are unpredictable; those of a test's adapter follow from its seed.
pub trait Rng: Send + Sync + 'static {
    /// The next 64 bits.
    fn next_u64(&self) -> u64;

    /// The next 128 bits.
    fn next_u128(&self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}
