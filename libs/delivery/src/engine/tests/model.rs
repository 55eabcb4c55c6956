//! Random histories against the invariants. The world checks at every step that acks pass nothing unfinished (DL-2), that nothing goes out early (DL-3),
//! twice at once or after its end (DL-4), and that the engine comes to rest; here it is checked where everything ends.

use std::time::Duration;

use domain::{
    CommandKind, DeliveryPolicy, DisableReason, EndpointState, EndpointUid, EventRef, FactKind,
    Ordering, RetrySchedule, RunId, Shard,
};
use proptest::prelude::*;

use super::EngineConfig;
use super::world::{Answer, World, secs, status};

const ENDPOINTS: usize = 3;
const SHARDS: u16 = 2;

#[derive(Clone, Debug)]
enum Step {
    Publish { shard: u16, targets: u8, ahead_secs: u64, count: u8, keys: u8 },
    Receiver { endpoint: usize, answer: Answer },
    Wait(Duration),
    Crash { writes: usize, groups: usize },
    Suspend { writes: usize, groups: usize },
    Wake(usize),
    Reassign(u16),
    HandOver { shard: u16, wait_ms: u64 },
    SetState(usize, EndpointState),
    Resume { endpoint: usize, shard: u16 },
    Resend { endpoint: usize, event: prop::sample::Index },
    Cancel { endpoint: usize, event: prop::sample::Index },
    Redrive { endpoint: usize, event: prop::sample::Index },
    Probe(usize),
    Delete(usize),
}

fn answer() -> impl Strategy<Value = Answer> {
    let code = prop_oneof![
        6 => Just(200), 5 => Just(500), 1 => Just(410), 1 => Just(400), 1 => Just(429), 1 => Just(302),
    ];
    let after = prop_oneof![3 => 0_u64..50, 2 => 50_u64..3_000, 1 => 3_000_u64..60_000];
    (code, after, prop::option::weighted(0.2, 1_u64..400)).prop_map(|(code, after, retry)| {
        let answer = status(code).after(Duration::from_millis(after));
        retry.map_or(answer, |wait| answer.retry_after(secs(wait)))
    })
}

