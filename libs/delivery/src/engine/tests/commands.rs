//! What people ask for.

use domain::{CommandKind, DeadLetterId, DeadLetterReason, DisableReason, EndpointState, Trigger};

use super::world::{SHARD, World, secs, status};

#[test]
fn a_redrive_that_succeeds_resolves_the_dead_letter() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(400));
    let event = world.publish(&[uid]);
    assert_eq!(world.store.letters_of(uid).len(), 1);
    world.always(uid, status(200));
    world.redrive(uid, &event);
    assert!(world.store.letters_of(uid).is_empty());
    let expected = [(1, Trigger::Event), (1, Trigger::Redrive)];
    assert_eq!(world.store.attempts_of(uid, event.at), expected);
    assert_eq!(world.store.commands.len(), 1);
}

#[test]
fn a_redrive_that_fails_returns_the_dead_letter_with_its_count() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    let event = world.publish(&[uid]);
    world.run_for(secs(2 * 86_400));
    let first = world.store.letters_of(uid)[0].clone();
    assert_eq!((first.reason, first.attempts), (DeadLetterReason::Exhausted, 8));
    world.always(uid, status(422));
    world.redrive(uid, &event);
    world.run_for(secs(1));
    let letters = world.store.letters_of(uid);
    assert_eq!((letters.len(), letters[0].reason), (1, DeadLetterReason::Rejected));
    assert_eq!((letters[0].id, letters[0].attempts), (first.id, 9));
    assert_ne!(letters[0].run, first.run);
}

#[test]
fn a_redrive_has_a_whole_new_schedule() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(400));
    let event = world.publish(&[uid]);
    world.always(uid, status(500));
    world.redrive(uid, &event);
    world.run_for(secs(400));
    assert_eq!(world.seconds(uid), [0, 0, 10, 70, 370]);
    world.always(uid, status(200));
    world.run_for(secs(2_000));
    assert!(world.store.letters_of(uid).is_empty(), "a later attempt of the redrive resolves too");
}

#[test]
fn what_a_person_asks_for_goes_at_once_whatever_the_breaker_says() {
    let mut world = World::new();
    let uid = world.endpoint();
    let event = world.publish(&[uid]);
    world.always(uid, status(500));
    for _ in 0..50 {
        world.publish(&[uid]);
    }
    world.run_for(secs(100));
    let run = world.run_id();
    world.command(uid, CommandKind::Resend { event: event.clone(), run });
    let last = world.sent.last().expect("sent").clone();
    assert_eq!((last.at, last.time, last.trigger), (event, world.now, Trigger::Resend));
}

#[test]
fn a_resend_that_succeeds_closes_the_breaker() {
    let mut world = World::new();
    let uid = world.endpoint();
    let event = world.publish(&[uid]);
    world.always(uid, status(500));
    let waiting: Vec<_> = (0..50).map(|_| world.publish(&[uid])).collect();
    world.run_for(secs(100));
    world.always(uid, status(200));
    let run = world.run_id();
    world.command(uid, CommandKind::Resend { event, run });
    world.run_for(secs(600));
    assert!(waiting.iter().all(|event| world.successes(uid, event) == 1));
}

#[test]
fn a_test_is_sent_to_a_disabled_endpoint_and_changes_nothing() {
    let mut world = World::new();
    let uid = world.endpoint();
    let event = world.publish(&[uid]);
    let by_hand = EndpointState::Disabled(DisableReason::ByHand);
    world.set_state(uid, by_hand);
    for (answer, sent) in [(status(500), 2), (status(410), 3), (status(200), 4)] {
        world.always(uid, answer);
        let run = world.run_id();
        world.command(uid, CommandKind::Test { event: event.clone(), run });
        world.run_for(secs(600));
        assert_eq!(world.sent.len(), sent);
    }
    assert_eq!(world.store.state(uid), by_hand);
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn the_same_command_twice_is_one_run() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(400));
    let event = world.publish(&[uid]);
    world.always(uid, status(200));
    world.store_ms_max = 100;
    let kind = CommandKind::Redrive {
        dead_letter: DeadLetterId::of(uid, &event),
        event: event.clone(),
        run: world.run_id(),
        by_job: false,
    };
    world.command(uid, kind.clone());
    world.command(uid, kind.clone());
    world.run_for(secs(10));
    world.command(uid, kind);
    world.run_for(secs(10));
    assert_eq!(world.successes(uid, &event), 1);
}

