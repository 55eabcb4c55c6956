//! A queue of many rows that is drained: what reading its end costs afterwards.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    BacklogKey, BacklogRow, EndpointUid, Epoch, EventId, EventRef, LaneKey, LogPosition, Position,
    RunId, Seq, Shard, TenantId, Timestamp, Trigger, WaitReason,
};
use ports::{BacklogStore, Clock as _};
use runtime::SystemClock;
use scylla::client::session_builder::SessionBuilder;

use crate::keyspace::{self, Keyspace};

const ROWS: u64 = 100_000;
const ROWS_LONG: u64 = 1_000_000;
/// As the engine reads them (`limits::BACKLOG_PAGE_ROWS`).
const PAGE: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_queue_leaves_no_tombstones_and_was_read_once() {
    let Some(node) = keyspace::node() else { return };
    let count = if keyspace::long_forms() { ROWS_LONG } else { ROWS };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    let store = scylla.store();
    let lane =
        LaneKey { shard: Shard(3), endpoint: EndpointUid::from_uuid(uuid::Uuid::from_u128(7)) };
    let start = SystemClock::new().now();
    // 2 000 a second, as an endpoint that is down in the middle of its traffic.
    let due = |n: u64| start + Duration::from_micros(500 * n);
    let numbers: Vec<u64> = (0..count).collect();
    for chunk in numbers.chunks(5_000) {
        let rows: Vec<(LaneKey, BacklogRow)> =
            chunk.iter().map(|n| (lane, row(due(*n), *n))).collect();
        store.append(&rows).await.expect("append");
    }
    let mut after = BacklogKey::START;
    let mut read = 0;
    loop {
        let page =
            store.page(lane, after, BacklogKey::end_of(due(count)), PAGE).await.expect("page");
        let Some(last) = page.rows.last() else { break };
        assert!(page.rows.first().is_some_and(|first| first.key > after), "in order");
        after = last.key;
        read += page.rows.len() as u64;
    }
    assert_eq!(read, count, "each row once");
    let traffic = scylla.traffic();
    let (backlog, buckets) = (traffic["backlog"], traffic["backlog_buckets"]);
    assert!(backlog.rows_read * 10 <= count * 11, "{} rows read for {count}", backlog.rows_read);
    keyspace::report(&format!(
        "queue: {count} rows in {} buckets, drained with {} rows read in {} statements",
        buckets.rows_written, backlog.rows_read, backlog.reads
    ));
    trace_its_end(&keyspace, lane, after).await;
}

fn row(due: Timestamp, number: u64) -> BacklogRow {
    BacklogRow {
        key: BacklogKey { due, seq: Seq::new(Epoch(1), number) },
        event: EventRef {
            tenant: TenantId::parse("acme").expect("valid"),
            id: EventId::parse(&format!("evt_{number}")).expect("valid"),
            at: LogPosition { shard: Shard(3), position: Position(number) },
        },
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        reason: WaitReason::Overflow,
        first_due: due,
    }
}

/// Reads behind the last row with tracing on, as an idle lane does, and shows what the node scanned for it.
async fn trace_its_end(keyspace: &Keyspace, lane: LaneKey, after: BacklogKey) {
    let settings = &keyspace.settings;
    let session =
        SessionBuilder::new().known_nodes(&settings.nodes).build().await.expect("a session");
    let name = &settings.keyspace;
    let buckets = format!(
        "SELECT bucket_start, bucket_width FROM {name}.backlog_buckets WHERE endpoint = ? AND shard = ?"
    );
    let found = session
        .query_unpaged(buckets, (lane.endpoint.uuid(), i32::from(lane.shard.0)))
        .await
        .expect("buckets")
        .into_rows_result()
        .expect("rows");
    let mut scanned = 0;
    for bucket in found.rows::<(scylla::value::CqlTimestamp, i32)>().expect("columns") {
        let (start, width) = bucket.expect("a bucket");
        let text = format!(
            "SELECT due, seq, body FROM {name}.backlog WHERE endpoint = ? AND shard = ? AND bucket_start = ? AND bucket_width = ? AND (due, seq) > (?, ?) LIMIT 256"
        );
        let mut statement = session.prepare(text).await.expect("prepare");
        statement.set_tracing(true);
        let due = scylla::value::CqlTimestamp(after.due.as_millis());
        let key = (
            lane.endpoint.uuid(),
            i32::from(lane.shard.0),
            start,
            width,
            due,
            after.seq.0.cast_signed(),
        );
        let result = session.execute_unpaged(&statement, key).await.expect("a page");
        let id = result.tracing_id().expect("a trace");
        let info = session.get_tracing_info(&id).await.expect("the trace");
        for event in info.events.iter().filter_map(|event| event.activity.as_deref()) {
            if event.contains("live rows") {
                if scanned == 0 {
                    keyspace::report(&format!(
                        "queue: the read trace of a drained bucket says: {event}"
                    ));
                }
                scanned += 1;
                assert!(event.contains("0 tombstone"), "{event}");
            }
        }
    }
    assert!(scanned > 0, "the node says what it scanned");
}
