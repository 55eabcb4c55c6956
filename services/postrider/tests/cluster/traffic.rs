//! What a successful delivery costs the store.

use std::collections::BTreeMap;
use std::time::Duration;

use store_scylla::Traffic;

use crate::keyspace;
use crate::world::World;

const EVENTS: usize = 2_000;
/// Events of one publish call.
const AT_ONCE: usize = 100;
const ENDPOINTS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_is_two_rows_in_batches_of_one_partition() {
    let Some(node) = keyspace::node() else { return };
    let world = World::new(&node, &ENDPOINTS, Duration::from_millis(1)).await;
    let mut worker = world.worker("one");
    worker.owns_all_shards().await;
    let deliveries = EVENTS * ENDPOINTS.len();
    let total = deliveries as u64;
    let rows = |table: &str| worker.store.traffic().get(table).copied().unwrap_or_default();
    // As fast as they are delivered: what does not fit a lane's memory would go to the backlog.
    for n in 1..=EVENTS / AT_ONCE {
        world.publish(&format!("t{n}"), AT_ONCE).await;
        world
            .until("these are delivered", async || {
                world.ledger.count() >= n * AT_ONCE * ENDPOINTS.len()
            })
            .await;
    }
    world.until("all deliveries recorded", async || rows("attempts").rows_written >= total).await;
    world
        .until("all summaries recorded", async || {
            rows("attempts_by_endpoint").rows_written >= total
        })
        .await;
    let traffic = worker.store.traffic();
    report(&traffic, deliveries);
    let sum: Traffic =
        ["attempts", "attempts_by_endpoint"].iter().fold(Traffic::default(), |sum, table| {
            Traffic {
                writes: sum.writes + traffic[table].writes,
                rows_written: sum.rows_written + traffic[table].rows_written,
                ..sum
            }
        });
    assert_eq!(sum.rows_written, 2 * total, "two rows a success");
    assert!(sum.writes < 2 * total, "rows of one partition share a statement");
    for table in ["backlog", "events", "dead_letters", "attempt_excerpts"] {
        assert_eq!(traffic.get(table).map_or(0, |t| t.rows_written), 0, "{table}");
    }
    assert_eq!(traffic["attempts"].reads, 0, "a live first attempt needs no look");
    worker.stop();
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(traffic: &BTreeMap<&'static str, Traffic>, deliveries: usize) {
    let per = |count: u64| count as f64 / deliveries as f64;
    let of = |get: fn(&Traffic) -> u64| traffic.values().map(get).sum::<u64>();
    keyspace::report(&format!(
        "store: per successful delivery (fan-out {}) {:.3} statements that write, {:.3} rows, {:.0} bytes; {:.4} statements that read",
        ENDPOINTS.len(),
        per(of(|t| t.writes)),
        per(of(|t| t.rows_written)),
        per(of(|t| t.bytes_written)),
        per(of(|t| t.reads)),
    ));
}
