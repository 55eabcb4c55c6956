//! Shards that come and go.

use std::time::Duration;

use domain::{RunId, Shard};

use super::EngineConfig;
use super::world::{SHARD, World, secs, status};

#[test]
fn a_revoked_shard_sends_nothing_more_and_frees_its_places() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(1)));
    for _ in 0..30 {
        world.publish(&[uid]);
    }
    world.engine.revoke(SHARD);
    let before = world.sent.len();
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), before);
    assert_eq!(world.engine.in_flight(), 0);
    assert_eq!(world.store.facts.len(), before, "what succeeded is recorded");
}

#[test]
fn an_attempt_that_was_not_sent_before_the_revoke_holds_no_place() {
    let mut world = World::with(EngineConfig::default(), &[SHARD, Shard(1)]);
    let uid = world.endpoint();
    // Effects of the first shard are revoked before anybody takes them.
    let record = world.publish_to(SHARD, &[], None);
    let event = world.store.log[&SHARD][0].event.clone();
    let at = domain::LogPosition { position: domain::Position(100), ..record.at };
    world.engine.handle_record(at, 10, Some((&event, &[uid])), world.now);
    assert_eq!(world.engine.in_flight(), 1);
    world.engine.revoke(SHARD);
    assert_eq!(world.engine.in_flight(), 0);
    world.publish_to(Shard(1), &[uid], None);
    assert_eq!(world.sent.len(), 1);
}

#[test]
fn an_outcome_of_an_old_assignment_does_not_hand_off_a_record_of_the_new_one() {
    let mut world = World::new();
    let (slow, slower) = (world.endpoint(), world.endpoint());
    world.always(slow, status(200).after(secs(10)));
    world.always(slower, status(200).after(secs(30)));
    for _ in 0..5 {
        world.publish(&[slow, slower]);
    }
    world.run_for(secs(1));
    // The world checks at every ack that all up to it is handed off (DL-2).
    world.reassign(SHARD);
    world.run_for(secs(5));
    world.reassign(SHARD);
    world.run_for(secs(600));
    assert_eq!(world.acked(SHARD), Some(world.store.log[&SHARD][4].at.at.position));
}

#[test]
fn looks_of_an_old_assignment_do_not_disturb_the_new_one() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.store_ms_max = 300;
    world.always(uid, status(200).after(Duration::from_millis(500)));
    let events: Vec<_> = (0..60).map(|_| world.publish(&[uid])).collect();
    for _ in 0..10 {
        world.run_for(Duration::from_millis(130));
        world.reassign(SHARD);
    }
    world.run_for(secs(600));
    for event in &events {
        let times = world.successes(uid, event);
        let risk = world.at_risk.get(&(uid, event.at, RunId::LOG)).copied().unwrap_or(0);
        assert!((1..=1 + risk).contains(&times), "{event:?} {times} {risk}");
    }
}

#[test]
fn what_is_in_flight_when_a_shard_is_left_is_recorded_and_not_sent_again() {
    let mut world = World::new();
    let (uid, failing) = (world.endpoint(), world.endpoint());
    world.always(uid, status(200).after(secs(2)));
    world.always(failing, status(500).after(secs(1)));
    let events: Vec<_> = (0..30).map(|_| world.publish(&[uid, failing])).collect();
    assert!(world.hand_over(SHARD, secs(5)));
    let breaker = world.store.lanes.values().find(|lane| lane.key.endpoint == failing);
    assert!(breaker.is_some_and(|lane| lane.breaker.failures > 0), "health is handed over");
    world.run_for(secs(600));
    for event in &events {
        assert_eq!(world.successes(uid, event), 1, "DL-4: nothing was under way");
    }
    assert_eq!(world.acked(SHARD), Some(world.store.log[&SHARD][29].at.at.position));
}

#[test]
fn a_shard_that_cannot_be_left_in_time_is_lost_with_what_is_in_flight() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(20)));
    let event = world.publish(&[uid]);
    assert!(!world.hand_over(SHARD, secs(5)));
    world.run_for(secs(600));
    assert_eq!(world.successes(uid, &event), 2);
}

#[test]
fn a_shard_that_is_left_takes_no_records_and_closes_no_intake() {
    let config = EngineConfig { span_records_max: 4, ..EngineConfig::default() };
    let mut world = World::with(config, &[SHARD, Shard(1)]);
    let (slow, fast) = (world.endpoint(), world.endpoint());
    world.always(slow, status(200).after(secs(20)));
    for _ in 0..3 {
        world.publish(&[slow]);
    }
    world.engine.leave(SHARD);
    for _ in 0..20 {
        world.publish(&[slow]);
        world.publish_to(Shard(1), &[fast], None);
    }
    assert!(world.engine.intake_open());
    assert_eq!((world.sent_to(slow).len(), world.sent_to(fast).len()), (3, 20));
}
