//! The memory queue and the backlog.

use domain::{DeadLetterReason, EndpointState};

use super::world::{SHARD, World, secs, status};

#[test]
fn paused_endpoint_keeps_its_backlog_and_drains_it_in_order_at_resume() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    let events: Vec<_> = (0..600).map(|_| world.publish(&[uid])).collect();
    assert_eq!(world.acked(SHARD), Some(events[599].at.position));
    world.run_for(secs(86_400));
    assert!(world.sent.is_empty());
    assert!(world.rests(), "what is paused needs no timer");
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(1));
    let order: Vec<_> = world.sent.iter().map(|sent| sent.at.clone()).collect();
    assert_eq!(order, events);
}

#[test]
fn pausing_holds_back_what_is_in_memory() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(2)));
    for _ in 0..30 {
        world.publish(&[uid]);
    }
    let before = world.sent.len();
    world.set_state(uid, EndpointState::Paused);
    world.run_for(secs(3_600));
    assert_eq!(world.sent.len(), before);
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 30);
}

#[test]
fn pausing_holds_back_rows_that_are_on_their_way_from_the_store() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    for _ in 0..30 {
        world.publish(&[uid]);
    }
    world.store_ms_max = 200;
    world.set_state(uid, EndpointState::Active);
    world.run_for(std::time::Duration::from_millis(150));
    world.set_state(uid, EndpointState::Paused);
    let before = world.sent.len();
    assert!(before < 30);
    world.run_for(secs(8 * 86_400));
    assert_eq!(world.sent.len(), before);
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    // All of them have expired meanwhile, those too whose look was under way.
    assert_eq!(world.sent.len(), before);
    assert_eq!(world.store.letters_of(uid).len(), 30 - before);
}

#[test]
fn a_full_queue_overflows_into_the_backlog_and_comes_out_of_it() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(std::time::Duration::from_millis(10)));
    let events: Vec<_> = (0..1_000).map(|_| world.publish(&[uid])).collect();
    assert!(world.store.rows.values().map(|rows| rows.len()).sum::<usize>() >= 700);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 1_000);
    assert!(events.iter().all(|event| world.successes(uid, event) == 1));
    // And then new ones go straight out again.
    let rows = world.store.rows.values().map(|rows| rows.len()).sum::<usize>();
    world.publish(&[uid]);
    world.run_for(secs(1));
    assert_eq!(world.store.rows.values().map(|rows| rows.len()).sum::<usize>(), rows);
    assert_eq!(world.sent.len(), 1_001);
}

#[test]
fn what_waits_in_the_queue_for_five_seconds_goes_to_the_backlog() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(20)));
    for _ in 0..20 {
        world.publish(&[uid]);
    }
    world.run_for(std::time::Duration::from_millis(4_900));
    assert!(world.store.rows.is_empty());
    world.run_for(secs(1));
    assert_eq!(world.store.rows.values().map(|rows| rows.len()).sum::<usize>(), 12);
    world.run_for(secs(300));
    assert_eq!(world.sent.len(), 20);
}

#[test]
fn new_arrivals_join_those_that_wait_in_the_backlog() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    for _ in 0..300 {
        world.publish(&[uid]);
    }
    world.always(uid, status(200).after(secs(1)));
    world.set_state(uid, EndpointState::Active);
    let late = world.publish(&[uid]);
    world.run_for(secs(120));
    let place = world.sent.iter().position(|sent| sent.at == late);
    assert!(place.is_some_and(|place| place >= 250), "{place:?}");
    assert_eq!(world.sent.len(), 301);
}

#[test]
fn a_long_attempt_is_spilled_and_lets_the_position_go_on() {
    let mut world = World::new();
    let uid = world.endpoint_with(domain::DeliveryPolicy {
        timeout: secs(60),
        ..domain::DeliveryPolicy::default()
    });
    world.always(uid, status(200).after(secs(59)));
    let event = world.publish(&[uid]);
    world.run_for(secs(44));
    assert_eq!(world.acked(SHARD), None);
    world.run_for(secs(2));
    assert_eq!(world.acked(SHARD), Some(event.at.position));
    world.run_for(secs(3_600));
    assert_eq!(world.sent.len(), 1, "its row is void");
    assert_eq!(world.store.lanes.values().next().expect("a lane").waiting, 0);
}

/// It has no lane to get a row in; the engine looked for the next one that does without an end.
#[test]
fn a_long_attempt_to_an_endpoint_that_was_deleted_holds_nothing_up() {
    let mut world = World::new();
    let policy = domain::DeliveryPolicy { timeout: secs(60), ..domain::DeliveryPolicy::default() };
    let (kept, deleted) = (world.endpoint_with(policy.clone()), world.endpoint_with(policy));
    for uid in [kept, deleted] {
        world.always(uid, status(200).after(secs(59)));
    }
    let event = world.publish(&[kept, deleted]);
    world.run_for(secs(10));
    world.delete(deleted);
    world.run_for(secs(36));
    assert_eq!(world.acked(SHARD), Some(event.at.position));
}

