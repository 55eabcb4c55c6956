//! What people ask for, when the endpoint is in no state for it, and when the worker dies in between.

use domain::{
    CommandKind, DeadLetterReason, DeliveryPolicy, DisableReason, EndpointState, EndpointUid,
    EventRef, Shard, Trigger,
};

use super::EngineConfig;
use super::world::{SHARD, World, secs, status};

/// An endpoint with so many dead letters.
fn with_letters(policy: DeliveryPolicy, count: usize) -> (World, EndpointUid, Vec<EventRef>) {
    let mut world = World::new();
    let uid = world.endpoint_with(policy);
    world.always(uid, status(400));
    let events = (0..count).map(|_| world.publish(&[uid])).collect();
    world.run_for(secs(1));
    assert_eq!(world.store.letters_of(uid).len(), count);
    (world, uid, events)
}

#[test]
fn a_redrive_whose_success_was_recorded_resolves_its_letter_after_a_crash() {
    let (mut world, uid, events) = with_letters(DeliveryPolicy::default(), 1);
    world.always(uid, status(200));
    world.store_ms_max = 1_000;
    world.redrive(uid, &events[0]);
    while world.sent.len() < 2 {
        world.run_for(std::time::Duration::from_millis(1));
    }
    assert_eq!(world.engine.writes_pending(), 1, "its outcome is on its way");
    // The attempt is durable, and that the letter is resolved is not.
    world.crash(0, 5);
    world.run_for(secs(60));
    assert_eq!(world.sent.len(), 2);
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn a_late_success_after_a_take_over_resolves_the_letter() {
    let (mut world, uid, events) = with_letters(DeliveryPolicy::default(), 1);
    let mut seen = 0;
    world.script(uid, move |_, _| {
        seen += 1;
        if seen == 1 { status(200).after(secs(5)) } else { status(500).after(secs(10)) }
    });
    world.redrive(uid, &events[0]);
    world.run_for(secs(1));
    world.reassign(SHARD);
    world.run_for(secs(6));
    assert!(world.store.letters_of(uid).is_empty());
    world.run_for(secs(600));
    assert_eq!(world.sent.len(), 3);
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn cancelling_a_redrive_puts_its_letter_back() {
    for (after, crash) in [(0, false), (0, true), (20, false), (20, true)] {
        let (mut world, uid, events) = with_letters(DeliveryPolicy::default(), 1);
        let before = world.store.letters_of(uid)[0].clone();
        world.always(uid, status(500).after(secs(after)));
        world.store_ms_max = 100;
        world.redrive(uid, &events[0]);
        world.run_for(secs(15));
        world.cancel(uid, &events[0]);
        if crash {
            world.run_for(std::time::Duration::from_millis(1));
            world.crash(0, 5);
            world.cancel(uid, &events[0]);
        }
        world.run_for(secs(30));
        assert!(world.store.redriving.is_empty(), "{after} {crash}");
        let letter = world.store.letters_of(uid)[0].clone();
        assert_eq!((letter.id, &letter.event_type), (before.id, &before.event_type));
        if after == 0 {
            assert_eq!(letter.reason, before.reason);
        }
        let sent = world.sent.len();
        world.always(uid, status(200));
        world.run_for(secs(86_400));
        assert_eq!(world.sent.len(), sent, "it is not tried again");
        world.redrive(uid, &events[0]);
        world.run_for(secs(1));
        assert!(world.store.letters_of(uid).is_empty());
    }
}

#[test]
fn a_redrive_that_was_on_its_way_when_it_was_cancelled_and_succeeds_resolves_its_letter() {
    let (mut world, uid, events) = with_letters(DeliveryPolicy::default(), 1);
    world.always(uid, status(200).after(secs(20)));
    world.redrive(uid, &events[0]);
    world.run_for(secs(1));
    world.cancel(uid, &events[0]);
    world.run_for(secs(60));
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn cancelling_ends_a_retry_of_a_resend_that_waits_in_the_store_alone() {
    let mut world = World::new();
    let uid = world.endpoint();
    let event = world.publish(&[uid]);
    world.always(uid, status(500));
    let run = world.run_id();
    world.command(uid, CommandKind::Resend { event: event.clone(), run });
    world.run_for(secs(15));
    assert_eq!(world.sent.len(), 3);
    world.cancel(uid, &event);
    world.run_for(secs(86_400));
    assert_eq!(world.sent.len(), 3);
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn a_burst_of_redrives_to_a_dead_endpoint_does_not_disable_it() {
    let policy = DeliveryPolicy { max_concurrency: 1, ..DeliveryPolicy::default() };
    let (mut world, uid, events) = with_letters(policy, 40);
    world.always(uid, status(500));
    for event in &events {
        world.redrive(uid, event);
    }
    assert_eq!(world.sent.len(), 80);
    assert_eq!(world.store.state(uid), EndpointState::Active);
    world.always(uid, status(200));
    let opened = world.now;
    let waiting = world.publish(&[uid]);
    world.run_for(secs(11));
    let first = world.sent.iter().find(|sent| sent.at == waiting);
    let wait = first.expect("the pace has gone on").time.since(opened);
    assert!(wait <= secs(10), "{wait:?}");
}

#[test]
fn once_disabled_by_hand_what_was_asked_for_ends_and_only_tests_go_out() {
    let policy = DeliveryPolicy { max_concurrency: 1, ..DeliveryPolicy::default() };
    let (mut world, uid, events) = with_letters(policy, 3);
    world.always(uid, status(200).after(secs(10)));
    for event in &events {
        world.redrive(uid, event);
    }
    assert_eq!(world.sent.len(), 4);
    world.set_state(uid, EndpointState::Disabled(DisableReason::ByHand));
    let run = world.run_id();
    world.command(uid, CommandKind::Test { event: events[0].clone(), run });
    world.run_for(secs(60));
    let triggers: Vec<_> = world.sent[3..].iter().map(|sent| sent.trigger).collect();
    assert_eq!(triggers, [Trigger::Redrive, Trigger::Test]);
    let letters = world.store.letters_of(uid);
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [DeadLetterReason::EndpointDisabled; 2]);
    assert!(world.store.redriving.is_empty());
    assert_eq!(world.store.lanes.values().next().expect("a lane").waiting, 0);
}

#[test]
fn what_was_asked_for_goes_out_after_a_restart_whatever_the_endpoints_state() {
    for count in [0, 3, 700] {
        let mut world = World::new();
        let uid = world.endpoint();
        let event = world.publish(&[uid]);
        world.set_state(uid, EndpointState::Paused);
        for _ in 0..count {
            world.publish(&[uid]);
        }
        world.store_ms_max = 10_000;
        let run = world.run_id();
        world.command(uid, CommandKind::Resend { event: event.clone(), run });
        while world.engine.writes_pending() > 0 {
            world.run_for(std::time::Duration::from_millis(1));
        }
        world.store_ms_max = 0;
        assert_eq!(world.sent.len(), 1, "its row is durable, and it is not sent yet");
        world.crash(0, 0);
        world.run_for(secs(60));
        assert_eq!(world.successes(uid, &event), 2, "{count} wait");
        assert_eq!(world.sent.len(), 2, "nothing else");
        world.set_state(uid, EndpointState::Active);
        world.run_for(secs(60));
        assert_eq!(world.sent.len(), 2 + count);
        assert_eq!(world.store.lanes.values().next().expect("a lane").waiting, 0);
    }
}

#[test]
fn one_probe_that_every_shard_is_told_of_is_one_attempt() {
    let shards: Vec<Shard> = (0..4).map(Shard).collect();
    let mut world = World::with(EngineConfig::default(), &shards);
    let uid = world.endpoint();
    world.always(uid, status(500));
    for _ in 0..20 {
        world.publish(&[uid]);
    }
    world.run_for(secs(2));
    assert_eq!(world.sent.len(), 5);
    for shard in shards {
        world.command_in(shard, uid, CommandKind::Probe);
    }
    world.run_for(secs(2));
    assert_eq!(world.sent.len(), 6);
}
