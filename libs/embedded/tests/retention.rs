//! What `maintain` removes, and what it never does.

use std::sync::Arc;
use std::time::Duration;

use domain::limits::LOG_RETENTION;
use domain::record::Record;
use domain::{
    BacklogKey, BacklogRow, EndpointUid, Epoch, EventId, EventRef, LaneKey, LaneRow, LogPosition,
    Position, RunId, Seq, Shard, TenantId, Timestamp, Trigger, WaitReason,
};
use ports::conformance::acked;
use ports::{Ack, BacklogStore, Clock, Consumer, ConsumerItem, EventLog, LaneStore};
use postrider_embedded::{Embedded, Options};
use testkit::SimClock;

struct Test {
    _dir: tempfile::TempDir,
    clock: SimClock,
    engine: Embedded,
}

fn test(log_bytes_max: Option<u64>) -> Test {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let clock = SimClock::default();
    let options = Options {
        shards: 1,
        free_space_floor: 0,
        log_bytes_max,
        ..Options::new(Arc::new(clock.clone()))
    };
    let engine = Embedded::open(dir.path(), options).expect("open");
    Test { _dir: dir, clock, engine }
}

impl Test {
    async fn append(&self, count: usize, bytes: usize) {
        let record = || Record { value: Some(vec![1; bytes].into()), ..Record::default() };
        let records = (0..count).map(|_| record()).collect();
        for answer in self.engine.log().append(records).await {
            answer.expect("append");
        }
    }

    /// Records that are left.
    async fn left(&self) -> u64 {
        let bounds = self.engine.log().bounds(domain::Shard(0)).await.expect("bounds");
        bounds.next.0 - bounds.low.0
    }

    async fn maintain(&self) -> postrider_embedded::Maintained {
        let done = self.engine.maintain(self.clock.now()).await;
        done.expect("maintain")
    }
}

/// Reads everything there is and acks so many records of it.
async fn ack(consumer: &mut dyn Consumer, count: u64) {
    let ConsumerItem::Assigned { shard, epoch, .. } = consumer.next().await.expect("next") else {
        panic!("an assignment comes first");
    };
    let upto = domain::Position(count - 1);
    acked(consumer, Ack { shard, epoch, upto }).await.expect("ack");
}

#[tokio::test]
async fn old_records_go_once_every_group_has_acked_them() {
    let test = test(None);
    test.append(100, 10).await;
    let mut consumer = test.engine.log().consume("g").await.expect("consume");
    test.clock.advance(LOG_RETENTION + Duration::from_secs(1));
    test.append(5, 10).await;
    assert_eq!(test.maintain().await.records, 0, "nothing is acked");
    ack(consumer.as_mut(), 60).await;
    let done = test.maintain().await;
    assert_eq!((done.records, done.records_lost), (60, 0));
    assert_eq!(test.left().await, 45);
    test.engine.close().await;
}

#[tokio::test]
async fn young_records_stay_though_they_are_acked() {
    let test = test(None);
    test.append(100, 10).await;
    let mut consumer = test.engine.log().consume("g").await.expect("consume");
    ack(consumer.as_mut(), 100).await;
    test.clock.advance(LOG_RETENTION - Duration::from_secs(1));
    assert_eq!(test.maintain().await.records, 0);
    assert_eq!(test.left().await, 100);
    test.engine.close().await;
}

#[tokio::test]
async fn above_the_hard_limit_the_oldest_records_go_and_are_counted_as_lost() {
    let limit = 2 * 1024 * 1024;
    let test = test(Some(limit));
    for _ in 0..15 {
        test.append(1_000, 300).await;
    }
    let consumer = test.engine.log().consume("g").await.expect("consume");
    let done = test.maintain().await;
    assert!(done.records > 0 && done.records < 15_000, "{done:?}");
    assert_eq!(done.records_lost, done.records, "none was acked");
    assert_eq!(test.maintain().await.records, 0, "then it is below the limit");
    drop(consumer);
    test.engine.close().await;
}

#[tokio::test]
async fn rows_that_were_handed_off_go_also_from_shards_of_another_log() {
    let test = test(None);
    let store = test.engine.store();
    let (tenant, epoch) = (TenantId::default_tenant(), Epoch(1));
    let endpoint = EndpointUid::from_slice(&[1; 16]).expect("16 bytes");
    // The embedded log of this test has one shard.
    let lanes = [0, 5, 1_027].map(|shard| LaneKey { shard: Shard(shard), endpoint });
    let row = |lane: LaneKey, due| BacklogRow {
        key: BacklogKey { due: Timestamp::from_millis(due), seq: Seq(1) },
        event: EventRef {
            tenant: tenant.clone(),
            id: EventId::parse("evt_1").expect("valid"),
            at: LogPosition { shard: lane.shard, position: Position(1) },
        },
        run: RunId::from_slice(&[2; 16]).expect("16 bytes"),
        number: 2,
        trigger: Trigger::Event,
        reason: WaitReason::Schedule,
        first_due: Timestamp::from_millis(due),
    };
    for lane in lanes {
        let (done, waits) = (row(lane, 10), row(lane, 20));
        store.append(&[(lane, done.clone()), (lane, waits)]).await.expect("append");
        let saved = LaneRow { cursor: done.key, ..LaneRow::new(lane, tenant.clone(), epoch) };
        store.save(&[saved]).await.expect("save");
    }
    assert_eq!(test.maintain().await.backlog, 3, "one of each shard");
    assert_eq!(test.maintain().await.backlog, 0, "those that wait stay");
    test.engine.close().await;
}
