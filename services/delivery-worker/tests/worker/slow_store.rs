//! A store of which a part is slow, away, or refuses what it is given.
#![expect(clippy::wildcard_enum_match_arm, reason = "a hook names the calls that it is about")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use domain::{
    DisableReason, Disposition, EndpointState, Event, EventRef, FactKind, LaneKey, Revision, Shard,
    TenantId,
};
use ports::{
    Clock as _, ConfigFeed as _, ConfigStore as _, ErrorKind, EventLog as _, Hint, Tenant,
};
use testkit::Reply;

use crate::config::test_event;
use crate::heard::Heard;
use crate::hooked::{Call, Then};
use crate::world::{SHARDS, World, secs, tenant, uid, url};

/// Publishes until both shards have an event; the first two that lie in different shards.
async fn one_event_a_shard(world: &World) -> [domain::LogPosition; 2] {
    let first = world.publish("evt_0").await;
    for number in 1.. {
        let next = world.publish(&format!("evt_{number}")).await;
        if next.shard != first.shard {
            return [first, next];
        }
    }
    unreachable!("some event of many lies in the other shard")
}

#[tokio::test]
async fn a_shard_whose_writes_hang_does_not_hold_up_the_others() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.hooked.on(|call| match call {
        Call::Record(facts) if facts.iter().any(|fact| fact.event.at.shard == Shard(0)) => {
            Then::Hang
        }
        _ => Then::Go,
    });
    world.start().await;
    let events = one_event_a_shard(&world).await;
    world.pass(secs(2)).await;
    for at in events {
        let expected = (at.shard != Shard(0)).then_some(at.position);
        assert_eq!(world.acked(at.shard).is_some(), expected.is_some(), "{at}");
    }
    world.hooked.on(|_| Then::Go);
    world.pass(secs(15)).await;
    for shard in (0..SHARDS).map(Shard) {
        assert!(world.acked(shard).is_some(), "a write that does not end is made again");
    }
    assert!(world.attempts(1).len() >= 2);
}

#[tokio::test]
async fn one_call_holds_each_lane_and_each_body_once() {
    let mut world = World::new().await;
    for (number, name) in (1..).zip(["a", "b", "c"]) {
        world.endpoint(name, number).await;
        world.sender.always(&url(name), Reply::status(500));
    }
    world.hooked.on(|call| {
        match call {
            Call::SaveLanes(rows) => {
                let keys: BTreeSet<LaneKey> = rows.iter().map(|row| row.key).collect();
                assert_eq!(keys.len(), rows.len(), "a lane twice in one call");
            }
            Call::PutEvents(events) => {
                let keys: BTreeSet<&EventRef> = events.iter().map(|event| &event.at).collect();
                assert_eq!(keys.len(), events.len(), "an event twice in one call");
            }
            // The first ones wait, so that the next come together.
            Call::Record(facts) if facts.len() < 3 => return Then::Fail(ErrorKind::Unavailable),
            _ => {}
        }
        Then::Go
    });
    world.start().await;
    for number in 0..4 {
        world.publish(&format!("evt_{number}")).await;
    }
    world.pass(secs(1)).await;
    world.hooked.on(|_| Then::Go);
    world.pass(secs(5)).await;
    assert!(world.attempts(1).len() >= 4);
}

#[tokio::test]
async fn an_attempt_that_is_too_large_is_kept_without_its_excerpt_and_holds_up_no_other() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.endpoint("stock", 2).await;
    let large = Reply { excerpt: Bytes::from(vec![b'x'; 900]), ..Reply::status(200) };
    world.sender.always(&url("orders"), large);
    world.sender.always(&url("stock"), Reply { excerpt: "ok".into(), ..Reply::status(200) });
    world.hooked.on(|call| match call {
        Call::Record(facts) if facts.iter().any(|fact| excerpt(fact).len() > 100) => {
            Then::Fail(ErrorKind::TooLarge)
        }
        _ => Then::Go,
    });
    world.start().await;
    let at = world.publish("evt_1").await;
    world.pass(secs(2)).await;
    let excerpts = |endpoint| {
        let attempts = world.attempts(endpoint).into_iter();
        attempts.map(|(_, attempt)| attempt.excerpt.len()).collect::<Vec<usize>>()
    };
    assert_eq!((excerpts(1), excerpts(2)), (vec![0], vec![2]));
    assert_eq!(world.acked(at.shard), Some(at.position));
}

fn excerpt(fact: &domain::Fact) -> Bytes {
    match &fact.kind {
        FactKind::Attempt(attempt) => attempt.excerpt.clone(),
        FactKind::Cancelled | FactKind::DeadLettered(_) => Bytes::new(),
    }
}