#[test]
fn many_redrives_keep_to_the_endpoints_concurrency() {
    let mut world = World::new();
    let uid = world.endpoint_with(domain::DeliveryPolicy {
        max_concurrency: 4,
        ..domain::DeliveryPolicy::default()
    });
    let event = world.publish(&[uid]);
    world.always(uid, status(200).after(secs(1)));
    for _ in 0..100 {
        let run = world.run_id();
        world.command(uid, CommandKind::Resend { event: event.clone(), run });
        assert!(world.in_flight.len() <= 4);
    }
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 101);
}

#[test]
fn a_cancelled_event_is_not_sent_any_more() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    let event = world.publish(&[uid]);
    world.run_for(secs(15));
    world.cancel(uid, &event);
    world.run_for(secs(86_400));
    assert_eq!(world.seconds(uid), [0, 10]);
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn cancelling_ends_what_waits_in_memory_too() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(200).after(secs(1)));
    let events: Vec<_> = (0..20).map(|_| world.publish(&[uid])).collect();
    let last = events[19].clone();
    world.cancel(uid, &last);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 19);
    assert_eq!(world.acked(SHARD), Some(last.at.position));
}

#[test]
fn cancelling_ends_rows_that_are_loaded_or_on_their_way_from_the_store() {
    for ms in [0, 20] {
        let mut world = World::new();
        let uid = world.endpoint();
        world.set_state(uid, EndpointState::Paused);
        let events: Vec<_> = (0..20).map(|_| world.publish(&[uid])).collect();
        world.always(uid, status(200).after(secs(1)));
        world.store_ms_max = ms;
        world.set_state(uid, EndpointState::Active);
        world.run_for(std::time::Duration::from_millis(ms));
        let sent_before = world.sent.iter().any(|sent| sent.at == events[15]);
        world.cancel(uid, &events[15]);
        world.run_for(secs(60));
        assert_eq!((world.sent.len(), sent_before), (19, false));
        assert_eq!(world.in_flight.len(), 0);
        assert_eq!(world.store.lanes.values().next().expect("a lane").waiting, 0);
    }
}

#[test]
fn cancelling_ends_what_is_read_from_the_store_while_its_mark_is_on_the_way() {
    for ms in 0..60 {
        let mut world = World::new();
        let uid = world.endpoint();
        world.set_state(uid, EndpointState::Paused);
        let events: Vec<_> = (0..8).map(|_| world.publish(&[uid])).collect();
        world.run_for(secs(5));
        world.store_ms_max = 40;
        world.set_state(uid, EndpointState::Active);
        world.crash(0, 0);
        world.run_for(std::time::Duration::from_millis(ms));
        // The world checks that nothing is sent once the mark is durable.
        events.iter().for_each(|event| world.cancel(uid, event));
        world.run_for(secs(60));
        assert_eq!(world.store.lanes.values().next().expect("a lane").waiting, 0);
        assert_eq!(world.in_flight.len(), 0);
    }
}

#[test]
fn an_event_that_the_worker_has_not_read_yet_can_be_cancelled() {
    let config = super::EngineConfig { span_records_max: 2, ..super::EngineConfig::default() };
    let mut world = World::with(config, &[SHARD]);
    let uid = world.endpoint();
    // The store is slow: the reader waits for it.
    world.set_state(uid, EndpointState::Paused);
    world.store_ms_max = 1_000;
    let events: Vec<_> = (0..10).map(|_| world.publish(&[uid])).collect();
    assert!(world.intake_closed > 0);
    world.cancel(uid, &events[9]);
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!((world.sent.len(), world.successes(uid, &events[9])), (9, 0));
    assert_eq!(world.acked(SHARD), Some(events[9].at.position));
}

