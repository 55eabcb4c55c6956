//! Lists of dead letters: what a page reads where nearly all are resolved, and which of several rows of a letter counts.

use std::sync::Arc;
use std::time::Duration;

use domain::limits::DEAD_LETTERS_READ_MAX;
use domain::{
    DeadLetter, DeadLetterId, DeadLetterReason, EndpointUid, EventId, EventRef, LogPosition,
    OutcomeKind, Position, RunId, Shard, TenantId, Timestamp,
};
use futures::{StreamExt as _, stream};
use ports::{Clock as _, DeadLetterFilter, DeadLetterStore, Taken};
use postrider_store_scylla::Store;
use runtime::SystemClock;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use crate::keyspace::{self, Keyspace};

const PAGE: usize = 50;
/// More than one call reads.
const LETTERS: u64 = 6_000;
const LETTERS_LONG: u64 = 60_000;
/// One of so many is not resolved.
const LIVE: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_that_are_resolved_cost_a_page_no_more_than_its_bound() {
    let Some(node) = keyspace::node() else { return };
    let count = if keyspace::long_forms() { LETTERS_LONG } else { LETTERS };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    let store = scylla.store();
    let endpoint = EndpointUid::from_uuid(Uuid::from_u128(10));
    let now = SystemClock::new().now();
    // One a second, the newest a minute old.
    let time = |n: u64| now - Duration::from_secs(60 + count - n);
    let letters: Vec<DeadLetter> = (0..count).map(|n| letter(endpoint, n, time(n))).collect();
    for some in letters.chunks(500) {
        store.put(some).await.expect("put");
    }
    let resolved = letters.iter().filter(|letter| !is_live(letter));
    stream::iter(resolved).for_each_concurrent(64, |letter| resolve(&store, letter)).await;
    let mut expected = letters.iter().rev().filter(|letter| is_live(letter));
    let (mut calls, mut rows, mut most) = (0, 0, 0);
    let mut before = None;
    loop {
        let traffic = scylla.traffic();
        let filter = DeadLetterFilter::default();
        let page = store.list(endpoint, &filter, before, PAGE).await.expect("a page");
        for (found, _) in &page.letters {
            assert_eq!(Some(found), expected.next(), "newest first");
        }
        let read = scylla.traffic()["dead_letters"].rows_read - traffic["dead_letters"].rows_read;
        assert!(read <= DEAD_LETTERS_READ_MAX as u64, "{read} rows in one call");
        (calls, rows, most) = (calls + 1, rows + read, most.max(read));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(expected.next(), None, "all that are not resolved");
    assert!(calls > 1 && rows <= 2 * count, "{rows} rows in {calls} calls");
    keyspace::report(&format!(
        "dead letters: {count} in a list, one of {LIVE} not resolved: {calls} calls read {rows} rows, {most} at most in one"
    ));
}

async fn resolve(store: &Store, letter: &DeadLetter) {
    let run = RunId::from_uuid(Uuid::from_u128(1 + u128::from(number(letter))));
    let (endpoint, id) = (letter.endpoint, letter.id);
    let taken = store.begin_redrive(&letter.tenant, endpoint, id, run).await;
    assert!(matches!(taken.expect("begin_redrive"), Taken::Ours(_)));
    store.resolve(endpoint, id, run).await.expect("resolve");
}

/// Between its writes a put leaves two rows in the list; a kill there leaves them for as long as the letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_rows_the_one_of_the_current_end_counts() {
    let Some(node) = keyspace::node() else { return };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    let store = scylla.store();
    let endpoint = EndpointUid::from_uuid(Uuid::from_u128(11));
    let now = SystemClock::new().now();
    let first = letter(endpoint, 1, now - Duration::from_secs(9_000));
    let run = RunId::from_uuid(Uuid::from_u128(5));
    let again = DeadLetter { run, time: now, ..first.clone() };
    store.put(std::slice::from_ref(&first)).await.expect("put");
    store.put(std::slice::from_ref(&again)).await.expect("put again");
    let listed = async || {
        let page = store.list(endpoint, &DeadLetterFilter::default(), None, 10).await;
        let letters = page.expect("a page").letters.into_iter().map(|(letter, _)| letter);
        letters.collect::<Vec<_>>()
    };
    assert_eq!(listed().await, std::slice::from_ref(&again));
    // As if the put had been killed before it hid the row of the older end …
    unhide(&keyspace, endpoint).await;
    assert_eq!(listed().await, std::slice::from_ref(&again), "not both");
    // … or before it wrote the newer end.
    forget(&keyspace, &again).await;
    assert_eq!(
        listed().await,
        std::slice::from_ref(&first),
        "the older one, until the put is repeated"
    );
    let repeated = DeadLetter { time: now + Duration::from_secs(1), ..again };
    store.put(std::slice::from_ref(&repeated)).await.expect("repeat");
    assert_eq!(listed().await, [repeated]);
}