fn state() -> impl Strategy<Value = EndpointState> {
    prop_oneof![
        3 => Just(EndpointState::Active),
        1 => Just(EndpointState::Paused),
        1 => Just(EndpointState::Disabled(DisableReason::ByHand)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = 0..ENDPOINTS;
    let shard = 0..SHARDS;
    let ahead = prop_oneof![8 => Just(0_u64), 1 => 1_u64..7_200];
    let wait = prop_oneof![
        4 => 0_u64..20, 4 => 20_u64..2_000, 4 => 2_000_u64..60_000, 2 => 60_000_u64..2_000_000,
    ];
    prop_oneof![
        12 => (shard.clone(), 1_u8..8, ahead, 1_u8..30, 0_u8..5).prop_map(|(shard, targets, ahead_secs, count, keys)| {
            Step::Publish { shard, targets, ahead_secs, count, keys }
        }),
        6 => (endpoint.clone(), answer()).prop_map(|(endpoint, answer)| Step::Receiver { endpoint, answer }),
        14 => wait.prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        3 => (0_usize..20, 0_usize..10).prop_map(|(writes, groups)| Step::Crash { writes, groups }),
        3 => (0_usize..20, 0_usize..10).prop_map(|(writes, groups)| Step::Suspend { writes, groups }),
        3 => (1_usize..8).prop_map(Step::Wake),
        1 => shard.clone().prop_map(Step::Reassign),
        2 => (shard.clone(), 0_u64..5_000).prop_map(|(shard, wait_ms)| Step::HandOver { shard, wait_ms }),
        4 => (endpoint.clone(), state()).prop_map(|(endpoint, state)| Step::SetState(endpoint, state)),
        1 => (endpoint.clone(), shard).prop_map(|(endpoint, shard)| Step::Resume { endpoint, shard }),
        1 => (endpoint.clone(), any::<prop::sample::Index>()).prop_map(|(endpoint, event)| Step::Resend { endpoint, event }),
        1 => (endpoint.clone(), any::<prop::sample::Index>()).prop_map(|(endpoint, event)| Step::Cancel { endpoint, event }),
        2 => (endpoint.clone(), any::<prop::sample::Index>()).prop_map(|(endpoint, event)| Step::Redrive { endpoint, event }),
        1 => endpoint.clone().prop_map(Step::Probe),
        1 => endpoint.prop_map(Step::Delete),
    ]
}

struct History {
    world: World,
    uids: Vec<EndpointUid>,
    events: Vec<(EventRef, Vec<EndpointUid>)>,
    /// Once one was deleted there are only its leftovers.
    deleted: Option<EndpointUid>,
}

impl History {
    fn new(store_ms_max: u64) -> Self {
        let shards: Vec<Shard> = (0..SHARDS).map(Shard).collect();
        let config =
            EngineConfig { in_flight_max: 12, span_records_max: 64, ..EngineConfig::default() };
        let mut world = World::with(config, &shards);
        world.store_ms_max = store_ms_max;
        world.jitter = None;
        let fast = RetrySchedule::new(vec![secs(1), secs(5), secs(30)]).expect("valid");
        let uids = (0..ENDPOINTS)
            .map(|n| {
                world.endpoint_with(DeliveryPolicy {
                    retry_schedule: if n == 0 { RetrySchedule::default() } else { fast.clone() },
                    max_concurrency: [64, 4, 1][n],
                    disable_after: [1, 1, 3][n],
                    ordering: [Ordering::None, Ordering::ByKey, Ordering::ByKey][n],
                    ..DeliveryPolicy::default()
                })
            })
            .collect();
        Self { world, uids, events: Vec::new(), deleted: None }
    }

    fn is_deleted(&self, endpoint: usize) -> bool {
        self.deleted == Some(self.uids[endpoint])
    }

    fn take(&mut self, step: Step) {
        let world = &mut self.world;
        match step {
            Step::Publish { shard, targets, ahead_secs, count, keys } => {
                let to = self.uids.iter().enumerate().filter(|(n, _)| targets & (1 << n) != 0);
                let deleted = self.deleted;
                let to: Vec<_> = to.map(|(_, uid)| *uid).filter(|u| Some(*u) != deleted).collect();
                for n in 0..count {
                    let due = (ahead_secs > 0).then(|| world.now + secs(ahead_secs));
                    let key = n.checked_rem(keys).map(|key| format!("key-{key}"));
                    let event = world.publish_keyed(Shard(shard), &to, due, key.as_deref());
                    self.events.push((event, to.clone()));
                }
            }
            Step::Receiver { endpoint, answer } => world.always(self.uids[endpoint], answer),
            Step::Wait(duration) => world.run_for(duration),
            Step::Crash { writes, groups } => world.crash(writes, groups),
            Step::Suspend { writes, groups } => world.suspend(writes, groups),
            Step::Wake(groups) => world.wake(groups),
            Step::Reassign(shard) => world.reassign(Shard(shard)),
            Step::HandOver { shard, wait_ms } => {
                world.hand_over(Shard(shard), Duration::from_millis(wait_ms));
            }
            Step::SetState(endpoint, _)
            | Step::Resume { endpoint, .. }
            | Step::Resend { endpoint, .. }
            | Step::Cancel { endpoint, .. }
            | Step::Redrive { endpoint, .. }
            | Step::Probe(endpoint)
                if self.deleted == Some(self.uids[endpoint]) => {}
            Step::SetState(endpoint, state) => world.set_state(self.uids[endpoint], state),
            Step::Resume { endpoint, shard } => {
                let kind = CommandKind::Resume { catch_up: true };
                world.command_in(Shard(shard), self.uids[endpoint], kind);
            }
            Step::Resend { endpoint, event } => self.resend(endpoint, event),
            Step::Cancel { endpoint, event } => {
                if let Some(event) = self.pick(event, endpoint) {
                    self.world.cancel(self.uids[endpoint], &event);
                }
            }
            Step::Redrive { endpoint, event } => self.redrive(self.uids[endpoint], event),
            Step::Probe(endpoint) => {
                world.command(self.uids[endpoint], CommandKind::Probe);
            }
            Step::Delete(endpoint) => {
                if self.deleted.is_none() {
                    self.deleted = Some(self.uids[endpoint]);
                    world.delete(self.uids[endpoint]);
                }
            }
        }
    }

    /// A person takes one of an endpoint's dead letters up.
    fn redrive(&mut self, uid: EndpointUid, index: prop::sample::Index) {
        let store = &self.world.store;
        let free = store.letters_of(uid).into_iter();
        let free = free.filter(|letter| !store.redriving.contains_key(&(uid, letter.id)));
        let free: Vec<EventRef> = free.map(|letter| letter.event.clone()).collect();
        if !free.is_empty() {
            let event = index.get(&free).clone();
            self.world.redrive(uid, &event);
        }
    }

    fn pick(&self, index: prop::sample::Index, endpoint: usize) -> Option<EventRef> {
        let uid = self.uids[endpoint];
        let of: Vec<_> = self.events.iter().filter(|(_, to)| to.contains(&uid)).collect();
        (!of.is_empty()).then(|| index.get(&of).0.clone())
    }

    fn resend(&mut self, endpoint: usize, event: prop::sample::Index) {
        if let Some(event) = self.pick(event, endpoint) {
            let run = self.world.run_id();
            let due = self.world.store.record(event.at).and_then(|record| record.event.deliver_at);
            // A person who sends a scheduled event now is another story.
            if due.is_none() {
                let kind = CommandKind::Resend { event: event.clone(), run };
                self.world.command_in(event.at.shard, self.uids[endpoint], kind);
            }
        }
    }

    /// All receivers work, everything is active, time goes by.
    fn heal(&mut self) {
        for n in 0..ENDPOINTS {
            if !self.is_deleted(n) {
                self.world.always(self.uids[n], status(200));
            }
        }
        for _ in 0..3 {
            self.world.run_for(secs(120));
            for n in (0..ENDPOINTS).filter(|n| !self.is_deleted(*n)).collect::<Vec<_>>() {
                self.world.set_state(self.uids[n], EndpointState::Active);
            }
        }
        self.world.run_for(secs(5 * 86_400));
    }

    fn check(&self) {
        let world = &self.world;
        for (event, to) in &self.events {
            for uid in to.iter().filter(|uid| Some(**uid) != self.deleted) {
                let run = world.store.run(*uid, event.at, RunId::LOG);
                assert!(run.has_ended(), "DL-1: {event:?} to {uid} is lost");
                let of_log = |s: &&super::world::Sent| {
                    s.endpoint == *uid && s.at == *event && s.run == RunId::LOG
                };
                let good = |s: &&super::world::Sent| {
                    matches!(s.answer.kind, domain::OutcomeKind::Answered(200..=299))
                };
                let times = world.sent.iter().filter(of_log).filter(good).count();
                let risk = world.at_risk.get(&(*uid, event.at, RunId::LOG)).copied().unwrap_or(0);
                assert!(
                    times <= 1 + risk,
                    "DL-4: {event:?} to {uid}: {times} times, {risk} at risk"
                );
                let facts = world.store.facts.get(&(*uid, event.at)).into_iter().flatten();
                let cancelled = facts.filter(|f| matches!(f.kind, FactKind::Cancelled)).count();
                let letter = domain::DeadLetterId::of(*uid, event);
                let dead = world.store.dead_letters.contains_key(&(*uid, letter));
                assert!(times > 0 || cancelled > 0 || dead, "DL-1: {event:?} to {uid}");
            }
        }
        for (shard, records) in &world.store.log {
            let last = records.last().map(|record| record.at.at.position);
            assert_eq!(world.acked(*shard), last, "everything is handed off in the end");
        }
        let mut redriving = world.store.redriving.keys();
        let stuck = redriving.find(|(uid, _)| Some(*uid) != self.deleted);
        assert_eq!(stuck, None, "a redrive has no end");
        assert_eq!((world.engine.in_flight(), world.engine.writes_pending()), (0, 0));
        let lanes = world.store.lanes.values().filter(|l| !world.lanes_late.contains(&l.key));
        for lane in lanes.filter(|l| Some(l.key.endpoint) != self.deleted) {
            assert_eq!((lane.waiting, lane.skip_from), (0, None), "{:?}", lane.key);
        }
        let lines = world.store.lines.values().filter(|l| !world.lanes_late.contains(&l.lane));
        let mut open = lines.filter(|l| l.is_open && Some(l.lane.endpoint) != self.deleted);
        assert_eq!(open.next(), None, "a line was never closed");
    }
}

fn play(steps: &[Step], store_ms_max: u64) -> History {
    let mut history = History::new(store_ms_max);
    steps.iter().cloned().for_each(|step| history.take(step));
    history.heal();
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everything_is_delivered_dead_lettered_or_cancelled(
        steps in prop::collection::vec(step(), 1..60),
        store_ms_max in prop_oneof![Just(0_u64), Just(30), Just(2_000)],
    ) {
        play(&steps, store_ms_max).check();
    }

    #[test]
    fn the_same_history_gives_the_same_effects(
        steps in prop::collection::vec(step(), 1..30),
        store_ms_max in prop_oneof![Just(0_u64), Just(500)],
    ) {
        let (one, other) = (play(&steps, store_ms_max), play(&steps, store_ms_max));
        prop_assert_eq!((one.world.effects, one.world.trace), (other.world.effects, other.world.trace));
    }
}
