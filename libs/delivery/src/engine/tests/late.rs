//! Calls of an owner that was suspended, landing when its successor has read what there is (ADR 13).

use domain::{EndpointState, limits};

use super::world::{SHARD, T0, World, secs};

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
