//! Rate, concurrency, turns: no lane delays another (DL-5).

use std::time::Duration;

use domain::{DeliveryPolicy, EndpointState, RateLimit, Shard};

use super::EngineConfig;
use super::world::{SHARD, T0, World, secs, status};

#[test]
fn a_rate_limit_holds_over_time_whatever_waits() {
    let mut world = World::new();
    let rate_limit = Some(RateLimit::new(10, secs(1)).expect("valid"));
    let uid = world.endpoint_with(DeliveryPolicy { rate_limit, ..DeliveryPolicy::default() });
    for _ in 0..500 {
        world.publish(&[uid]);
    }
    world.run_for(secs(20));
    assert!((200..=211).contains(&world.sent.len()), "{}", world.sent.len());
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 500);
}

#[test]
fn no_more_than_max_concurrency_are_in_flight() {
    let mut world = World::new();
    let policy = DeliveryPolicy { max_concurrency: 3, ..DeliveryPolicy::default() };
    let uid = world.endpoint_with(policy);
    world.always(uid, status(200).after(Duration::from_millis(500)));
    for _ in 0..100 {
        world.publish(&[uid]);
    }
    for _ in 0..1_000 {
        assert!(world.in_flight.len() <= 3);
        world.run_for(Duration::from_millis(100));
    }
    assert_eq!(world.sent.len(), 100);
    assert!(world.seconds(uid)[99] <= 20);
}

#[test]
fn a_flood_to_one_endpoint_does_not_keep_anothers_first_attempt_waiting() {
    let config = EngineConfig { in_flight_max: 8, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let (flooded, quiet) = (world.endpoint(), world.endpoint());
    world.always(flooded, status(200).after(Duration::from_millis(100)));
    for _ in 0..5_000 {
        world.publish(&[flooded]);
    }
    world.run_for(secs(1));
    let asked = world.now;
    world.publish(&[quiet]);
    world.run_for(secs(1));
    assert!(world.sent_to(quiet)[0].time.since(asked) <= Duration::from_millis(100));
}

#[test]
fn a_slow_receiver_does_not_close_the_intake() {
    let config = EngineConfig { span_records_max: 100, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let (slow, quick) = (world.endpoint(), world.endpoint());
    world.always(slow, status(200).after(secs(29)));
    world.publish(&[slow]);
    for _ in 0..1_000 {
        world.publish(&[quick]);
        world.run_for(Duration::from_millis(1));
    }
    assert_eq!(world.intake_closed, 0);
    assert_eq!(world.sent_to(quick).len(), 1_000);
    world.run_for(secs(120));
    assert_eq!(world.sent_to(slow).len(), 1);
}

#[test]
fn a_queue_that_waits_does_not_close_the_intake() {
    let config = EngineConfig { span_records_max: 100, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let (slow, quick) = (world.endpoint(), world.endpoint());
    world.always(slow, status(200).after(secs(29)));
    for _ in 0..50 {
        world.publish(&[slow]);
    }
    for _ in 0..1_000 {
        world.publish(&[quick]);
        world.run_for(Duration::from_millis(1));
    }
    assert_eq!(world.intake_closed, 0);
    assert_eq!(world.sent_to(quick).len(), 1_000);
    world.run_for(secs(600));
    assert_eq!(world.sent_to(slow).len(), 50);
}

#[test]
fn lanes_of_one_endpoint_take_turns() {
    let shards: Vec<Shard> = (0..4).map(Shard).collect();
    let mut world = World::with(EngineConfig::default(), &shards);
    let policy = DeliveryPolicy { max_concurrency: 1, ..DeliveryPolicy::default() };
    let uid = world.endpoint_with(policy);
    world.always(uid, status(200).after(Duration::from_millis(10)));
    for _ in 0..40 {
        world.publish_to(shards[0], &[uid], None);
    }
    let late = world.publish_to(shards[3], &[uid], None);
    world.run_for(Duration::from_millis(40));
    assert!(world.sent.iter().any(|sent| sent.at == late));
}

#[test]
fn an_engine_that_stops_starts_nothing_and_finishes_what_it_has() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(1)));
    for _ in 0..20 {
        world.publish(&[uid]);
    }
    world.engine.stop();
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 8);
    assert_eq!((world.engine.in_flight(), world.engine.writes_pending()), (0, 0));
    assert_eq!(world.acked(SHARD), Some(world.store.log[&SHARD][19].at.at.position));
}

#[test]
fn a_new_endpoint_of_the_same_name_inherits_nothing() {
    let mut world = World::new();
    let old = world.endpoint();
    world.always(old, status(500));
    for _ in 0..20 {
        world.publish(&[old]);
    }
    world.delete(old);
    let new = world.endpoint();
    world.publish(&[new]);
    assert_eq!(world.times(new), [0]);
    assert_eq!(world.now, T0);
    assert_eq!(world.store.state(new), EndpointState::Active);
}

#[test]
fn slow_endpoints_hold_a_fifth_of_the_places_while_others_wait_and_are_not_starved() {
    let config = EngineConfig { in_flight_max: 40, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let slow: Vec<_> = (0..10).map(|_| world.endpoint()).collect();
    let quick: Vec<_> = (0..30).map(|_| world.endpoint()).collect();
    slow.iter().for_each(|uid| world.always(*uid, status(200).after(secs(3))));
    quick.iter().for_each(|uid| world.always(*uid, status(200).after(Duration::from_millis(200))));
    for _ in 0..300 {
        world.publish(&slow);
        world.publish(&quick);
    }
    world.run_for(secs(20));
    let before = slow.iter().map(|uid| world.sent_to(*uid).len()).min();
    for _ in 0..50 {
        world.run_for(Duration::from_millis(100));
        let of = |uid| world.in_flight.values().filter(|sent| sent.endpoint == uid).count();
        let held: Vec<usize> = slow.iter().map(|uid| of(*uid)).collect();
        assert!(held.iter().all(|held| *held <= 2), "a twentieth: {held:?}");
        assert!(held.iter().sum::<usize>() <= 8, "a fifth: {held:?}");
        assert_eq!(world.in_flight.len(), 40);
    }
    world.run_for(secs(10));
    assert!(slow.iter().map(|uid| world.sent_to(*uid).len()).min() > before);
}

#[test]
fn slow_endpoints_alone_use_most_places_and_keep_some_for_whoever_comes() {
    let config = EngineConfig { in_flight_max: 40, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let slow: Vec<_> = (0..10).map(|_| world.endpoint()).collect();
    let quick = world.endpoint();
    slow.iter().for_each(|uid| world.always(*uid, status(200).after(secs(5))));
    for _ in 0..100 {
        world.publish(&slow);
    }
    world.run_for(secs(60));
    assert_eq!(world.in_flight.len(), 30);
    let asked = world.now;
    world.publish(&[quick]);
    assert_eq!(world.sent_to(quick)[0].time, asked);
}

#[test]
fn what_is_sent_and_not_recorded_is_bounded_while_the_store_is_away() {
    let config = EngineConfig { in_flight_max: 8, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let uids: Vec<_> = (0..10).map(|_| world.endpoint()).collect();
    world.store_ms_max = 100_000_000;
    for _ in 0..40 {
        world.publish(&uids);
    }
    world.run_for(secs(4));
    assert!(world.sent.len() <= 16, "{}", world.sent.len());
    world.store_ms_max = 0;
    world.run_for(secs(200_000));
    assert_eq!(world.sent.len(), 400);
}