#[test]
fn a_scheduled_delivery_can_be_cancelled() {
    let mut world = World::new();
    let uid = world.endpoint();
    let due = world.now + secs(3_600);
    let event = world.publish_to(SHARD, &[uid], Some(due));
    world.cancel(uid, &event);
    world.run_for(secs(86_400));
    assert!(world.sent.is_empty());
}

#[test]
fn deleting_an_endpoint_cancels_what_is_pending_and_frees_the_position() {
    let mut world = World::new();
    let (uid, other) = (world.endpoint(), world.endpoint());
    world.always(uid, status(200).after(secs(20)));
    let events: Vec<_> = (0..30).map(|_| world.publish(&[uid, other])).collect();
    let before = world.sent_to(uid).len();
    world.delete(uid);
    assert_eq!(world.acked(SHARD), Some(events[29].at.position));
    world.run_for(secs(86_400));
    assert_eq!(world.sent_to(uid).len(), before);
    let next = world.publish(&[uid, other]);
    assert_eq!(world.acked(SHARD), Some(next.at.position));
}

#[test]
fn deleting_an_endpoint_frees_positions_whatever_waits_for_the_store() {
    for state in [
        EndpointState::Active,
        EndpointState::Paused,
        EndpointState::Disabled(DisableReason::ByHand),
    ] {
        let mut world = World::new();
        let uid = world.endpoint();
        world.set_state(uid, state);
        world.store_ms_max = 10_000;
        let events: Vec<_> = (0..30).map(|_| world.publish(&[uid])).collect();
        world.crash(0, 0);
        world.run_for(secs(2));
        world.delete(uid);
        assert_eq!(world.acked(SHARD), Some(events[29].at.position), "{state:?}");
    }
}

#[test]
fn what_a_job_asks_for_waits_for_the_breaker_and_goes_out_before_what_comes_later() {
    let mut world = World::new();
    let uid = world.endpoint();
    let events: Vec<_> = (0..20).map(|_| world.publish(&[uid])).collect();
    world.always(uid, status(500));
    for _ in 0..5 {
        world.publish(&[uid]);
    }
    let sent = world.sent.len();
    let runs: Vec<_> = events.iter().map(|event| (event.clone(), world.run_id())).collect();
    for (event, run) in &runs {
        world.command(uid, CommandKind::Replay { event: event.clone(), run: *run });
    }
    world.run_for(secs(9));
    assert_eq!(world.sent.len(), sent, "the breaker is open");
    world.always(uid, status(200));
    world.run_for(secs(5));
    let replayed: Vec<_> =
        world.sent.iter().filter(|one| one.trigger == Trigger::Replay).map(|one| &one.at).collect();
    assert_eq!(replayed, events.iter().collect::<Vec<_>>(), "each once, oldest first");
    world.publish(&[uid]);
    assert_eq!(
        world.sent.last().expect("sent").time,
        world.now,
        "live traffic does not queue behind"
    );
}

#[test]
fn a_replay_that_fails_has_a_schedule_and_a_dead_letter_of_its_own() {
    let mut world = World::new();
    let uid = world.endpoint();
    let event = world.publish(&[uid]);
    world.always(uid, status(500));
    let run = world.run_id();
    let replay = CommandKind::Replay { event: event.clone(), run };
    world.command(uid, replay.clone());
    world.command(uid, replay);
    world.run_for(secs(2 * 86_400));
    assert_eq!(world.store.letters_of(uid).len(), 1);
    assert_eq!(world.store.attempts_of(uid, event.at).len(), 1 + 8, "the same run twice is one");
}

#[test]
fn a_redrive_by_a_job_resolves_its_dead_letter() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(400));
    let event = world.publish(&[uid]);
    world.always(uid, status(200));
    let (dead_letter, run) = (DeadLetterId::of(uid, &event), world.run_id());
    world.store.redriving.insert((uid, dead_letter), run);
    let kind = CommandKind::Redrive { dead_letter, event: event.clone(), run, by_job: true };
    world.command(uid, kind);
    world.run_for(secs(1));
    assert!(world.store.letters_of(uid).is_empty());
    let expected = [(1, Trigger::Event), (1, Trigger::Redrive)];
    assert_eq!(world.store.attempts_of(uid, event.at), expected);
}
