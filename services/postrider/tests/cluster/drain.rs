//! Many waiting deliveries of one endpoint, drained: each row of the backlog is read once, and so is each event.

use std::time::Duration;

use domain::EndpointState;
use ports::{Applied, Clock as _, ConfigFeed as _, Hint, StateChange};
use runtime::SystemClock;
use store_scylla::Traffic;

use crate::keyspace;
use crate::world::{World, tenant, uid};

const WAITING: usize = 5_000;
const WAITING_LONG: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_read_once_when_it_is_drained() {
    let Some(node) = keyspace::node() else { return };
    let count = if keyspace::long_forms() { WAITING_LONG } else { WAITING };
    let world = World::new(&node, &["shop"], Duration::ZERO).await;
    set_state(&world, EndpointState::Active, EndpointState::Paused).await;
    let worker = world.worker("one");
    world.publish("w", count).await;
    let of = |table: &str| worker.store.traffic().get(table).copied().unwrap_or_default();
    world.until("all of it waits", async || of("backlog").rows_written >= count as u64).await;
    let before = [of("backlog"), of("events"), of("attempts")];
    let clock = SystemClock::new();
    let began = clock.monotonic();
    set_state(&world, EndpointState::Paused, EndpointState::Active).await;
    world.until("all of it is delivered", async || world.ledger.count() >= count).await;
    let took = clock.monotonic() - began;
    world
        .until("all of it is recorded", async || {
            of("attempts").rows_written - before[2].rows_written >= count as u64
        })
        .await;
    let read = |table: &str, before: Traffic| {
        (of(table).reads - before.reads, of(table).rows_read - before.rows_read)
    };
    let (pages, rows) = read("backlog", before[0]);
    let (bodies, _) = read("events", before[1]);
    let (looks, _) = read("attempts", before[2]);
    report(count, [pages, rows, bodies, looks], took);
    assert!(rows as f64 <= 1.2 * count as f64, "{rows} rows of the backlog were read");
    assert_eq!(bodies, count as u64, "each event's body is read once");
    assert_eq!(looks, count as u64, "and so is what is known of its delivery");
    assert!(world.ledger.taken().values().all(|times| *times == 1), "no duplicates");
    worker.stop();
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(count: usize, [pages, rows, bodies, looks]: [u64; 4], took: Duration) {
    let per = |n: u64| n as f64 / count as f64;
    keyspace::report(&format!(
        "drain: {count} waiting deliveries in {:.1} s ({:.0}/s); per delivery {:.3} rows of the backlog read in {pages} pages, \
         {:.3} reads of the event, {:.3} of its attempts",
        took.as_secs_f64(),
        count as f64 / took.as_secs_f64(),
        per(rows),
        per(bodies),
        per(looks),
    ));
}

async fn set_state(world: &World, from: EndpointState, to: EndpointState) {
    let change = StateChange { from, to, time: SystemClock::new().now() };
    let config = world.stores().config;
    match config.set_state(&tenant(), uid(1), change).await {
        Ok(Applied::Done(revision)) => {
            world.feed.hint(Hint::Tenant(tenant(), revision)).await.expect("a hint");
        }
        other => panic!("the state was not set: {other:?}"),
    }
}
