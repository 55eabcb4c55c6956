//! Configuration that changes while events are on their way.

use bytes::Bytes;
use domain::{CommandKind, EventRef, LogPosition, Position, RunId, Shard};
use ports::{ConfigFeed as _, EventStore as _, Expect, Hint, StoredEvent};
use signing::{Scheme, Secret, SignedHeaders, Signer};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Reply, Sent};

use crate::world::{SHARDS, World, secs, tenant, uid, url};

const HALF: Duration = Duration::from_millis(500);

/// The `webhook-signature` that a secret alone makes for a request.
fn signature(secret: &Secret, sent: &Sent) -> String {
    let id = sent.header("webhook-id").expect("an id");
    let time = sent.header("webhook-timestamp").expect("a time").parse().expect("seconds");
    let mut headers = SignedHeaders::new();
    Signer::new(secret, &[], Scheme::Standard).sign(id, time, &sent.request.body, &mut headers);
    headers.get("webhook-signature").expect("signed").to_owned()
}

#[tokio::test]
async fn an_event_sees_every_change_that_was_acknowledged_before_although_hints_are_lost() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.publish("evt_1").await;
    let (config, _) = world.draft("stock", 2).await;
    world.put(&config, Expect::Absent).await;
    world.publish("evt_2").await;
    assert_eq!(world.sent("stock").len(), 1, "CF-1");
    assert_eq!(world.sent("orders").len(), 2);
}

#[tokio::test]
async fn other_hints_do_not_keep_a_lost_one_from_healing() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.append(&world.event("evt_1")).await;
    let (config, _) = world.draft("stock", 2).await;
    world.put(&config, Expect::Absent).await;
    for _ in 0..62 {
        world.feed.hint(Hint::Inbox(Shard(0))).await.expect("a hint");
        world.pass(HALF).await;
    }
    world.append(&world.event("evt_2")).await;
    assert_eq!(world.sent("stock").len(), 1, "within 30 s");
}

/// Puts a test event into the store, as the API does.
pub(crate) async fn test_event(world: &World) -> CommandKind {
    let event = world.event("evt_test");
    let at = LogPosition::off_log(Position(7));
    let at = EventRef { tenant: tenant(), id: event.id.clone(), at };
    let stored = StoredEvent { at: at.clone(), event: Arc::new(event) };
    world.store.put_events(&[stored]).await.expect("stored");
    CommandKind::Test { event: at, run: RunId::from_slice(&[7; 16]).expect("16 bytes") }
}

#[tokio::test]
async fn other_hints_do_not_keep_a_command_waiting() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.publish("evt_1").await;
    let test = test_event(&world).await;
    world.command(1, Shard(1), test).await;
    for _ in 0..4 {
        world.feed.hint(Hint::Inbox(Shard(0))).await.expect("a hint");
        world.pass(HALF).await;
    }
    assert_eq!(world.sent("orders").len(), 2, "its own hint was lost: within a second");
}

#[tokio::test]
async fn a_command_finds_an_endpoint_that_was_made_just_before() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.publish("evt_1").await;
    let (config, _) = world.draft("stock", 2).await;
    world.put(&config, Expect::Absent).await;
    let test = test_event(&world).await;
    world.command(2, Shard(0), test).await;
    world.pass(secs(2)).await;
    assert_eq!(world.sent("stock").len(), 1, "the test is sent");
}

#[tokio::test]
async fn a_deleted_endpoint_gets_nothing_more_and_holds_nothing_up() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.endpoint("stock", 2).await;
    world.start().await;
    world.sender.always(&url("orders"), Reply::status(500).after(secs(5)));
    let at = world.publish("evt_1").await;
    world.pass(secs(1)).await;
    world.delete("orders").await;
    world.pass(secs(1)).await;
    for shard in (0..SHARDS).map(Shard) {
        let lanes = ports::LaneStore::of_shard(&world.store, shard, None, 10).await;
        let left = lanes.expect("read").into_iter().filter(|lane| lane.key.endpoint == uid(1));
        assert_eq!(left.count(), 0, "nothing of it is left in the store");
    }
    world.endpoint("orders", 3).await;
    world.pass(secs(3_600)).await;
    assert_eq!(world.sent("orders").len(), 1, "no retry, and the new one inherits nothing");
    assert_eq!(world.acked(at.shard), Some(at.position));
    assert_eq!(world.store.all_dead_letters().len(), 0);
    world.publish("evt_2").await;
    assert_eq!((world.sent("orders").len(), world.sent("stock").len()), (2, 2));
}

#[tokio::test]
async fn a_rotated_secret_signs_at_once_and_the_old_one_until_its_grace_ends() {
    let mut world = World::new().await;
    let (mut config, old) = world.draft("orders", 1).await;
    world.put(&config, Expect::Absent).await;
    world.start().await;
    world.publish("evt_1").await;
    let new = Secret::generate();
    let sealed = world.seal(&new, 1, 2).await;
    config.secrets.insert(0, sealed);
    config.secrets[1].not_after = Some(ports::Clock::now(&world.clock) + secs(60));
    world.put(&config, Expect::Present).await;
    world.publish("evt_2").await;
    world.pass(secs(61)).await;
    world.publish("evt_3").await;
    let sent = world.sender.sent_to(&url("orders"));
    let signed = |place: usize, secret: &Secret| {
        let header = sent[place].header("webhook-signature").expect("signed");
        header.split(' ').any(|one| one == signature(secret, &sent[place]))
    };
    assert_eq!((signed(0, &old), signed(0, &new)), (true, false));
    assert_eq!((signed(1, &old), signed(1, &new)), (true, true));
    assert_eq!((signed(2, &old), signed(2, &new)), (false, true));
    assert!(sent[2].header("x-webhook-signature-previous").is_none());
}

#[tokio::test]
async fn events_of_an_endpoint_whose_secret_cannot_be_opened_wait_for_it() {
    let mut world = World::new().await;
    let (good, secret) = world.draft("orders", 1).await;
    let mut bad = good.clone();
    bad.secrets[0].sealed = Bytes::from_static(b"damaged");
    world.put(&bad, Expect::Absent).await;
    world.start().await;
    let at = world.publish("evt_1").await;
    world.pass(secs(5)).await;
    assert_eq!(world.sent("orders").len(), 0, "nothing goes out unsigned");
    assert_eq!(world.acked(at.shard), Some(at.position), "it is in the backlog");
    let revision = world.put(&good, Expect::Present).await;
    world.hint(revision).await;
    world.pass(secs(5)).await;
    let sent = world.sender.sent_to(&url("orders"));
    assert_eq!(sent.len(), 1, "DL-1");
    assert!(
        sent[0]
            .header("webhook-signature")
            .expect("signed")
            .contains(&signature(&secret, &sent[0]))
    );
}

#[tokio::test]
async fn what_waits_for_an_endpoint_survives_a_secret_that_cannot_be_opened() {
    let mut world = World::new().await;
    let (good, _) = world.draft("orders", 1).await;
    world.put(&good, Expect::Absent).await;
    world.start().await;
    world.sender.script(&url("orders"), [Reply::status(500)]);
    world.publish("evt_1").await;
    let mut bad = good.clone();
    bad.secrets[0].sealed = Bytes::from_static(b"damaged");
    let revision = world.put(&bad, Expect::Present).await;
    world.hint(revision).await;
    world.pass(secs(60)).await;
    assert_eq!(world.sent("orders").len(), 1);
    let revision = world.put(&good, Expect::Present).await;
    world.hint(revision).await;
    world.pass(secs(60)).await;
    assert_eq!(world.sent("orders").len(), 2, "DL-1");
}
