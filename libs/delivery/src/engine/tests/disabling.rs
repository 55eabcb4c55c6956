//! Ten failures in a row, and answers that disable (spec §3).

use domain::{
    CommandKind, DeadLetterReason, DeliveryPolicy, DisableReason, EndpointState, EndpointUid,
    EventRef, RetrySchedule, Trigger,
};

use super::world::{SHARD, T0, World, secs, status};

const FAILING: EndpointState = EndpointState::Disabled(DisableReason::Failing);

/// An endpoint that was disabled after ten failures; its waiting deliveries.
pub(super) fn disabled() -> (World, EndpointUid, Vec<EventRef>) {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    let waiting = (0..20).map(|_| world.publish(&[uid])).collect();
    world.run_for(secs(972));
    assert_eq!(world.store.state(uid), FAILING);
    (world, uid, waiting)
}

#[test]
fn ten_failures_disable_and_that_is_a_quarter_of_an_hour() {
    let (world, uid, _) = disabled();
    assert_eq!(world.seconds(uid), [0, 0, 0, 0, 0, 10, 70, 370, 670, 970]);
    assert_eq!(world.store.specs[&uid].state_time, T0 + secs(970));
}

#[test]
fn probes_go_out_at_the_longest_pace_and_use_up_no_attempts() {
    let (mut world, uid, waiting) = disabled();
    world.run_for(secs(1_000));
    let probes: Vec<_> = world.sent_to(uid)[10..].to_vec();
    assert_eq!(world.seconds(uid)[10..], [1_270, 1_570, 1_870]);
    assert!(probes.iter().all(|sent| sent.trigger == Trigger::Probe));
    assert!(probes.iter().all(|sent| sent.at == probes[0].at), "the oldest waiting one");
    assert!(waiting.contains(&probes[0].at));
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn probes_slow_down_after_a_day_and_end_after_seven() {
    let (mut world, uid, _) = disabled();
    world.run_until(T0 + secs(30 * 3_600));
    let hour = |n: i64| n * 3_600;
    let of = |times: &[i64], from, to| times.iter().filter(|t| (from..to).contains(*t)).count();
    let times = world.seconds(uid);
    assert_eq!(of(&times, hour(2), hour(3)), 12);
    assert_eq!(of(&times, hour(26), hour(29)), 3);
    world.run_until(T0 + secs(9 * 86_400));
    let times = world.seconds(uid);
    assert_eq!(of(&times, hour(7 * 24 + 1), hour(9 * 24)), 0);
    assert!(of(&times, hour(6 * 24), hour(7 * 24)) > 20);
}

#[test]
fn the_first_success_re_activates_it_and_everything_is_delivered_once() {
    let (mut world, uid, waiting) = disabled();
    let skipped: Vec<_> = (0..30).map(|_| world.publish(&[uid])).collect();
    assert_eq!(world.acked(SHARD), Some(skipped[29].at.position), "skipped is handed off");
    world.always(uid, status(200));
    world.run_for(secs(301));
    assert_eq!(world.store.state(uid), EndpointState::Active);
    world.run_for(secs(31 * 3_600));
    for event in waiting.iter().chain(&skipped) {
        assert_eq!(world.successes(uid, event), 1, "{event:?}");
    }
    for lane in world.store.lanes.values() {
        assert_eq!((lane.breaker.failures, lane.skip_from), (0, None));
    }
}

#[test]
fn a_lone_event_with_a_long_schedule_finds_the_endpoint_disabled_and_waits() {
    let mut world = World::new();
    let retry_schedule = RetrySchedule::new(vec![secs(60); 20]).expect("valid");
    let uid = world.endpoint_with(DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() });
    world.always(uid, status(500));
    let event = world.publish(&[uid]);
    world.run_for(secs(2 * 3_600));
    assert_eq!(world.store.state(uid), FAILING);
    assert!(world.store.letters_of(uid).is_empty());
    world.always(uid, status(200));
    world.run_for(secs(3_600));
    assert_eq!(world.successes(uid, &event), 1);
    assert_eq!(world.store.state(uid), EndpointState::Active);
}

