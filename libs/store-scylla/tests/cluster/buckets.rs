//! A lane whose registry of buckets is long: a page of its backlog asks for few of them.

use std::sync::Arc;

use domain::{
    BacklogKey, BacklogRow, EndpointUid, EventId, EventRef, LaneKey, LogPosition, Position, RunId,
    Seq, Shard, TenantId, Timestamp, Trigger, WaitReason,
};
use futures::{StreamExt as _, stream};
use ports::BacklogStore;
use runtime::SystemClock;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::CqlTimestamp;

use crate::keyspace::{self, Keyspace};

/// A full hour, in UTC.
const HOUR: i64 = 1_700_002_800_000;
const HOUR_MS: i64 = 3_600_000;
/// What two reads of a page may bring: one of the registry's pages each, and the cursor's hour and minute.
const ASKED_MAX: u64 = 2 * (64 + 4);

fn lane() -> LaneKey {
    LaneKey { shard: Shard(3), endpoint: EndpointUid::from_uuid(uuid::Uuid::from_u128(8)) }
}

fn row(due: i64) -> (LaneKey, BacklogRow) {
    let due = Timestamp::from_millis(due);
    let row = BacklogRow {
        key: BacklogKey { due, seq: Seq(1) },
        event: EventRef {
            tenant: TenantId::parse("acme").expect("valid"),
            id: EventId::parse("evt_1").expect("valid"),
            at: LogPosition { shard: Shard(3), position: Position(1) },
        },
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        reason: WaitReason::Overflow,
        first_due: due,
    };
    (lane(), row)
}

/// Registers every second of the hour, as an owner does whose rows outgrew the hour and its minutes.
async fn register_seconds(keyspace: &Keyspace) {
    let nodes = &keyspace.settings.nodes;
    let session = SessionBuilder::new().known_nodes(nodes).build().await.expect("a session");
    let put = session
        .prepare(format!(
            "INSERT INTO {}.backlog_buckets (endpoint, shard, bucket_start, bucket_width) VALUES (?, ?, ?, 1)",
            keyspace.settings.keyspace
        ))
        .await
        .expect("prepare");
    let (session, put, lane) = (&session, &put, lane());
    stream::iter(0..3_600)
        .for_each_concurrent(64, |second| async move {
            let start = CqlTimestamp(HOUR + 1_000 * second);
            let values = (lane.endpoint.uuid(), i32::from(lane.shard.0), start);
            session.execute_unpaged(put, values).await.expect("register");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_asks_for_the_buckets_that_may_hold_its_rows_alone() {
    let Some(node) = keyspace::node() else { return };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    let store = scylla.store();
    register_seconds(&keyspace).await;
    // A row near the end of the hour, and one in each of the next 500.
    let late = HOUR + 3_500_500;
    let mut rows = vec![row(late)];
    rows.extend((1..=500).map(|hour| row(HOUR + hour * HOUR_MS)));
    store.append(&rows).await.expect("append");

    let asked = || scylla.traffic()["backlog_buckets"].rows_read;
    let at = |ms: i64| BacklogKey::end_of(Timestamp::from_millis(ms));
    for (after, upto, found, next) in [
        // The row lies in the bucket of the whole hour, which starts long before it.
        (late - 1, late, vec![late], Some(HOUR + HOUR_MS)),
        (
            HOUR + HOUR_MS - 1,
            HOUR + 3 * HOUR_MS,
            vec![HOUR + HOUR_MS, HOUR + 2 * HOUR_MS, HOUR + 3 * HOUR_MS],
            Some(HOUR + 4 * HOUR_MS),
        ),
        (HOUR + 500 * HOUR_MS, HOUR + 501 * HOUR_MS, vec![], None),
    ] {
        let before = asked();
        let page = store.page(lane(), at(after), at(upto), 10).await.expect("a page");
        let dues: Vec<i64> = page.rows.iter().map(|row| row.key.due.as_millis()).collect();
        assert_eq!(dues, found);
        assert_eq!(page.next_due, next.map(Timestamp::from_millis));
        let asked = asked() - before;
        assert!(asked <= ASKED_MAX, "{asked} rows of the registry for a page of {}", found.len());
    }

    let all = store.page(lane(), BacklogKey::START, at(HOUR + 501 * HOUR_MS), 1_000).await;
    assert_eq!(all.expect("a page").rows.len(), 501, "over many pages of the registry");
}
