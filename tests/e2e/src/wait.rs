//! Waiting for conditions.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How long any wait of the harness lasts at most: far longer than anything that works takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often [`until`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` finds something, and returns that. For state that only the API shows; what a receiver saw is
/// awaited with [`crate::Receiver::wait_for`].
///
/// # Errors
/// What `look` fails with, at once; after [`DEADLINE`], `what`.
pub async fn until<T>(
    what: impl Display,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let search = async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await? {
                return Ok(found);
            }
        }
    };
    timeout_at(deadline, search)
        .await
        .unwrap_or_else(|_| Err(anyhow!("waited {} s in vain for: {what}", DEADLINE.as_secs())))
}