#[tokio::test]
async fn a_write_that_needs_a_person_is_tried_every_30_s_until_it_is_durable() {
    let heard = Heard::default();
    let _listening = heard.listen();
    let mut world = World::new().await;
    world.config.inbox_poll = secs(86_400);
    world.endpoint("orders", 1).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    world.hooked.on(move |call| match call {
        Call::Record(_) => {
            counted.fetch_add(1, Ordering::SeqCst);
            Then::Fail(ErrorKind::Corrupt)
        }
        _ => Then::Go,
    });
    world.start().await;
    let at = world.publish("evt_1").await;
    world.pass(secs(95)).await;
    assert_eq!(tries.load(Ordering::SeqCst), 4, "at 0, 30, 60 and 90 s");
    assert_eq!(heard.errors().len(), 1, "a person is told once: {:?}", heard.errors());
    world.hooked.on(|_| Then::Go);
    world.pass(secs(30)).await;
    assert_eq!(world.acked(at.shard), Some(at.position));
    assert_eq!(world.attempts(1)[0].1.disposition, Disposition::Delivered);
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_no_other_read_and_no_change_of_state() {
    let mut world = World::new().await;
    for number in 1..=100 {
        world.endpoint(&format!("bad-{number}"), number).await;
    }
    world.endpoint("gone", 101).await;
    world.sender.always(&url("gone"), Reply::status(410));
    world.start().await;
    world.hooked.on(|call| match call {
        Call::Page(lane) if lane.endpoint <= uid(100) => Then::Fail(ErrorKind::Corrupt),
        _ => Then::Go,
    });
    for number in 1..=100 {
        world.sender.script(&url(&format!("bad-{number}")), [Reply::status(500)]);
    }
    world.publish("evt_1").await;
    // More lanes than there are places want a page that cannot be read.
    world.pass(secs(60)).await;
    let state = world.store.load(&tenant()).await.expect("read").expect("there").endpoints;
    let gone = state.iter().find(|one| one.endpoint.uid == uid(101)).expect("there");
    assert_eq!(gone.endpoint.state, EndpointState::Disabled(DisableReason::Answer(410)));
    world.endpoint("retried", 102).await;
    world.sender.script(&url("retried"), [Reply::status(500)]);
    world.publish("evt_2").await;
    world.pass(secs(20)).await;
    assert_eq!(world.sent("retried").len(), 2, "its page can be read");
    world.hooked.on(|_| Then::Go);
    world.pass(secs(60)).await;
    assert_eq!(world.sent("bad-1").len(), 3, "read once it can be: the retry, and evt_2");
}

#[tokio::test]
async fn a_tenant_that_cannot_be_read_keeps_no_other_waiting() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    let slow = slow_tenant(&world).await;
    world.start().await;
    let event = world.event("evt_1");
    world.append(&Event { tenant: slow.clone(), ..event.clone() }).await;
    world.append(&event).await;
    hang_loads_of(&world, &slow);
    world.feed.hint(Hint::Tenant(slow, Revision(1_000))).await.expect("a hint");
    world.settle().await;
    world.delete("orders").await;
    world.append(&world.event("evt_2")).await;
    assert_eq!(world.sent("orders").len(), 1, "the hint of the delete was followed at once");
}

#[tokio::test]
async fn a_refresh_that_takes_long_keeps_no_hint_waiting() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.start().await;
    world.publish("evt_1").await;
    world.hooked.on(|call| match call {
        Call::Revision => Then::Hang,
        _ => Then::Go,
    });
    world.pass(secs(31)).await;
    world.delete("orders").await;
    world.append(&world.event("evt_2")).await;
    assert_eq!(world.sent("orders").len(), 1, "the hint of the delete was followed at once");
}

#[tokio::test]
async fn positions_are_saved_while_a_tenant_cannot_be_read() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    let slow = slow_tenant(&world).await;
    world.start().await;
    hang_loads_of(&world, &slow);
    let at = world.publish("evt_1").await;
    let stuck = Event { tenant: slow, ..world.event("evt_1") };
    world.append(&stuck).await;
    world.pass(secs(1)).await;
    assert_eq!(world.acked(at.shard), Some(at.position));
    world.hooked.on(|_| Then::Go);
    world.pass(secs(15)).await;
    let next = world.log.bounds(at.shard).await.expect("bounds").next;
    assert_eq!(world.acked(at.shard).map(domain::Position::next), Some(next));
}

#[tokio::test]
async fn an_inbox_that_cannot_be_read_keeps_no_command_of_another_waiting() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.hooked.on(|call| match call {
        Call::Pending(Shard(0)) => Then::Hang,
        _ => Then::Go,
    });
    world.start().await;
    world.pass(secs(2)).await;
    let test = test_event(&world).await;
    world.command(1, Shard(1), test).await;
    world.feed.hint(Hint::Inbox(Shard(1))).await.expect("a hint");
    world.settle().await;
    assert_eq!(world.sent("orders").len(), 1, "at once");
}

/// Makes a second tenant.
async fn slow_tenant(world: &World) -> TenantId {
    let slow = TenantId::parse("slow").expect("a tenant id");
    let create_time = world.clock.now();
    let row = Tenant { id: slow.clone(), display_name: String::new(), create_time };
    world.store.create_tenant(&row).await.expect("a tenant");
    slow
}

fn hang_loads_of(world: &World, tenant: &TenantId) {
    let hung = tenant.clone();
    world.hooked.on(move |call| match call {
        Call::Load(tenant) if *tenant == hung => Then::Hang,
        _ => Then::Go,
    });
}
