//! How far behind the shards are, and one that stands still, as a whole worker tells it.
#![expect(clippy::wildcard_enum_match_arm, reason = "a hook names the calls that it is about")]

use domain::Shard;
use ports::ErrorKind;
use postrider_delivery_worker::{Membership, Worker};

use crate::hooked::{Call, Then};
use crate::world::{SHARDS, World, secs};

/// A store that refuses the facts of one shard holds its position: that shard is behind and stands still, and no other.
#[tokio::test]
async fn a_shard_whose_facts_are_refused_stands_still_until_they_are_taken() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    let held = world.publish("evt_0").await.shard;
    world.hooked.on(move |call| match call {
        Call::Record(facts) if facts.iter().any(|fact| fact.event.at.shard == held) => {
            Then::Fail(ErrorKind::Unavailable)
        }
        _ => Then::Go,
    });
    let worker = Worker::new(world.config.clone(), world.deps());
    let progress = worker.alarms().progress;
    assert_eq!(progress.borrow().membership, Membership::Joining);
    world.workers.spawn(Box::pin(worker.run(world.shutdown.clone())));
    for number in 1..8 {
        world.publish(&format!("evt_{number}")).await;
    }

    world.pass(secs(110)).await;
    let before = progress.borrow().clone();
    assert_eq!(before.membership, Membership::Owner);
    assert_eq!(before.shards.len(), usize::from(SHARDS));
    for (shard, lag) in &before.shards {
        assert_eq!(lag.records > 0, *shard == held, "{shard:?}: {lag:?}");
        assert_eq!(lag.stalled, None, "{shard:?}: two minutes have not passed");
    }

    world.pass(secs(20)).await;
    let during = progress.borrow().clone();
    let still: Vec<Shard> = during
        .shards
        .iter()
        .filter(|(_, lag)| lag.stalled.is_some())
        .map(|(shard, _)| *shard)
        .collect();
    assert_eq!(still, [held]);
    let age = during.shards[&held].age;
    assert!((secs(120)..=secs(131)).contains(&age), "in the log since the start: {age:?}");

    world.hooked.on(|_| Then::Go);
    world.pass(secs(60)).await;
    for (shard, lag) in &progress.borrow().shards {
        assert_eq!((lag.records, lag.stalled), (0, None), "{shard:?}");
    }
}
