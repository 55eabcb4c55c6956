//! `ConfigFeed`.

use domain::{Revision, Shard};
use tokio::sync::broadcast::error::RecvError;

use super::sample::tenant;
use super::soon;
use crate::{ConfigFeed, Hint};

/// Runs every contract of `ConfigFeed` on a feed that nothing else uses.
pub async fn config_feed_suite(feed: &dyn ConfigFeed) {
    cf_1_a_hint_reaches_every_subscriber(feed).await;
    cf_1_a_slow_subscriber_is_told(feed).await;
    cf_2_sending_waits_for_nobody(feed).await;
}

/// CF-1: a hint reaches every subscriber that was there before.
pub async fn cf_1_a_hint_reaches_every_subscriber(feed: &dyn ConfigFeed) {
    let (mut one, mut two) = (feed.subscribe(), feed.subscribe());
    let hints = [Hint::Tenant(tenant("acme"), Revision(7)), Hint::Inbox(Shard(3))];
    for hint in &hints {
        feed.hint(hint.clone()).await.expect("hint");
    }
    for listener in [&mut one, &mut two] {
        for hint in &hints {
            let heard = soon("a hint", listener.recv()).await;
            assert_eq!(heard.as_ref(), Ok(hint));
        }
    }
}

/// CF-1: a subscriber that is too slow is told so by `Lagged`, then hears the newest hints.
pub async fn cf_1_a_slow_subscriber_is_told(feed: &dyn ConfigFeed) {
    let mut slow = feed.subscribe();
    for n in 0..100_000 {
        feed.hint(Hint::Tenant(tenant("acme"), Revision(n))).await.expect("hint");
    }
    let first = soon("a hint", slow.recv()).await;
    assert!(matches!(first, Err(RecvError::Lagged(_))), "{first:?}");
    let newest = Hint::Tenant(tenant("acme"), Revision(99_999));
    // On its way from another process it may take a moment, and may be lagged behind again.
    while soon("the newest hint", slow.recv()).await.as_ref() != Ok(&newest) {}
}

/// CF-2: sending waits for nobody, whether there are slow subscribers or none.
pub async fn cf_2_sending_waits_for_nobody(feed: &dyn ConfigFeed) {
    soon("sending", feed.hint(Hint::Inbox(Shard(1)))).await.expect("hint");
    let _slow = feed.subscribe();
    for _ in 0..10_000 {
        soon("sending", feed.hint(Hint::Inbox(Shard(1)))).await.expect("hint");
    }
}