#[test]
fn an_endpoint_with_nothing_waiting_is_probed_with_the_first_event_that_it_skipped() {
    let mut world = World::new();
    let retry_schedule = RetrySchedule::new(Vec::new()).expect("valid");
    let uid = world.endpoint_with(DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() });
    world.always(uid, status(500));
    for _ in 0..5 {
        world.publish(&[uid]);
    }
    for _ in 0..5 {
        world.publish(&[uid]);
        world.run_for(secs(301));
    }
    assert_eq!(world.store.state(uid), FAILING);
    let other = world.endpoint();
    for _ in 0..700 {
        world.publish(&[other]);
    }
    let skipped: Vec<_> = (0..3).map(|_| world.publish(&[uid])).collect();
    let before = world.sent_to(uid).len();
    world.run_for(secs(601));
    let probes = world.sent_to(uid)[before..].to_vec();
    assert!((2..=3).contains(&probes.len()), "{probes:?}");
    assert!(probes.iter().all(|p| p.at == skipped[0] && p.trigger == Trigger::Probe));
    world.always(uid, status(200));
    world.run_for(secs(400));
    assert_eq!(world.store.state(uid), EndpointState::Active);
    for event in &skipped {
        assert_eq!(world.successes(uid, event), 1, "{event:?}");
    }
}

#[test]
fn a_row_that_is_due_much_later_does_not_keep_skipped_events_from_being_probes() {
    let (mut world, uid, _) = {
        let mut world = World::new();
        let retry_schedule = RetrySchedule::new(Vec::new()).expect("valid");
        let policy = DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() };
        let uid = world.endpoint_with(policy);
        world.publish_to(SHARD, &[uid], Some(T0 + secs(6 * 86_400)));
        world.always(uid, status(500));
        for _ in 0..5 {
            world.publish(&[uid]);
        }
        for _ in 0..5 {
            world.publish(&[uid]);
            world.run_for(secs(301));
        }
        (world, uid, ())
    };
    assert_eq!(world.store.state(uid), FAILING);
    world.always(uid, status(200));
    let skipped = world.publish(&[uid]);
    world.run_for(secs(600));
    assert_eq!(world.store.state(uid), EndpointState::Active);
    assert_eq!(world.successes(uid, &skipped), 1);
}

#[test]
fn probing_comes_to_rest_when_nothing_that_was_skipped_is_wanted_any_more() {
    let mut world = World::new();
    let retry_schedule = RetrySchedule::new(Vec::new()).expect("valid");
    let uid = world.endpoint_with(DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() });
    world.always(uid, status(500));
    for _ in 0..5 {
        world.publish(&[uid]);
    }
    for _ in 0..5 {
        world.publish(&[uid]);
        world.run_for(secs(301));
    }
    for _ in 0..3 {
        world.publish(&[uid]);
    }
    // The subscription is gone: what was skipped does not match any more.
    world.store.log.values_mut().flatten().for_each(|record| record.uids.clear());
    let effects = world.effects;
    world.run_for(secs(3_600));
    assert!(world.effects - effects < 50, "{}", world.effects - effects);
}

#[test]
fn an_answer_of_410_disables_and_a_resume_catches_up_what_was_missed_exactly() {
    let mut world = World::new();
    let uid = world.endpoint();
    let before = world.publish(&[uid]);
    world.always(uid, status(410));
    let gone = world.publish(&[uid]);
    let skipped: Vec<_> = (0..1_700).map(|_| world.publish(&[uid])).collect();
    world.run_for(secs(86_400));
    assert_eq!(world.sent.len(), 2, "an answer is no failure: nothing is probed");
    world.always(uid, status(200));
    world.set_state(uid, EndpointState::Active);
    world.command(uid, CommandKind::Resume { catch_up: true });
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 2 + 1_700);
    for event in skipped.iter().chain([&before]) {
        assert_eq!(world.successes(uid, event), 1, "{event:?}");
    }
    let letters = world.store.letters_of(uid);
    assert_eq!((letters.len(), letters[0].reason), (1, DeadLetterReason::EndpointDisabled));
    assert_eq!(letters[0].event, gone);
}

#[test]
fn a_resume_without_catching_up_forgets_what_was_skipped() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.set_state(uid, EndpointState::Disabled(DisableReason::ByHand));
    for _ in 0..10 {
        world.publish(&[uid]);
    }
    world.command(uid, CommandKind::Resume { catch_up: false });
    world.set_state(uid, EndpointState::Active);
    let live = world.publish(&[uid]);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 1);
    assert_eq!(world.sent[0].at, live);
    assert_eq!(world.store.lanes.values().next().expect("a lane").skip_from, None);
}

