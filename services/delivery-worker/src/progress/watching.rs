//! Asks the log how far it reaches, and tells what has changed.

use std::time::Duration;

use domain::Shard;
use futures::{StreamExt as _, stream};
use runtime::Shutdown;

use super::{Follower, Progress};
use crate::calls::within;
use crate::config::Deps;

/// How often the log is asked how far it reaches.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Shards that are asked about at once.
const AT_ONCE: usize = 4;

/// Looks until the shutdown begins.
pub(crate) async fn watch(
    follower: Follower,
    deps: Deps,
    stalled_after: Duration,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = deps.clock.sleep(LOOK_EVERY) => {}
        }
        let shards: Vec<Shard> = follower.state().tracks.keys().copied().collect();
        let looks = stream::iter(shards)
            .for_each_concurrent(AT_ONCE, |shard| look(&follower, &deps, shard));
        let round = async {
            looks.await;
            Ok(())
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            // One that did not end leaves some shards with what was known of them.
            _ = within(&*deps.clock, round) => {}
        }
        follower.tell(&deps, stalled_after);
    }
}

async fn look(follower: &Follower, deps: &Deps, shard: Shard) {
    let Ok(bounds) = deps.log.bounds(shard).await else { return };
    let now = deps.clock.now();
    let doubt = {
        let mut state = follower.state();
        let Some(track) = state.tracks.get_mut(&shard) else { return };
        track.looked(bounds, now, deps.clock.monotonic());
        track.doubt(now)
    };
    let Some((from, to)) = doubt else { return };
    let Ok(page) = deps.log.read_range(shard, from, to, 1).await else { return };
    if page.records.is_empty()
        && page.next.is_none()
        && let Some(track) = follower.state().tracks.get_mut(&shard)
    {
        track.done_before(to, deps.clock.monotonic());
    }
}

impl Follower {
    fn tell(&self, deps: &Deps, stalled_after: Duration) {
        let (now, monotonic) = (deps.clock.now(), deps.clock.monotonic());
        let progress = self.state().progress(now, monotonic, stalled_after);
        self.tell.send_if_modified(|told| {
            let before = std::mem::replace(told, progress);
            say(&before, told);
            before != *told
        });
    }
}

/// Says once that a shard stands still, and that it moves again.
fn say(before: &Progress, now: &Progress) {
    let was_still =
        |shard: &Shard| before.shards.get(shard).is_some_and(|lag| lag.stalled.is_some());
    for (shard, lag) in &now.shards {
        match lag.stalled {
            Some(still) if !was_still(shard) => tracing::warn!(
                shard = shard.0,
                still_s = still.as_secs(),
                waiting = lag.records,
                oldest_s = lag.age.as_secs(),
                "a shard stands still: records wait and its position does not move; look for what the lines before say of the store, the log or its records",
            ),
            None if was_still(shard) => {
                tracing::info!(shard = shard.0, waiting = lag.records, "a shard moves again");
            }
            Some(_) | None => {}
        }
    }
}
