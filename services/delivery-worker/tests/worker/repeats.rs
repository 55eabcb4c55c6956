//! Records of plain producers that repeat an event (DL-7).

use domain::{Content, DisableReason, EndpointState, Event, LogPosition, Position, Shard};
use ports::{Applied, Clock as _, ConfigStore as _, IdempotencyRow, IdempotencyStore as _};
use ports::{EventLog as _, StateChange};
use testkit::Reply;

use crate::world::{World, secs, tenant, uid, url};

impl World {
    /// An event as a plain producer writes it, with an idempotency key.
    fn keyed(&self, id: &str, key: &str) -> Event {
        // The body is the same for all ids, as a repeat's is.
        Event { id: self.event(id).id, idempotency_key: Some(key.into()), ..self.event("same") }
    }

    /// Appends an event to each shard: copies that differ in their ordering key alone lie on different shards sooner or later.
    async fn append_to(&self, event: &Event, shard: Shard) -> LogPosition {
        let key = |n: &u32| {
            let key = n.to_string();
            self.log.shards().of_key(key.as_bytes()) == shard
        };
        let key = (0..).find(key).expect("some number lies there").to_string();
        let mut record = domain::record::encode(event);
        record.key = Some(key.into());
        let at = self.log.append(vec![record]).await.remove(0).expect("durable").at;
        self.settle().await;
        at
    }

    fn ids(&self) -> Vec<String> {
        self.sent("orders").into_iter().map(|(_, id)| id).collect()
    }
}

#[tokio::test]
async fn a_key_is_delivered_once_also_by_another_shard_and_after_a_kill() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let first = world.append_to(&world.keyed("evt_1", "k"), Shard(0)).await;
    let second = world.append_to(&world.keyed("evt_2", "k"), Shard(1)).await;
    world.pass(secs(1)).await;
    assert_eq!(world.ids(), ["evt_1"]);
    for at in [first, second] {
        assert_eq!(world.acked(at.shard), Some(at.position), "a repeat is done at once");
    }
    world.kill().await;
    world.start().await;
    world.append_to(&world.keyed("evt_3", "k"), Shard(1)).await;
    world.pass(secs(1)).await;
    assert_eq!(world.ids(), ["evt_1"], "the store remembers what this process never met");
    assert!(world.log.quarantined().is_empty());
}

#[tokio::test]
async fn the_first_of_a_key_is_delivered_when_it_is_read_again() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.sender.always(&url("orders"), Reply::status(200).after(secs(20)));
    world.start().await;
    world.append(&world.keyed("evt_1", "k")).await;
    world.append(&world.keyed("evt_2", "k")).await;
    world.pass(secs(5)).await;
    world.kill().await;
    world.start().await;
    world.pass(secs(30)).await;
    assert_eq!(world.ids(), ["evt_1", "evt_1"], "once before the kill, once after");
    assert_eq!(world.attempts(1).len(), 1);
}

#[tokio::test]
async fn a_key_that_comes_with_another_body_is_set_aside() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    let other = Event { data: "2".into(), ..world.keyed("evt_2", "k") };
    world.append(&world.keyed("evt_1", "k")).await;
    world.append(&other).await;
    world.kill().await;
    world.start().await;
    world.append(&other).await;
    world.pass(secs(1)).await;
    assert_eq!(world.ids(), ["evt_1"]);
    let aside = world.log.quarantined();
    let fields: Vec<_> = aside.iter().map(|(_, poison)| poison.field).collect();
    assert!(fields.len() >= 2 && fields.iter().all(|field| *field == "postrider_idempotency_key"));
}

#[tokio::test]
async fn a_key_that_the_api_published_is_known() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    let repeat = world.keyed("evt_2", "k");
    let row = IdempotencyRow {
        event: world.event("evt_1").id,
        at: LogPosition { shard: Shard(1), position: Position(77) },
        body_hash: Content::of(&repeat, &world.config.api_version).hash("k"),
        time: world.clock.now(),
    };
    world.store.put(&tenant(), &[("k", row)]).await.expect("put");
    world.start().await;
    world.append(&repeat).await;
    world.append(&world.keyed("evt_3", "other")).await;
    assert_eq!(world.ids(), ["evt_3"]);
}

#[tokio::test]
async fn an_id_is_delivered_once_while_it_is_remembered() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    for _ in 0..3 {
        world.append(&world.event("evt_1")).await;
    }
    world.append(&Event { data: "2".into(), ..world.event("evt_1") }).await;
    assert_eq!(world.ids(), ["evt_1", "evt_1"], "one for each body");
}

#[tokio::test]
async fn a_key_waits_for_the_store_and_other_events_do_not_need_it() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.publish("evt_0").await;
    world.store.faults().fail_reads(3);
    world.append(&world.keyed("evt_1", "k")).await;
    assert_eq!(world.ids(), ["evt_0"]);
    world.pass(secs(2)).await;
    assert_eq!(world.ids(), ["evt_0", "evt_1"]);
}

#[tokio::test]
async fn what_is_caught_up_leaves_repeats_out_too() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.sender.script(&url("orders"), [Reply::status(410)]);
    world.start().await;
    world.publish("evt_0").await;
    world.pass(secs(2)).await;
    world.append(&world.keyed("evt_1", "k")).await;
    world.pass(secs(1)).await;
    world.append(&world.keyed("evt_2", "k")).await;
    world.pass(secs(2)).await;
    let from = EndpointState::Disabled(DisableReason::Answer(410));
    let change = StateChange { from, to: EndpointState::Active, time: world.clock.now() };
    match world.store.set_state(&tenant(), uid(1), change).await {
        Ok(Applied::Done(revision)) => world.hint(revision).await,
        other => panic!("the endpoint was not resumed: {other:?}"),
    }
    world.pass(secs(120)).await;
    let ids = world.ids();
    assert!(ids.contains(&"evt_1".to_owned()) && !ids.contains(&"evt_2".to_owned()), "{ids:?}");
}
