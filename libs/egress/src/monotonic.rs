//! The clock of deadlines and connection ages.

use tokio::time::Instant;

/// Now, on the runtime's clock: the one that its timers obey, also when a test pauses it. Nothing here is a time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "deadlines must be on the clock of the timers that enforce them"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
