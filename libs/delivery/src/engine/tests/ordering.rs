//! Order by key (DL-6). The world checks it at every request; here it is shown that keys wait for nothing else, and what waiting costs.

use std::time::Duration;

use domain::{
    DeliveryPolicy, EndpointState, EndpointUid, EventRef, Ordering, RetrySchedule, RunId,
};

use super::world::{SHARD, World, secs, status};

fn ordered(world: &mut World) -> EndpointUid {
    world.endpoint_with(DeliveryPolicy {
        ordering: Ordering::ByKey,
        retry_schedule: RetrySchedule::new(vec![secs(60), secs(60)]).expect("valid"),
        ..DeliveryPolicy::default()
    })
}

fn publish(world: &mut World, uid: EndpointUid, key: &str) -> EventRef {
    world.publish_keyed(SHARD, &[uid], None, Some(key))
}

fn order_of(world: &World) -> Vec<EventRef> {
    world.sent.iter().map(|sent| sent.at.clone()).collect()
}

fn ended(world: &World, uid: EndpointUid, event: &EventRef) -> bool {
    world.store.run(uid, event.at, RunId::LOG).has_ended()
}

#[test]
fn one_delivery_of_a_key_is_under_way_and_other_keys_do_not_wait() {
    let mut world = World::new();
    let uid = ordered(&mut world);
    world.always(uid, status(200).after(secs(1)));
    let first = publish(&mut world, uid, "a");
    let second = publish(&mut world, uid, "a");
    let other = publish(&mut world, uid, "b");
    let free = world.publish(&[uid]);
    assert_eq!(order_of(&world), [first.clone(), other, free], "the second of a key waits");
    world.run_for(secs(1));
    assert!(ended(&world, uid, &first));
    assert_eq!(order_of(&world).last(), Some(&second));
    assert!(world.store.lines.is_empty() && world.store.held.is_empty(), "it costs no write");
}

#[test]
fn a_failing_key_waits_alone_until_its_dead_letter() {
    let mut world = World::new();
    let uid = ordered(&mut world);
    let mut fails = None;
    world.script(uid, move |start, _| {
        let first = fails.get_or_insert(start.at.at);
        status(if *first == start.at.at { 500 } else { 200 })
    });
    let failing = publish(&mut world, uid, "a");
    let behind: Vec<EventRef> = (0..3).map(|_| publish(&mut world, uid, "a")).collect();
    let other = publish(&mut world, uid, "b");
    assert!(ended(&world, uid, &other));
    world.run_for(secs(100));
    assert!(behind.iter().all(|event| !ended(&world, uid, event)));
    world.run_for(secs(60));
    assert!(ended(&world, uid, &failing), "three attempts");
    let sent = order_of(&world);
    let of_key: Vec<&EventRef> = sent.iter().filter(|event| behind.contains(event)).collect();
    assert_eq!(of_key, behind.iter().collect::<Vec<_>>());
    let late = publish(&mut world, uid, "a");
    assert_eq!(order_of(&world).last(), Some(&late), "the line is closed");
}

#[test]
fn any_number_of_keys_behind_an_open_breaker_costs_one_line_and_no_wake_up() {
    let mut world = World::new();
    let uid = ordered(&mut world);
    world.set_state(uid, EndpointState::Paused);
    let waiting: Vec<EventRef> =
        (0..500).map(|n| publish(&mut world, uid, &format!("key-{n}"))).collect();
    world.run_for(secs(10));
    // Those that are about to have their turn, and the lane's own.
    let open = world.store.lines.values().filter(|line| line.is_open).count();
    assert!(open <= 1 + domain::limits::LINE_AHEAD_MAX, "{open}");
    let (effects, saves) = (world.effects, world.store.lane_saves);
    world.run_for(Duration::from_secs(1_800));
    assert_eq!((world.effects, world.store.lane_saves), (effects, saves), "nothing happens");
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(order_of(&world), waiting, "in the order of the log");
    assert!(world.store.lines.values().all(|line| !line.is_open));
}

#[test]
fn a_new_owner_knows_which_keys_wait() {
    let mut world = World::new();
    let uid = ordered(&mut world);
    world.always(uid, status(500));
    let failing = publish(&mut world, uid, "a");
    let behind = publish(&mut world, uid, "a");
    world.always(uid, status(200));
    world.run_for(secs(2));
    world.crash(0, 0);
    let late = publish(&mut world, uid, "a");
    let other = publish(&mut world, uid, "b");
    world.run_for(secs(1));
    assert!(ended(&world, uid, &other) && !ended(&world, uid, &late));
    world.run_for(secs(120));
    assert_eq!(order_of(&world), [failing.clone(), other, failing, behind, late]);
}
