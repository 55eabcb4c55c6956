//! Lists of an endpoint with very many rows: bounded work a page, newest first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{
    Attempt, AttemptId, Disposition, EndpointUid, EventId, EventRef, Fact, FactKind, LogPosition,
    OutcomeKind, Position, RunId, Shard, TenantId, Timestamp, Trigger,
};
use ports::{Clock as _, EventStore};
use runtime::SystemClock;
use uuid::Uuid;

use crate::keyspace::{self, Keyspace};

/// More than an hour's bucket takes, so that minutes are read too.
const ROWS: u64 = 60_000;
const ROWS_LONG: u64 = 1_000_000;
const PAGE: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_long_list_costs_no_more_than_one_of_a_short_list() {
    let Some(node) = keyspace::node() else { return };
    let count = if keyspace::long_forms() { ROWS_LONG } else { ROWS };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    let store = scylla.store();
    let endpoint = EndpointUid::from_uuid(Uuid::from_u128(9));
    let now = SystemClock::new().now();
    // The newest is a second old; a thousand a second before it.
    let time = |n: u64| now - Duration::from_millis(1_000 + count - n);
    let numbers: Vec<u64> = (0..count).collect();
    for chunk in numbers.chunks(2_000) {
        let facts: Vec<Fact> = chunk.iter().map(|n| success(endpoint, *n, time(*n))).collect();
        store.record(&facts).await.expect("record");
    }
    let before = scylla.traffic();
    let mut expected = numbers.iter().rev();
    let mut after: Option<(Timestamp, u128)> = None;
    let pages = 20;
    for _ in 0..pages {
        let page = store.attempts_of_endpoint(endpoint, after, PAGE).await.expect("a page");
        for fact in &page {
            assert_eq!(fact.event.at.position.0, *expected.next().expect("more"), "newest first");
        }
        assert_eq!(page.len(), PAGE);
        after = page.last().map(|fact| (fact.time, fact.id.uuid().as_u128()));
    }
    let traffic = scylla.traffic();
    let reads = |table: &str| traffic[table].reads - before[table].reads;
    let rows = traffic["attempts_by_endpoint"].rows_read - before["attempts_by_endpoint"].rows_read;
    keyspace::report(&format!(
        "lists: {count} attempts of one endpoint; {pages} pages of {PAGE}: {rows} rows in {} statements, and {} reads of bucket registries",
        reads("attempts_by_endpoint"),
        reads("attempt_buckets"),
    ));
    // An hour that outgrew its bucket lies in its minutes too: a page may read both.
    assert!(rows <= 4 * pages * PAGE as u64, "{rows} rows for {pages} pages");
}

fn success(endpoint: EndpointUid, number: u64, time: Timestamp) -> Fact {
    let ms = u128::try_from(time.as_millis()).expect("after the epoch");
    Fact {
        event: EventRef {
            tenant: TenantId::parse("acme").expect("valid"),
            id: EventId::parse(&format!("evt_{number}")).expect("valid"),
            at: LogPosition { shard: Shard(1), position: Position(number) },
        },
        endpoint,
        run: RunId::LOG,
        id: AttemptId::from_uuid(Uuid::from_u128(ms << 80 | 7 << 76 | u128::from(number))),
        time,
        kind: FactKind::Attempt(Attempt {
            number: 1,
            trigger: Trigger::Event,
            outcome: OutcomeKind::Answered(200),
            duration: Duration::from_millis(12),
            excerpt: Bytes::from_static(b"ok"),
            detail: String::new(),
            signatures: 2,
            disposition: Disposition::Delivered,
        }),
    }
}
