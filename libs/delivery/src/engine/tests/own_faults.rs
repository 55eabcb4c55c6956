//! What is our own fault is no endpoint's (`architecture.md` §6).

use domain::{EndpointState, EndpointUid, ErrorClass, OutcomeKind};

use super::world::{Answer, World, secs, status};

fn unreachable() -> Answer {
    Answer { kind: OutcomeKind::Failed(ErrorClass::Dns), ..status(0) }
}

fn failures(world: &World, uid: EndpointUid) -> Option<u32> {
    let mut lanes = world.store.lanes.values().filter(|lane| lane.key.endpoint == uid);
    lanes.next().map(|lane| lane.breaker.failures)
}

#[test]
fn a_network_that_is_down_disables_nobody() {
    let mut world = World::new();
    let uids: Vec<_> = (0..25).map(|_| world.endpoint()).collect();
    world.publish(&uids);
    uids.iter().for_each(|uid| world.always(*uid, unreachable()));
    let mut events = Vec::new();
    for _ in 0..60 {
        events.push(world.publish(&uids));
        world.run_for(secs(20));
    }
    assert!(world.engine.egress_degraded());
    for uid in &uids {
        assert_eq!(world.store.state(*uid), EndpointState::Active);
        assert!(failures(&world, *uid).is_none_or(|failures| failures <= 1));
    }
    uids.iter().for_each(|uid| world.always(*uid, status(200)));
    world.run_for(secs(7_200));
    assert!(!world.engine.egress_degraded());
    for (event, uid) in events.iter().flat_map(|event| uids.iter().map(move |uid| (event, uid))) {
        assert_eq!(world.successes(*uid, event), 1);
    }
    uids.iter().for_each(|uid| assert_eq!(failures(&world, *uid), Some(0)));
}

#[test]
fn one_dead_endpoint_among_many_that_work_is_disabled_as_ever() {
    let mut world = World::new();
    let uids: Vec<_> = (0..25).map(|_| world.endpoint()).collect();
    world.always(uids[0], unreachable());
    for _ in 0..60 {
        world.publish(&uids);
        world.run_for(secs(20));
    }
    assert!(!world.engine.egress_degraded());
    assert!(matches!(world.store.state(uids[0]), EndpointState::Disabled(_)));
}

#[test]
fn a_request_that_could_not_be_made_is_retried_and_is_no_failure() {
    let mut world = World::new();
    let uid = world.endpoint();
    let broken =
        Answer { own_fault: true, kind: OutcomeKind::Failed(ErrorClass::Http), ..status(0) };
    world.always(uid, broken);
    let events: Vec<_> = (0..20).map(|_| world.publish(&[uid])).collect();
    world.run_for(secs(100));
    assert_eq!((failures(&world, uid), world.store.state(uid)), (Some(0), EndpointState::Active));
    assert_eq!(world.sent.len(), 60, "all are tried by their own schedule");
    world.always(uid, status(200));
    world.run_for(secs(600));
    assert!(events.iter().all(|event| world.successes(uid, event) == 1));
}