async fn unhide(keyspace: &Keyspace, endpoint: EndpointUid) {
    type Key = (CqlTimestamp, i32, CqlTimestamp, Vec<u8>, i32);
    let name = &keyspace.settings.keyspace;
    let session = session(keyspace).await;
    let all = format!(
        "SELECT bucket_start, bucket_width, time, letter, version FROM {name}.dead_letters WHERE endpoint = ? ALLOW FILTERING"
    );
    let rows = session.query_unpaged(all, (endpoint.uuid(),)).await.expect("rows");
    let rows = rows.into_rows_result().expect("rows");
    let keys: Vec<Key> = rows.rows().expect("columns").map(|row| row.expect("a row")).collect();
    assert_eq!(keys.len(), 2, "one row an end");
    let show = format!(
        "UPDATE {name}.dead_letters SET gone = false WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND time = ? AND letter = ? AND version = ?"
    );
    for (start, width, time, letter, version) in keys {
        let values = (endpoint.uuid(), start, width, time, letter, version);
        session.query_unpaged(show.as_str(), values).await.expect("shown again");
    }
}

async fn forget(keyspace: &Keyspace, end: &DeadLetter) {
    let name = &keyspace.settings.keyspace;
    let text = format!(
        "DELETE FROM {name}.dead_letter_runs WHERE endpoint = ? AND letter = ? AND run = ?"
    );
    let key = (end.endpoint.uuid(), end.id.as_bytes().to_vec(), end.run.uuid());
    session(keyspace).await.query_unpaged(text, key).await.expect("forgotten");
}

async fn session(keyspace: &Keyspace) -> scylla::client::session::Session {
    let nodes = &keyspace.settings.nodes;
    SessionBuilder::new().known_nodes(nodes).build().await.expect("a session")
}

const fn is_live(letter: &DeadLetter) -> bool {
    number(letter).is_multiple_of(LIVE)
}

const fn number(letter: &DeadLetter) -> u64 {
    letter.event.at.position.0
}

fn letter(endpoint: EndpointUid, number: u64, time: Timestamp) -> DeadLetter {
    let event = event_ref(number);
    DeadLetter {
        id: DeadLetterId::of(endpoint, &event),
        tenant: event.tenant.clone(),
        endpoint,
        url: "https://example.com/hook".to_owned(),
        event,
        event_type: "payment.completed".to_owned(),
        reason: DeadLetterReason::Rejected,
        last_outcome: Some(OutcomeKind::Answered(400)),
        attempts: 1,
        run: RunId::LOG,
        time,
    }
}

fn event_ref(number: u64) -> EventRef {
    EventRef {
        tenant: TenantId::parse("acme").expect("valid"),
        id: EventId::parse(&format!("evt_{number}")).expect("valid"),
        at: LogPosition { shard: Shard(1), position: Position(number) },
    }
}
