//! A worker that dies, at any point (OP-1, DL-4).

use std::time::Duration;

use domain::RunId;

use super::world::{SHARD, World, secs, status};

#[test]
fn what_was_recorded_as_delivered_is_not_sent_again() {
    let mut world = World::new();
    let (uid, slow) = (world.endpoint(), world.endpoint());
    world.always(slow, status(200).after(secs(20)));
    // The slow one keeps the position back, so that all are read again.
    let events: Vec<_> = (0..50).map(|_| world.publish(&[uid, slow])).collect();
    world.run_for(secs(1));
    assert_eq!(world.acked(SHARD), None);
    world.crash(0, 0);
    world.run_for(secs(600));
    for event in &events {
        assert_eq!(world.successes(uid, event), 1);
        assert!((1..=2).contains(&world.successes(slow, event)));
    }
}

#[test]
fn duplicates_after_a_crash_are_at_most_what_was_in_flight() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(Duration::from_millis(300)));
    world.store_ms_max = 20;
    let mut events = Vec::new();
    for round in 0..20 {
        for _ in 0..40 {
            events.push(world.publish(&[uid]));
        }
        world.run_for(Duration::from_millis(400));
        world.crash(round % 4, round % 8);
    }
    world.run_for(secs(600));
    for event in &events {
        let crashes = world.at_risk.get(&(uid, event.at, RunId::LOG)).copied().unwrap_or(0);
        let times = world.successes(uid, event);
        assert!((1..=1 + crashes).contains(&times), "{event:?}: {times} times, {crashes} crashes");
    }
}

#[test]
fn a_retry_survives_the_death_of_its_owner() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    world.publish(&[uid]);
    for _ in 0..8 {
        world.run_for(secs(5));
        world.crash(0, 0);
    }
    world.run_for(secs(400));
    assert_eq!(world.seconds(uid), [0, 10, 70, 370]);
}

#[test]
fn rows_of_a_record_that_is_read_again_are_one_delivery() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, domain::EndpointState::Paused);
    world.store_ms_max = 500;
    let events: Vec<_> = (0..60).map(|_| world.publish(&[uid])).collect();
    // Rows are durable, and nobody knows: no position was acked.
    world.crash(60, 0);
    world.set_state(uid, domain::EndpointState::Active);
    world.run_for(secs(60));
    for event in &events {
        assert_eq!(world.successes(uid, event), 1, "{event:?}");
    }
}

#[test]
fn a_worker_that_takes_over_without_lanes_of_its_own_reads_from_the_acked_position() {
    let mut world = World::new();
    let uid = world.endpoint();
    let events: Vec<_> = (0..10).map(|_| world.publish(&[uid])).collect();
    world.crash(0, 0);
    world.run_for(secs(10));
    assert_eq!(world.sent.len(), 10);
    assert_eq!(world.acked(SHARD), Some(events[9].at.position));
}
