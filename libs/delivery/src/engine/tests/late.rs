//! Calls of an owner that was suspended, landing when its successor has read what there is (ADR 15).

use std::time::Duration;

use domain::{DeliveryPolicy, EndpointState, LaneKey, RetrySchedule, RunId, limits};

use super::world::{SHARD, T0, World, secs, status};

fn retrying() -> DeliveryPolicy {
    let schedule = RetrySchedule::new(vec![secs(1); 6]).expect("valid");
    DeliveryPolicy { retry_schedule: schedule, ..DeliveryPolicy::default() }
}

/// Its row lands where the successor has read, then its attempt is recorded: the owner believed in its lease.
#[test]
fn a_retry_that_was_recorded_behind_the_successors_back_is_made() {
    for woken_after in (0..20).map(|n| Duration::from_millis(100 * n)) {
        for epochs in 1..3 {
            let mut world = World::new();
            let uid = world.endpoint_with(retrying());
            world.always(uid, status(500).after(Duration::from_millis(1)));
            world.store_ms_max = 2_000;
            let events: Vec<_> = (0..4).map(|_| world.publish(&[uid])).collect();
            for _ in 0..epochs {
                world.run_for(Duration::from_millis(1_500));
                // Lane and body are durable, and the call that appends is under way.
                world.suspend(0, 2);
            }
            world.run_for(woken_after);
            world.wake(3);
            world.always(uid, status(200));
            world.run_for(secs(3_600));
            for event in &events {
                let run = world.store.run(uid, event.at, RunId::LOG);
                assert!(run.has_ended(), "DL-1: {event:?}, woken after {woken_after:?}");
            }
        }
    }
}

#[test]
fn rows_of_retries_that_are_written_again_die_out() {
    let mut world = World::new();
    let uid = world.endpoint_with(retrying());
    // Busy answers count as nobody's failure.
    world.always(uid, status(429));
    let events: Vec<_> = (0..4).map(|_| world.publish(&[uid])).collect();
    for _ in 0..2 {
        // Neither the position nor the cursor was saved.
        world.run_for(Duration::from_millis(700));
        world.crash(0, 0);
    }
    world.run_for(secs(600));
    let rows = world.store.rows[&LaneKey { shard: SHARD, endpoint: uid }].values();
    for event in &events {
        let attempts = world.store.attempts_of(uid, event.at);
        let numbers: Vec<u32> = attempts.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "DL-3: each number once");
        let mine = rows.clone().filter(|row| row.event == *event).count();
        assert!((6..=6 + 2).contains(&mine), "{mine} rows: at most one more a take-over");
    }
}

/// LA-4: the lane is the successor's by then.
#[test]
fn a_lane_that_is_forgotten_late_stays_its_successors() {
    let mut world = World::new();
    let uid = world.endpoint();
    world.publish(&[uid]);
    let idle = T0 + limits::LANE_KEPT_IDLE + limits::SWEEP_INTERVAL;
    world.run_until(idle - secs(60));
    world.store_ms_max = 2_000;
    world.run_until(idle);
    assert_eq!(world.engine.writes_pending(), 1, "the lane is being forgotten");
    world.suspend(0, 7);
    world.set_state(uid, EndpointState::Paused);
    let event = world.publish(&[uid]);
    world.run_for(secs(10));
    assert_eq!(world.acked(SHARD), Some(event.at.position), "it waits in the backlog");
    world.wake(1);
    world.crash(0, 0);
    world.set_state(uid, EndpointState::Active);
    world.run_for(secs(60));
    assert_eq!(world.successes(uid, &event), 1, "DL-1: the next owner finds the lane");
}
