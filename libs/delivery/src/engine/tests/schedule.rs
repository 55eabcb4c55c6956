//! When a failed delivery is tried again.

use std::time::Duration;

use domain::{DeadLetterReason, DeliveryPolicy, RetrySchedule, Trigger};

use super::world::{SHARD, T0, World, secs, status};

#[test]
fn a_lone_event_to_a_dead_endpoint_gets_its_eight_attempts_in_31_hours_and_its_dead_letter() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    let event = world.publish(&[uid]);
    world.run_for(secs(3 * 86_400));
    assert_eq!(world.seconds(uid), [0, 10, 70, 370, 2_170, 5_770, 27_370, 113_770]);
    let letters = world.store.letters_of(uid);
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].reason, letters[0].attempts), (DeadLetterReason::Exhausted, 8));
    assert_eq!(letters[0].event, event);
    assert_eq!(letters[0].time, T0 + secs(113_770));
    let numbers: Vec<_> = world.store.attempts_of(uid, event.at);
    let expected = (1..=8).map(|n| (n, if n == 1 { Trigger::Event } else { Trigger::Retry }));
    assert_eq!(numbers, expected.collect::<Vec<_>>());
    assert_eq!(world.acked(SHARD), Some(event.at.position));
    assert!(world.rests(), "nothing is left to wait for");
}

#[test]
fn waits_are_within_a_tenth_of_the_schedule_whatever_the_jitter() {
    let mut world = World::new();
    world.jitter = None;
    let uid = world.endpoint();
    world.always(uid, status(500));
    world.publish(&[uid]);
    world.run_for(secs(3 * 86_400));
    let steps = [10, 60, 300, 1_800, 3_600, 21_600, 86_400];
    let times = world.times(uid);
    assert_eq!(times.len(), 8);
    for (pair, step) in times.windows(2).zip(steps) {
        let wait = pair[1] - pair[0];
        assert!((step * 900..=step * 1_100 + 5).contains(&wait), "{wait} ms after {step} s");
    }
}

#[test]
fn the_schedule_counts_from_the_end_of_an_attempt() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500).after(secs(4)));
    world.publish(&[uid]);
    world.run_for(secs(80));
    assert_eq!(world.seconds(uid), [0, 14, 78]);
}

#[test]
fn retry_after_makes_a_delivery_wait_longer_but_never_less() {
    for (asked, second) in [(100, 100), (3, 10), (200_000, 86_400)] {
        let mut world = World::new();
        let uid = world.endpoint();
        world.always(uid, status(429).retry_after(secs(asked)));
        world.publish(&[uid]);
        world.run_for(secs(86_401));
        assert_eq!(world.seconds(uid)[1], second);
    }
}

#[test]
fn retry_after_holds_the_whole_lane_for_five_minutes_at_most() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(503).retry_after(secs(1_000)));
    world.publish(&[uid]);
    world.always(uid, status(200));
    world.run_for(secs(1));
    let other = world.publish(&[uid]);
    world.run_for(secs(299));
    assert_eq!(world.seconds(uid), [0, 300]);
    assert_eq!(world.sent_to(uid)[1].at, other);
    world.run_for(secs(800));
    assert_eq!(world.seconds(uid), [0, 300, 1_000]);
}

#[test]
fn a_schedule_without_steps_allows_one_attempt() {
    let mut world = World::new();
    let retry_schedule = RetrySchedule::new(Vec::new()).expect("valid");
    let uid = world.endpoint_with(DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() });
    world.always(uid, status(500));
    world.publish(&[uid]);
    world.run_for(secs(86_400));
    assert_eq!(world.seconds(uid), [0]);
    assert_eq!(world.store.letters_of(uid)[0].attempts, 1);
}

#[test]
fn a_scheduled_delivery_waits_for_its_time_and_not_in_memory() {
    let mut world = World::new();
    let uid = world.endpoint();
    let due = T0 + secs(3 * 86_400);
    let event = world.publish_to(SHARD, &[uid], Some(due));
    assert_eq!(world.acked(SHARD), Some(event.at.position));
    world.crash(0, 0);
    world.run_for(secs(2 * 86_400));
    let at_once = world.publish(&[uid]);
    world.run_for(secs(2 * 86_400));
    assert_eq!(world.seconds(uid), [2 * 86_400, 3 * 86_400]);
    assert_eq!(world.sent_to(uid)[0].at, at_once);
}

#[test]
fn what_waits_for_over_seven_days_becomes_a_dead_letter() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, domain::EndpointState::Paused);
    let event = world.publish(&[uid]);
    world.run_for(secs(8 * 86_400));
    world.set_state(uid, domain::EndpointState::Active);
    world.run_for(secs(10));
    assert_eq!(world.sent.len(), 0);
    let letters = world.store.letters_of(uid);
    assert_eq!((letters.len(), letters[0].reason), (1, DeadLetterReason::Expired));
    assert_eq!((&letters[0].event, letters[0].event_type.as_str()), (&event, "a.b"));
}

#[test]
fn a_dead_letter_of_what_expired_counts_the_attempts_of_all_runs() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    world.publish(&[uid]);
    world.run_for(Duration::from_secs(100));
    world.set_state(uid, domain::EndpointState::Paused);
    world.run_for(secs(8 * 86_400));
    world.set_state(uid, domain::EndpointState::Active);
    world.run_for(secs(10));
    assert_eq!(world.store.letters_of(uid)[0].attempts, 3);
}