#[test]
fn several_refusals_in_a_row_are_needed_when_the_endpoint_says_so() {
    let mut world = World::new();
    let uid = world.endpoint_with(DeliveryPolicy { disable_after: 3, ..DeliveryPolicy::default() });
    world.always(uid, status(404));
    let event = world.publish(&[uid]);
    world.run_for(secs(60));
    assert_eq!(world.store.state(uid), EndpointState::Active);
    world.run_for(secs(60));
    let by_answer = EndpointState::Disabled(DisableReason::Answer(404));
    assert_eq!(world.store.state(uid), by_answer);
    assert_eq!(world.seconds(uid), [0, 10, 70]);
    assert_eq!(world.store.letters_of(uid)[0].event, event);
}

#[test]
fn a_refused_probe_below_the_limit_is_no_reason_to_hurry() {
    let mut world = World::new();
    let policy = DeliveryPolicy { disable_after: 100, ..DeliveryPolicy::default() };
    let uid = world.endpoint_with(policy);
    world.always(uid, status(500));
    for _ in 0..20 {
        world.publish(&[uid]);
    }
    world.run_for(secs(972));
    assert_eq!(world.store.state(uid), FAILING);
    world.always(uid, status(403));
    world.run_for(secs(600));
    assert_eq!(world.seconds(uid)[10..], [1_270, 1_570]);
}

#[test]
fn disabled_by_hand_nothing_goes_out_and_what_waits_stays() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    let waiting = world.publish(&[uid]);
    world.set_state(uid, EndpointState::Disabled(DisableReason::ByHand));
    let skipped = world.publish(&[uid]);
    world.run_for(secs(86_400));
    assert_eq!(world.sent.len(), 1);
    world.crash(0, 0);
    world.always(uid, status(200));
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!((world.successes(uid, &waiting), world.successes(uid, &skipped)), (1, 1));
}

#[test]
fn a_state_that_somebody_else_set_first_wins() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(410));
    // The answer disables the endpoint here; in the store a person has paused it meanwhile.
    world.store_ms_max = 1_000;
    let event = world.publish(&[uid]);
    world.store_ms_max = 0;
    world.set_state(uid, EndpointState::Paused);
    world.run_for(secs(10));
    let held = world.publish(&[uid]);
    world.always(uid, status(200));
    world.run_for(secs(60));
    assert_eq!(world.store.state(uid), EndpointState::Paused);
    assert_eq!(world.engine.spec(uid).map(|spec| spec.state), Some(EndpointState::Paused));
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!((world.successes(uid, &event), world.successes(uid, &held)), (0, 1));
}

#[test]
fn an_answer_to_what_was_in_flight_before_a_resume_does_not_disable_again() {
    let mut world = World::new();
    let uid = world.endpoint();
    let mut seen = 0;
    world.script(uid, move |_, _| {
        seen += 1;
        match seen {
            1 => status(401).after(secs(10)),
            2 => status(401),
            _ => status(200),
        }
    });
    let slow = world.publish(&[uid]);
    world.publish(&[uid]);
    assert_eq!(world.store.state(uid), EndpointState::Disabled(DisableReason::Answer(401)));
    world.run_for(secs(5));
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.store.state(uid), EndpointState::Active);
    assert_eq!(world.successes(uid, &slow), 1);
}

#[test]
fn a_resume_that_no_worker_saw_begins_the_count_anew() {
    let (mut world, uid, _) = disabled();
    world.run_for(secs(5));
    // The worker is down while a person resumes.
    let spec = world.store.specs.get_mut(&uid).expect("known");
    (spec.state, spec.state_time) = (EndpointState::Active, world.now);
    world.crash(0, 0);
    world.run_for(secs(5));
    assert!(world.sent_to(uid).len() > 10, "it is tried at once");
    assert_eq!(world.store.state(uid), EndpointState::Active);
}

#[test]
fn a_person_can_have_an_endpoint_probed_after_the_probes_have_ended() {
    let (mut world, uid, _) = disabled();
    world.run_until(T0 + secs(7 * 86_400 + 3_600));
    let waiting = world.publish(&[uid]);
    world.run_for(secs(3_600));
    let before = world.sent_to(uid).len();
    world.always(uid, status(200));
    world.command(uid, CommandKind::Probe);
    world.run_for(secs(60));
    assert!(world.sent_to(uid).len() > before);
    assert_eq!(world.store.state(uid), EndpointState::Active);
    assert_eq!(world.successes(uid, &waiting), 1);
}
