//! What was skipped is delivered, whatever happens in between (DL-8).

use domain::{DisableReason, EndpointState, LaneKey, Position, Shard};

use super::EngineConfig;
use super::disabling::disabled;
use super::world::{SHARD, T0, World, secs, status};
use crate::{Effect, EndpointSpec};

const BY_HAND: EndpointState = EndpointState::Disabled(DisableReason::ByHand);

#[test]
fn what_was_skipped_is_caught_up_even_when_the_mark_becomes_durable_after_the_resume() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, BY_HAND);
    world.store_ms_max = 1_000;
    let skipped = world.publish(&[uid]);
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.successes(uid, &skipped), 1);
}

#[test]
fn a_mark_that_moves_back_is_durable_before_its_records_are_handed_off() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    world.store_ms_max = 50;
    for _ in 0..40 {
        world.publish(&[uid]);
    }
    // Nothing of it is durable; the next owner finds the endpoint disabled and looks every record up, answers come in any order.
    world.store.specs.get_mut(&uid).expect("known").state = BY_HAND;
    for _ in 0..20 {
        world.crash(0, 0);
        world.run_for(std::time::Duration::from_millis(20));
    }
    world.run_for(secs(10));
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 40);
}

#[test]
fn catching_up_survives_being_disabled_again_and_crashes() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, BY_HAND);
    let skipped: Vec<_> = (0..3_000).map(|_| world.publish(&[uid])).collect();
    world.store_ms_max = 30;
    world.always(uid, status(200).after(std::time::Duration::from_millis(50)));
    for round in 0..6 {
        world.set_state(uid, EndpointState::Active);
        world.run_for(std::time::Duration::from_millis(700));
        world.set_state(uid, BY_HAND);
        world.run_for(secs(1));
        if round % 2 == 0 {
            world.crash(1, 3);
        }
    }
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(600));
    for event in &skipped {
        assert!(world.successes(uid, event) >= 1, "{event:?}");
        let risk = world.at_risk.contains_key(&(uid, event.at, domain::RunId::LOG));
        assert!(risk || world.successes(uid, event) == 1, "{event:?}");
    }
}

#[test]
fn rows_that_turn_out_to_be_done_do_not_stop_catching_up() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, BY_HAND);
    let skipped: Vec<_> = (0..2_500).map(|_| world.publish(&[uid])).collect();
    let mark = world.store.lanes.clone();
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 2_500);
    // The lane's row that a crash left is the old one: everything is read again, and all of it is done already.
    world.store.lanes = mark;
    world.crash(0, 0);
    let last = world.publish(&[uid]);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 2_501);
    assert_eq!(world.successes(uid, &last), 1);
    assert_eq!(world.successes(uid, &skipped[2_499]), 1);
    assert_eq!(world.store.lanes.values().next().expect("a lane").skip_from, None);
}

#[test]
fn scheduled_deliveries_far_ahead_do_not_stop_catching_up() {
    let mut world = World::new();
    let uid = world.endpoint();
    for _ in 0..1_100 {
        world.publish_to(SHARD, &[uid], Some(T0 + secs(6 * 86_400)));
    }
    world.set_state(uid, BY_HAND);
    let skipped = world.publish(&[uid]);
    world.run_for(secs(60));
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.successes(uid, &skipped), 1);
}

#[test]
fn a_scheduled_event_that_was_skipped_still_waits_for_its_time() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, BY_HAND);
    let event = world.publish_to(SHARD, &[uid], Some(T0 + secs(3_600)));
    world.run_for(secs(60));
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(7_200));
    assert_eq!(world.successes(uid, &event), 1);
    assert_eq!(world.seconds(uid), [3_600]);
}

#[test]
fn an_endpoint_that_only_skipped_scheduled_events_is_not_probed_with_them_early() {
    let (mut world, uid, waiting) = disabled();
    let event = world.publish_to(SHARD, &[uid], Some(world.now + secs(86_400)));
    world.always(uid, status(200));
    world.run_for(secs(2 * 86_400));
    assert_eq!(world.successes(uid, &event), 1);
    assert!(waiting.iter().all(|event| world.successes(uid, event) == 1));
}

/// An engine by hand: the answer to a probe's read of the log comes after the endpoint was resumed and more was skipped.
#[test]
fn a_probes_read_of_the_log_is_not_taken_for_the_whole_of_catching_up() {
    let mut world = World::new();
    let uid = world.endpoint();
    let spec = EndpointSpec {
        state: EndpointState::Disabled(DisableReason::Failing),
        revision: domain::Revision(2),
        ..world.store.specs[&uid].clone()
    };
    world.engine.configure(spec.clone(), world.now);
    let first = world.publish(&[uid]);
    let lane = LaneKey { shard: SHARD, endpoint: uid };
    world.now = T0 + secs(301);
    world.engine.handle_timeout(world.now);
    let mut probe = None;
    while let Some(effect) = world.engine.poll_effect() {
        if let Effect::Scan { to, .. } = effect {
            probe = Some(to);
        }
    }
    assert_eq!(probe, Some(Position(first.at.position.0 + 1)), "a probe reads what was skipped");
    let second = world.publish(&[uid]);
    let active =
        EndpointSpec { state: EndpointState::Active, revision: domain::Revision(3), ..spec };
    world.engine.configure(active, world.now);
    // The answer to the probe's read knows the first event alone.
    let event = world.store.log[&SHARD][0].event.clone();
    world.engine.handle_scan(lane, vec![(first.clone(), event)], None, world.now);
    world.run_for(secs(60));
    assert_eq!((world.successes(uid, &first), world.successes(uid, &second)), (1, 1));
}

#[test]
fn every_shard_catches_up() {
    let shards: Vec<Shard> = (0..8).map(Shard).collect();
    let mut world = World::with(EngineConfig::default(), &shards);
    let uid = world.endpoint();
    world.set_state(uid, BY_HAND);
    for n in 0..80 {
        world.publish_to(shards[n % 8], &[uid], None);
    }
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 80);
}
