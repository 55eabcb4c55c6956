//! Log and store of a cluster at the start: they may come up later than this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventlog_kafka::Kafka;
use ports::Clock as _;
use runtime::SystemClock;
use store_scylla::Scylla;

/// Between the first two tries; twice as long after each.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest between two tries.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Connects to Kafka. Waits while it does not answer. Cancel safe.
///
/// # Errors
/// What waiting does not mend: one line that says what is wrong and what to do.
pub(super) async fn log(
    settings: &eventlog_kafka::Settings,
    clock: &Arc<SystemClock>,
) -> Result<Kafka, eventlog_kafka::OpenError> {
    let open = async || Kafka::connect(settings, clock.clone()).await;
    patiently("the event log", clock, eventlog_kafka::OpenError::is_retryable, open).await
}

/// Connects to the store and makes its keyspace that of an event log. Waits while it does not answer. Cancel safe.
///
/// # Errors
/// What waiting does not mend: one line that says what is wrong and what to do.
pub(super) async fn store(
    settings: &store_scylla::Settings,
    event_log: &str,
    clock: &Arc<SystemClock>,
) -> Result<Scylla, store_scylla::OpenError> {
    let open = async || {
        let scylla = Scylla::connect(settings, clock.clone()).await?;
        scylla.claim(event_log).await?;
        Ok(scylla)
    };
    patiently("the store", clock, store_scylla::OpenError::is_retryable, open).await
}

/// Tries until it succeeds or fails for good, and says once that it waits.
async fn patiently<T, E: fmt::Display>(
    what: &str,
    clock: &SystemClock,
    is_retryable: impl Fn(&E) -> bool,
    open: impl AsyncFn() -> Result<T, E>,
) -> Result<T, E> {
    let mut pause = RETRY_FIRST;
    let mut waits = false;
    loop {
        match Box::pin(open()).await {
            Ok(opened) => {
                if waits {
                    tracing::info!("{what} answers; the start goes on");
                }
                return Ok(opened);
            }
            Err(error) if is_retryable(&error) => {
                if std::mem::replace(&mut waits, true) {
                    tracing::debug!(%error, "the start still waits for {what}");
                } else {
                    tracing::warn!(%error, "the start waits for {what}: it is tried again until it answers");
                }
            }
            Err(error) => return Err(error),
        }
        clock.sleep(pause).await;
        pause = RETRY_MAX.min(pause * 2);
    }
}
