//! A worker is killed, and another one goes on with the same log and store.

use std::collections::BTreeMap;

use domain::{Disposition, Shard};
use testkit::Reply;

use crate::world::{SHARDS, World, secs, url};

#[tokio::test]
async fn what_is_recorded_and_not_acked_is_looked_up_and_not_sent_again() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let at = world.publish("evt_1").await;
    assert_eq!((world.attempts(1).len(), world.acked(at.shard)), (1, None));
    world.kill().await;
    world.start().await;
    world.pass(secs(2)).await;
    assert_eq!(world.sent("orders").len(), 1);
    assert_eq!(world.acked(at.shard), Some(at.position));
}

#[tokio::test]
async fn what_was_in_flight_is_sent_once_more_under_the_same_id() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.sender.always(&url("orders"), Reply::status(200).after(secs(20)));
    world.publish("evt_1").await;
    world.pass(secs(5)).await;
    world.kill().await;
    assert_eq!(world.sender.in_flight().0, 0);
    world.start().await;
    world.pass(secs(30)).await;
    let ids: Vec<String> = world.sent("orders").into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, ["evt_1", "evt_1"]);
    assert_eq!(world.attempts(1).len(), 1);
}

#[tokio::test]
async fn kills_lose_nothing_and_repeat_at_most_what_was_in_flight() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let mut in_flight = 0;
    for round in 0..12_u64 {
        let script = (0..10).map(|n| match (n + round) % 5 {
            0 => Reply::status(503),
            1 => Reply::status(200).after(secs(3)),
            _ => Reply::status(200),
        });
        world.sender.script(&url("orders"), script);
        for event in 0..10 {
            world.publish(&format!("evt_{round}_{event}")).await;
        }
        world.pass(std::time::Duration::from_millis(170 * round)).await;
        in_flight += world.sender.in_flight().0;
        world.kill().await;
        world.start().await;
    }
    world.pass(secs(3_600)).await;
    let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
    for (fact, attempt) in world.attempts(1) {
        if attempt.disposition == Disposition::Delivered {
            *delivered.entry(fact.event.id.to_string()).or_default() += 1;
        }
    }
    assert_eq!(delivered.len(), 120, "every event is delivered");
    assert!(delivered.values().all(|count| *count == 1), "{delivered:?}");
    let sent = world.sent("orders").len();
    assert!(sent <= world.attempts(1).len() + in_flight, "{sent} requests");
    for shard in (0..SHARDS).map(Shard) {
        assert!(world.acked(shard).is_some());
    }
}
