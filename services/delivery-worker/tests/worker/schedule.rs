//! A whole retry schedule on the simulated clock (spec §6).

use std::time::Duration;

use domain::{DeadLetterReason, Disposition, RetrySchedule, Timestamp};
use ports::Clock as _;
use testkit::Reply;

use crate::world::{World, secs, url};

const DAY: Duration = secs(86_400);

/// A worker that looks for lost hints once a day: nothing but deliveries moves the clock.
async fn quiet_world() -> World {
    let mut world = World::new().await;
    world.config.inbox_poll = DAY;
    world.config.refresh = DAY;
    world.endpoint("dead", 1).await;
    world.sender.always(&url("dead"), Reply::status(500));
    world.start().await;
    world
}

/// Whether the waits between requests are the schedule's steps, give or take a tenth.
fn follows_the_schedule(sent: &[(Timestamp, String)]) -> bool {
    let steps = RetrySchedule::default();
    let times = sent.iter().map(|(time, _)| *time);
    let waits = times.clone().zip(times.skip(1)).map(|(before, after)| after.since(before));
    let mut waits = waits.zip(steps.steps());
    waits.all(|(wait, step)| wait >= *step * 9 / 10 && wait <= *step * 11 / 10)
}

#[tokio::test]
async fn a_dead_endpoint_gets_the_31_hours_of_its_schedule_and_then_a_dead_letter() {
    let world = quiet_world().await;
    let start = world.clock.now();
    let at = world.publish("evt_1").await;
    world.pass(secs(36 * 3_600)).await;
    let sent = world.sent("dead");
    assert_eq!(sent.len(), 8);
    assert_eq!(sent[0].0, start, "the first attempt is at once");
    assert!(follows_the_schedule(&sent), "{sent:?}");
    assert!(sent[7].0.since(start) > secs(28 * 3_600), "31.6 h less a tenth");
    assert!(sent.iter().all(|(_, id)| id == "evt_1"));
    let attempts = world.attempts(1);
    let numbers: Vec<u32> = attempts.iter().map(|(_, attempt)| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    let last = &attempts[7].1;
    assert_eq!(last.disposition, Disposition::DeadLettered(DeadLetterReason::Exhausted));
    for (place, (_, attempt)) in attempts.iter().enumerate().take(7) {
        let next = Disposition::Retry { next: sent[place + 1].0 };
        assert_eq!(attempt.disposition, next, "the promised time is the real one");
    }
    let letters = world.store.all_dead_letters();
    assert_eq!(letters.len(), 1);
    let (letter, resolution) = &letters[0];
    assert_eq!((letter.attempts, letter.reason), (8, DeadLetterReason::Exhausted));
    assert_eq!((letter.event.at, *resolution), (at, None));
    assert_eq!(world.acked(at.shard), Some(at.position));
}

#[tokio::test]
async fn a_schedule_goes_on_where_a_killed_worker_left_it() {
    let mut world = quiet_world().await;
    world.publish("evt_1").await;
    for hours in [0_u64, 1, 2, 4, 12] {
        world.pass(secs(hours * 3_600 + 20)).await;
        world.kill().await;
        world.start().await;
    }
    world.pass(secs(36 * 3_600)).await;
    let sent = world.sent("dead");
    assert_eq!(sent.len(), 8, "{sent:?}");
    assert!(follows_the_schedule(&sent), "{sent:?}");
    assert_eq!(world.store.all_dead_letters().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_recovers_gets_its_event_once() {
    let world = quiet_world().await;
    world.publish("evt_1").await;
    world.pass(secs(60)).await;
    world.sender.always(&url("dead"), Reply::status(200));
    world.pass(secs(36 * 3_600)).await;
    assert_eq!(world.sent("dead").len(), 3);
    assert_eq!(world.store.all_dead_letters().len(), 0);
    let attempts = world.attempts(1);
    assert_eq!(attempts[2].1.disposition, Disposition::Delivered);
}
