//! A given number of events, published as fast as they are acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::{Event, Publisher};
use crate::options::Api;
use crate::postrider::Postrider;

/// Connections that publish: what `batch` has by default.
const CALLERS: u16 = 8;
/// How often a batch is sent again that was not taken.
const TRIES_MAX: u16 = 50;
/// How long a caller waits after a refusal, so that a server that refuses is not hammered.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Publishes the events of the numbers below `count`, in batches, over gRPC. A batch that is refused is sent again: all are durable at the end.
///
/// # Errors
/// When a batch was refused over and over: the last reason.
pub(crate) async fn publish(
    server: &Postrider,
    count: u64,
    batch: u64,
    event: impl Fn(u64) -> Event + Send + Sync + 'static,
) -> Result<()> {
    let (next, event) = (Arc::new(AtomicU64::new(0)), Arc::new(event));
    let mut callers: JoinSet<Result<()>> = JoinSet::new();
    for _ in 0..CALLERS {
        let (next, event) = (Arc::clone(&next), Arc::clone(&event));
        let mut publisher = Publisher::connect(Api::Grpc, server).await?;
        callers.spawn(async move {
            loop {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                let numbers = first..count.min(first + batch);
                persist(&mut publisher, || numbers.clone().map(&*event).collect()).await?;
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Publishes a batch until it is taken whole.
async fn persist(publisher: &mut Publisher, batch: impl Fn() -> Vec<Event>) -> Result<()> {
    let mut pauses = tokio::time::interval(AFTER_REFUSAL);
    let mut tries = 0;
    loop {
        let events = batch();
        let size = events.len();
        tries += 1;
        match publisher.publish(events).await {
            Ok(accepted) => {
                ensure!(accepted == size, "{accepted} of {size} events of a batch were taken");
                return Ok(());
            }
            Err(error) if tries == TRIES_MAX => return Err(error),
            // A refusal names no condition that could be waited for.
            Err(_) => {
                pauses.reset();
                pauses.tick().await;
            }
        }
    }
}
