//! The store and the log are away for a while.

use std::collections::BTreeMap;

use domain::{Disposition, Shard};
use ports::EventLog as _;
use testkit::{Fault, Reply};

use crate::world::{SHARDS, World, secs, url};

fn delivered(world: &World) -> BTreeMap<String, usize> {
    let mut delivered = BTreeMap::new();
    for (fact, attempt) in world.attempts(1) {
        if attempt.disposition == Disposition::Delivered {
            *delivered.entry(fact.event.id.to_string()).or_default() += 1;
        }
    }
    delivered
}

async fn heals_from(fault: Fault) {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    for round in 0..5 {
        world.store.faults().fail_writes(7, fault);
        world.store.faults().fail_reads(5);
        world.log.faults().fail_reads(3);
        let script = [Reply::status(200), Reply::status(500), Reply::status(200)];
        world.sender.script(&url("orders"), script);
        for event in 0..4 {
            world.publish_while_away(&format!("evt_{round}_{event}")).await;
        }
        world.pass(secs(7)).await;
    }
    world.pass(secs(3_600)).await;
    let delivered = delivered(&world);
    assert_eq!(delivered.len(), 20, "{fault:?}: every event is delivered");
    assert!(delivered.values().all(|count| *count == 1), "{fault:?}: {delivered:?}");
    assert_eq!(
        world.sent("orders").len(),
        world.attempts(1).len(),
        "{fault:?}: every request is recorded"
    );
    for shard in (0..SHARDS).map(Shard) {
        let next = world.log.bounds(shard).await.expect("bounds").next;
        assert_eq!(world.acked(shard).map(domain::Position::next), Some(next), "{fault:?}");
    }
}

impl World {
    /// Publishes without asking the store for the revision: it is away.
    async fn publish_while_away(&self, id: &str) {
        self.append(&self.event(id)).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_when_writes_fail_for_a_while() {
    for fault in [Fault::Unavailable, Fault::Full, Fault::UnknownLost, Fault::UnknownApplied] {
        heals_from(fault).await;
    }
}

#[tokio::test]
async fn an_ack_that_fails_is_made_good_by_the_next_one() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.publish("evt_1").await;
    world.log.faults().fail_writes(1, Fault::Unavailable);
    world.pass(secs(1)).await;
    let at = world.publish("evt_1").await;
    world.pass(secs(1)).await;
    assert_eq!(world.acked(at.shard), Some(at.position));
}

#[tokio::test]
async fn a_store_that_is_away_for_good_does_not_hold_up_the_shutdown() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.store.faults().fail_writes(usize::MAX, Fault::Unavailable);
    world.publish("evt_1").await;
    world.pass(secs(5)).await;
    let ended = world.stop(world.config.drain + secs(5)).await;
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    world.store.faults().clear();
    world.start().await;
    world.pass(secs(5)).await;
    assert_eq!(delivered(&world).len(), 1);
}

#[tokio::test]
async fn a_reader_that_waits_for_the_store_does_not_hold_up_the_shutdown() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let replies = [1, 2, 3].map(|after| Reply::status(200).after(secs(after)));
    world.sender.script(&url("orders"), replies);
    for _ in 0..3 {
        world.publish("evt_1").await;
    }
    // The next record needs a newer configuration than the reader has; it cannot be read.
    world.store.faults().fail_reads(usize::MAX);
    let newer = Some(domain::Revision(1_000));
    world.append(&domain::Event { revision: newer, ..world.event("evt_2") }).await;
    world.pass(secs(10)).await;
    let ended = world.stop(world.config.drain + secs(5)).await;
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
}