#[test]
fn a_spilled_attempt_that_fails_goes_on_with_its_schedule() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500).after(secs(50)));
    world.publish(&[uid]);
    world.run_for(secs(200));
    assert_eq!(world.seconds(uid), [0, 60, 170]);
}

#[test]
fn a_spilled_attempt_that_nobody_saw_the_end_of_is_made_again() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(50)));
    let event = world.publish(&[uid]);
    world.run_for(secs(46));
    world.crash(0, 0);
    world.always(uid, status(200));
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 2);
    assert!(world.store.run(uid, event.at, domain::RunId::LOG).has_ended());
}

#[test]
fn the_backlog_holds_little_in_memory_while_its_first_row_is_busy() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    let events: Vec<_> = (0..5_000).map(|_| world.publish(&[uid])).collect();
    let slow = events[0].clone();
    world.script(uid, move |start, _| {
        status(200).after(if start.at == slow { secs(25) } else { secs(0) })
    });
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(24));
    assert_eq!(world.sent.len(), 5_000);
    world.run_for(secs(24));
    let lane = world.store.lanes.values().next().expect("a lane");
    assert_eq!(lane.waiting, 0);
    let last = world.store.rows[&lane.key].last_key_value().map(|(key, _)| *key);
    assert_eq!(Some(lane.cursor), last);
}

#[test]
fn what_an_endpoint_that_sends_nothing_holds_becomes_dead_letters_after_seven_days() {
    for (state, count) in
        [(EndpointState::Paused, 700), (EndpointState::Disabled(domain::DisableReason::ByHand), 3)]
    {
        let mut world = World::new();
        let uid = world.endpoint();
        world.set_state(uid, EndpointState::Paused);
        for _ in 0..count {
            world.publish(&[uid]);
        }
        world.set_state(uid, state);
        world.run_for(secs(7 * 86_400 - 60));
        assert!(world.store.letters_of(uid).is_empty());
        world.run_for(secs(2 * 3_600));
        let letters = world.store.letters_of(uid);
        assert_eq!(letters.len(), count, "{state:?}");
        assert!(letters.iter().all(|letter| letter.reason == DeadLetterReason::Expired));
        assert!(letters.iter().all(|letter| letter.url == "https://example.com/"));
        assert!(world.sent.is_empty());
        assert!(world.store.lanes.values().all(|lane| lane.waiting == 0));
    }
}

#[test]
fn lanes_with_nothing_to_remember_are_forgotten() {
    let mut world = World::new();
    let (idle, busy, dead) = (world.endpoint(), world.endpoint(), world.endpoint());
    world.always(dead, status(500));
    world.publish(&[idle, busy, dead]);
    world.run_for(secs(60));
    world.set_state(busy, EndpointState::Paused);
    world.publish(&[busy]);
    assert_eq!(world.store.lanes.len(), 3);
    world.run_for(secs(6 * 3_600));
    assert_eq!(world.store.lanes.len(), 3, "health shows when it last succeeded");
    world.run_for(secs(12 * 86_400));
    world.publish(&[busy]);
    world.run_for(secs(6 * 86_400));
    let left: Vec<_> = world.store.lanes.keys().map(|key| key.endpoint).collect();
    assert_eq!(left, [busy, dead]);
    // It comes back as it would be new, also after a crash.
    world.crash(0, 0);
    world.always(idle, status(500));
    let event = world.publish(&[idle]);
    world.run_for(secs(5));
    world.always(idle, status(200));
    world.crash(0, 0);
    world.run_for(secs(600));
    assert_eq!(world.successes(idle, &event), 1);
}

#[test]
fn a_deleted_endpoint_leaves_no_lane_in_the_store() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    for _ in 0..10 {
        world.publish(&[uid]);
    }
    world.run_for(secs(5));
    assert_eq!(world.store.lanes.len(), 1);
    world.delete(uid);
    assert!(world.store.lanes.is_empty());
}

#[test]
fn an_endpoint_that_was_deleted_while_nobody_owned_its_shard_leaves_no_lane_either() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Paused);
    world.publish(&[uid]);
    world.run_for(secs(5));
    world.store.specs.remove(&uid);
    world.crash(0, 0);
    assert_eq!(world.store.lanes.len(), 1);
    // Deleting tells the owner of every shard.
    world.command(uid, domain::CommandKind::Probe);
    assert!(world.store.lanes.is_empty());
    assert_eq!(world.store.commands.len(), 1);
}

#[test]
fn busy_lanes_are_not_saved_for_their_last_success_alone() {
    let mut world = World::new();
    let uid = world.endpoint();
    for _ in 0..60 {
        world.publish(&[uid]);
        world.run_for(secs(1));
    }
    assert!((2..=3).contains(&world.store.lane_saves), "{}", world.store.lane_saves);
}
