//! A worker that loses its shards and gets them back while writes of the time before are under way.
#![expect(clippy::wildcard_enum_match_arm, reason = "a hook names the calls that it is about")]

use domain::Disposition;
use ports::EventLog as _;

use crate::hooked::{Call, Then};
use crate::world::{World, secs};

/// A success that was not recorded when the shards were lost; they are back at once.
async fn with_a_success_under_way() -> World {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.hooked.on(|call| match call {
        Call::Record(_) => Then::Hang,
        _ => Then::Go,
    });
    world.start().await;
    world.publish("evt_1").await;
    assert_eq!((world.sent("orders").len(), world.attempts(1).len()), (1, 0));
    let other = world.log.consume(&world.config.group).await.expect("another member");
    world.settle().await;
    drop(other);
    world.settle().await;
    world
}

#[tokio::test]
async fn what_was_answered_before_a_loss_is_recorded_before_it_is_looked_up() {
    let world = with_a_success_under_way().await;
    world.hooked.on(|_| Then::Go);
    // The call that hangs ends by its deadline, and is made again.
    world.pass(secs(15)).await;
    assert_eq!(world.sent("orders").len(), 1, "DL-4: it is not sent again");
    let attempts = world.attempts(1);
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].1.disposition, Disposition::Delivered);
    let at = attempts[0].0.event.at;
    assert_eq!(world.acked(at.shard), Some(at.position));
    // New events go out as ever.
    world.publish("evt_2").await;
    assert_eq!(world.sent("orders").len(), 2);
}

#[tokio::test]
async fn a_store_that_never_answers_does_not_keep_a_shard_from_coming_back() {
    let world = with_a_success_under_way().await;
    world.pass(secs(30)).await;
    assert_eq!(world.sent("orders").len(), 2, "it is sent again rather than never");
}
