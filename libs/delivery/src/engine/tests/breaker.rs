//! The circuit breaker (spec §3).

use domain::{CommandKind, DeliveryPolicy, EndpointState, RetrySchedule};

use super::world::{SHARD, T0, World, secs, status};

/// An endpoint whose breaker has just opened: five events have failed once each.
fn opened() -> (World, domain::EndpointUid) {
    let mut world = World::new();
    let uid = world.endpoint();
    world.always(uid, status(500));
    for _ in 0..5 {
        world.publish(&[uid]);
    }
    assert_eq!(world.sent.len(), 5);
    (world, uid)
}

#[test]
fn five_failures_open_it_and_then_one_attempt_goes_out_at_a_time() {
    let (mut world, uid) = opened();
    for _ in 0..20 {
        world.publish(&[uid]);
    }
    world.run_for(secs(9));
    assert_eq!(world.sent.len(), 5, "nothing goes out before the first pace is over");
    world.run_for(secs(400));
    // 10 s, then 1 m, then 5 m, by the endpoint's own schedule.
    assert_eq!(world.seconds(uid)[5..], [10, 70, 370]);
}

#[test]
fn what_waits_uses_up_no_attempts() {
    let (mut world, uid) = opened();
    let late = world.publish(&[uid]);
    world.run_for(secs(400));
    assert!(world.store.attempts_of(uid, late.at).len() <= 1);
    assert!(world.store.letters_of(uid).is_empty());
}

#[test]
fn one_success_closes_it_and_what_waits_goes_out_at_once_oldest_first() {
    let (mut world, uid) = opened();
    let waiting: Vec<_> = (0..100).map(|_| world.publish(&[uid])).collect();
    world.always(uid, status(200));
    world.run_for(secs(11));
    assert_eq!(world.sent.len(), 5 + 5 + 100);
    let first_times: Vec<_> =
        world.sent.iter().filter(|s| waiting.contains(&s.at)).map(|s| s.at.clone()).collect();
    assert_eq!(first_times, waiting);
    assert!(world.seconds(uid)[5..].iter().all(|second| *second <= 10));
}

#[test]
fn what_was_in_flight_when_it_opened_does_not_count() {
    let mut world = World::new();
    let uid = world.endpoint();
    let mut seen = 0;
    world.script(uid, move |_, _| {
        seen += 1;
        // All are in flight together; five fail at once, the others later.
        status(500).after(if seen <= 5 { secs(1) } else { secs(5) })
    });
    // Requests in flight: the window starts with 8.
    for _ in 0..8 {
        world.publish(&[uid]);
    }
    world.run_for(secs(6));
    let state = world.store.lanes.values().next().expect("a lane").breaker;
    world.run_for(secs(2));
    assert_eq!(state.failures, 5);
    assert_eq!(world.store.state(uid), EndpointState::Active);
}

#[test]
fn a_thousand_waiting_deliveries_cost_one_probe_a_pace() {
    let (mut world, uid) = opened();
    for _ in 0..1_000 {
        world.publish(&[uid]);
    }
    world.run_for(secs(5));
    let (effects, writes) = (world.effects, world.store.writes);
    world.run_for(secs(4));
    assert_eq!((world.effects, world.store.writes), (effects, writes), "nothing moves");
    world.run_until(T0 + secs(600));
    assert_eq!(world.seconds(uid)[5..], [10, 70, 370]);
    // A probe costs a look, its result, and the lane's row.
    assert!(world.effects - effects < 40, "{}", world.effects - effects);
    assert_eq!(world.store.writes - writes, 3 * 2);
}

#[test]
fn a_lane_that_holds_many_rows_reads_them_page_by_page() {
    let (mut world, uid) = opened();
    for _ in 0..1_000 {
        world.publish(&[uid]);
    }
    world.always(uid, status(200).after(secs(1)));
    world.run_for(secs(3_600));
    assert_eq!(world.sent.len(), 5 + 1_005);
    assert_eq!(world.in_flight.len(), 0);
}

#[test]
fn a_fast_schedule_paces_by_its_own_steps() {
    let mut world = World::new();
    let step = std::time::Duration::from_millis(100);
    let retry_schedule = RetrySchedule::new(vec![step; 4]).expect("valid");
    let uid = world.endpoint_with(DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() });
    world.always(uid, status(500));
    for _ in 0..6 {
        world.publish(&[uid]);
    }
    world.run_for(secs(1));
    let times = world.times(uid);
    assert!(times[5..].windows(2).all(|pair| pair[1] - pair[0] >= 100), "{times:?}");
}

#[test]
fn a_change_of_url_or_secret_allows_an_attempt_at_once() {
    let (mut world, uid) = opened();
    world.run_for(secs(100));
    assert_eq!(world.seconds(uid)[5..], [10, 70]);
    world.always(uid, status(200));
    world.command(uid, CommandKind::Probe);
    assert_eq!(world.seconds(uid)[7], 100);
    assert_eq!(world.sent.len(), 5 + 2 + 4, "those that are due go out with it");
}

#[test]
fn it_is_remembered_by_the_next_owner() {
    let (mut world, uid) = opened();
    world.run_for(secs(5));
    world.crash(0, 0);
    world.publish(&[uid]);
    world.run_for(secs(100));
    assert_eq!(world.seconds(uid)[5..], [10, 70]);
}

#[test]
fn a_success_in_one_shard_is_remembered_for_all() {
    let shards = [SHARD, domain::Shard(1)];
    let mut world = World::with(super::EngineConfig::default(), &shards);
    let uid = world.endpoint();
    world.always(uid, status(500));
    for _ in 0..9 {
        world.publish(&[uid]);
        world.run_for(secs(301));
    }
    let before = world.sent.len();
    world.always(uid, status(200));
    world.command(uid, CommandKind::Probe);
    world.publish_to(shards[1], &[uid], None);
    world.run_for(secs(600));
    assert!(world.sent.len() > before);
    for lane in world.store.lanes.values() {
        assert_eq!(lane.breaker.failures, 0, "{:?}", lane.key);
    }
}

#[test]
fn refusals_below_the_limit_keep_an_open_breakers_pace() {
    let mut world = World::new();
    let policy = DeliveryPolicy { disable_after: 100, ..DeliveryPolicy::default() };
    let uid = world.endpoint_with(policy);
    world.always(uid, status(500));
    for _ in 0..20 {
        world.publish(&[uid]);
    }
    world.always(uid, status(401));
    world.run_for(secs(100));
    assert_eq!(world.seconds(uid)[5..], [10, 70]);
}

#[test]
fn the_delivery_that_was_due_first_goes_out_whichever_shard_it_lies_in() {
    let shards: Vec<_> = (0..4).map(domain::Shard).collect();
    let mut world = World::with(super::EngineConfig::default(), &shards);
    let uid = world.endpoint();
    world.always(uid, status(500));
    for _ in 0..5 {
        world.publish_to(shards[1], &[uid], None);
    }
    world.store_ms_max = 50;
    let mut waiting = Vec::new();
    for shard in [2, 0, 3, 1, 2] {
        world.run_for(secs(1));
        waiting.push(world.publish_to(shards[shard], &[uid], None));
    }
    world.run_for(secs(1_000));
    let first: Vec<_> = world.sent[5..].iter().map(|sent| sent.at.clone()).collect();
    assert_eq!(first[0], waiting[0], "due at 1 s; the retries of the five at 10 s");
    assert_eq!(first[1], waiting[1]);
    assert_eq!(first[2], waiting[2]);
}
