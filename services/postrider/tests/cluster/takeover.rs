//! Two owners of one shard at once: the old one is suspended, loses the shard, and wakes.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{EventId, FactKind, OutcomeKind, Shard};

use crate::keyspace;
use crate::world::{SHARDS, World, tenant, url};

const ENDPOINTS: [&str; 3] = ["first", "second", "flaky"];
const EVENTS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_slept_through_the_loss_of_its_shards_does_no_harm() {
    let Some(node) = keyspace::node() else { return };
    let world = World::new(&node, &ENDPOINTS, Duration::from_millis(15)).await;
    let old = world.worker("old");
    let ids = world.publish("e", EVENTS).await;
    world.until("requests under way", async || world.ledger.count() > 120).await;
    old.cut_off(true);
    old.suspend();
    // Sent and not answered, or answered and not recorded: the successor cannot know of these.
    let at_suspension = world.ledger.requests();
    let known = recorded(&world, &ids, |_| true).await;
    let mut sent: BTreeMap<Pair, usize> = BTreeMap::new();
    for request in &at_suspension {
        *sent.entry((request.url.to_string(), request.event.clone())).or_default() += 1;
    }
    let lacks =
        |(pair, sent): (&Pair, &usize)| sent.saturating_sub(known.get(pair).copied().unwrap_or(0));
    let unrecorded: usize = sent.iter().map(lacks).sum();

    let new = world.worker("new");
    let all_of = |name: &str| {
        let url = url(name);
        let taken = world.ledger.taken();
        taken.keys().filter(|(to, _)| **to == *url).count() == EVENTS
    };
    world.until("healthy endpoints have all", async || all_of("first") && all_of("second")).await;
    let before_waking = world.ledger.requests().iter().filter(|r| r.worker == "old").count();
    // It wakes, hears how its requests ended, and does not hear that it lost its shards.
    old.resume();
    let answered = |request: &crate::receivers::Received| request.ok.is_some();
    world
        .until("its requests are answered", async || world.ledger.requests().iter().all(answered))
        .await;
    world.until("the flaky endpoint has all", async || all_of("flaky")).await;
    old.cut_off(false);
    old.stop();

    let requests = world.ledger.requests();
    let of_old = requests.iter().filter(|request| request.worker == "old").count();
    assert_eq!(of_old, before_waking, "it sends nothing for what it lost");
    let taken = world.ledger.taken();
    assert_eq!(taken.len(), EVENTS * ENDPOINTS.len(), "nothing is lost");
    let duplicates: usize = taken.values().map(|times| times - 1).sum();
    assert!(duplicates <= unrecorded, "{duplicates} duplicates, {unrecorded} were in flight");
    // No lane was overwritten: the newest owner's rows are what is read.
    let lanes = world.stores().lanes;
    for shard in (0..SHARDS).map(Shard) {
        for lane in lanes.of_shard(shard, None, 100).await.expect("lanes") {
            assert!(lane.epoch.0 >= 2, "a former owner's row is read: {lane:?}");
        }
    }
    new.stop();
    let succeeded = |outcome| outcome == OutcomeKind::Answered(200);
    let all = recorded(&world, &ids, succeeded).await;
    assert_eq!(all.len(), EVENTS * ENDPOINTS.len(), "every success is recorded");
    keyspace::report(&format!(
        "take-over: {} requests, {duplicates} duplicates of {unrecorded} in flight at the suspension",
        requests.len()
    ));
}

/// An address and an event.
type Pair = (String, String);

/// How many attempts with such outcomes are recorded.
async fn recorded(
    world: &World,
    ids: &[String],
    counts: impl Fn(OutcomeKind) -> bool,
) -> BTreeMap<Pair, usize> {
    let mut found = BTreeMap::new();
    for id in ids {
        let event = EventId::parse(id).expect("valid");
        let facts = world.stores().events.facts(&tenant(), &event, 100).await.expect("facts");
        for fact in facts {
            if let FactKind::Attempt(attempt) = &fact.kind
                && counts(attempt.outcome)
            {
                let number = usize::try_from(fact.endpoint.uuid().as_u128()).expect("small");
                *found.entry((url(ENDPOINTS[number - 1]), id.clone())).or_default() += 1;
            }
        }
    }
    found
}
