//! `EventLog`: groups of consumers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::record::Record;
use domain::{Epoch, LogPosition, Position, Shard};

use super::event_log::append;
use super::sample::record;
use super::{LogFixture, acked, soon};
use crate::{Ack, AckError, Consumer, ConsumerItem, EventLog, Hold, Lease};

/// Most records and bytes of one batch (`ConsumerItem::Records`).
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;

/// Waits for the assignment of a shard; records that come before it are dropped.
pub(super) async fn epoch_of(consumer: &mut dyn Consumer, wanted: Shard) -> Epoch {
    assignment_of(consumer, wanted).await.0
}

async fn assignment_of(consumer: &mut dyn Consumer, wanted: Shard) -> (Epoch, Option<Position>) {
    loop {
        let item = soon("an assignment", consumer.next()).await;
        if let ConsumerItem::Assigned { shard, epoch, acked, .. } = item.expect("next")
            && shard == wanted
        {
            return (epoch, acked);
        }
    }
}

/// Reads until `count` records of a shard have come.
async fn positions_of(consumer: &mut dyn Consumer, wanted: Shard, count: usize) -> Vec<Position> {
    let mut found = Vec::new();
    while found.len() < count {
        let item = soon("a record", consumer.next()).await.expect("next");
        if let ConsumerItem::Records { shard, records } = item
            && shard == wanted
        {
            found.extend(records.iter().map(|record| record.at.position));
        }
    }
    found
}

async fn consume(log: &Arc<dyn EventLog>, group: &str) -> Box<dyn Consumer> {
    soon("joining", log.consume(group)).await.expect("consume")
}

/// Appends `count` records of one key; gives their shard and positions.
async fn filled(log: &Arc<dyn EventLog>, count: usize) -> (Shard, Vec<Position>) {
    let records = (0..count).map(|n| record(Some("k"), n));
    let answers = append(log, records.collect()).await;
    let shard = answers.first().expect("some records").at.shard;
    (shard, answers.iter().map(|answer| answer.at.position).collect())
}

/// EL-3: after an ack no record at or below it is given to the group again, also after a restart.
pub async fn el_3_acked_records_are_not_given_again(fixture: &impl LogFixture) {
    let mut test = fixture.fresh().await;
    let log = test.log();
    let (shard, positions) = filled(&log, 10).await;
    let upto = *positions.get(5).expect("10 positions");
    let mut consumer = consume(&log, &test.group()).await;
    let epoch = epoch_of(consumer.as_mut(), shard).await;
    positions_of(consumer.as_mut(), shard, 10).await;
    acked(consumer.as_mut(), Ack { shard, epoch, upto }).await.expect("ack");
    drop(consumer);
    for restart in [false, true] {
        let log = test.log();
        if restart {
            drop(log);
            test.restart().await;
        }
        let log = test.log();
        let mut consumer = consume(&log, &test.group()).await;
        let (_, stored) = assignment_of(consumer.as_mut(), shard).await;
        assert_eq!(stored, Some(upto), "the acked position is told");
        let given = positions_of(consumer.as_mut(), shard, 4).await;
        assert_eq!(Some(given.as_slice()), positions.get(6..), "restart: {restart}");
    }
}

/// EL-4: an ack of an epoch that ended answers `Fenced` and changes nothing; a later owner has a larger epoch.
pub async fn el_4_an_ack_of_an_ended_epoch_is_fenced(fixture: &impl LogFixture) {
    let mut test = fixture.fresh().await;
    let log = test.log();
    let (shard, positions) = filled(&log, 4).await;
    let last = *positions.last().expect("4 positions");
    let mut old = consume(&log, &test.group()).await;
    let first = epoch_of(old.as_mut(), shard).await;
    drop(old);
    let mut new = consume(&log, &test.group()).await;
    let second = epoch_of(new.as_mut(), shard).await;
    assert!(second > first, "epochs grow: {first:?}, {second:?}");
    let refused = acked(new.as_mut(), Ack { shard, epoch: first, upto: last }).await;
    assert!(matches!(refused, Err(AckError::Fenced)), "{refused:?}");
    drop(new);
    drop(log);
    test.restart().await;
    let log = test.log();
    let mut newest = consume(&log, &test.group()).await;
    let (third, acked) = assignment_of(newest.as_mut(), shard).await;
    assert!(third > second, "epochs grow over a restart: {second:?}, {third:?}");
    assert_eq!(acked, None, "the refused ack changed nothing");
}

/// EL-4: an ack never moves back.
pub async fn el_4_an_ack_never_moves_back(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let (shard, positions) = filled(&log, 10).await;
    let mut consumer = consume(&log, &test.group()).await;
    let epoch = epoch_of(consumer.as_mut(), shard).await;
    positions_of(consumer.as_mut(), shard, 10).await;
    for n in [7, 3, 7] {
        let upto = *positions.get(n).expect("10 positions");
        acked(consumer.as_mut(), Ack { shard, epoch, upto }).await.expect("ack");
    }
    drop(consumer);
    let mut consumer = consume(&log, &test.group()).await;
    let (_, acked) = assignment_of(consumer.as_mut(), shard).await;
    assert_eq!(acked, positions.get(7).copied());
}

/// EL-5: what was not acked is given again after a restart.
pub async fn el_5_what_was_not_acked_is_given_again(fixture: &impl LogFixture) {
    let mut test = fixture.fresh().await;
    let log = test.log();
    let (shard, positions) = filled(&log, 10).await;
    let mut consumer = consume(&log, &test.group()).await;
    let given = positions_of(consumer.as_mut(), shard, 10).await;
    assert_eq!(given, positions);
    drop(consumer);
    drop(log);
    test.restart().await;
    let log = test.log();
    let mut consumer = consume(&log, &test.group()).await;
    let (_, acked) = assignment_of(consumer.as_mut(), shard).await;
    assert_eq!(acked, None, "nothing was acked");
    let again = positions_of(consumer.as_mut(), shard, 10).await;
    assert_eq!(again, positions);
}

/// EL-9: an ack of one group does not move another.
pub async fn el_9_two_groups_are_independent(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let (shard, positions) = filled(&log, 10).await;
    let mut one = consume(&log, "one").await;
    let mut two = consume(&log, "two").await;
    let epoch = epoch_of(one.as_mut(), shard).await;
    assert_eq!(positions_of(one.as_mut(), shard, 10).await, positions);
    let last = *positions.last().expect("10 positions");
    acked(one.as_mut(), Ack { shard, epoch, upto: last }).await.expect("ack");
    assert_eq!(positions_of(two.as_mut(), shard, 10).await, positions);
    drop(two);
    let mut two = consume(&log, "two").await;
    assert_eq!(positions_of(two.as_mut(), shard, 10).await, positions);
}

/// EL-10: when retention has passed a group's position, it hears of it by one `Gap`, then goes on at the first record that is left.
pub async fn el_10_retention_gives_one_gap(fixture: &impl LogFixture) {
    let mut test = fixture.fresh().await;
    let log = test.log();
    let (shard, positions) = filled(&log, 10).await;
    let upto = *positions.get(2).expect("10 positions");
    let mut consumer = consume(&log, &test.group()).await;
    let epoch = epoch_of(consumer.as_mut(), shard).await;
    acked(consumer.as_mut(), Ack { shard, epoch, upto }).await.expect("ack");
    drop(consumer);
    drop(log);
    test.remove_all().await;
    let log = test.log();
    let (_, left) = filled(&log, 3).await;
    let mut consumer = consume(&log, &test.group()).await;
    let mut gaps = Vec::new();
    let mut given = Vec::new();
    while given.len() < 3 {
        match soon("a gap", consumer.next()).await.expect("next") {
            ConsumerItem::Gap { shard: at, from, to } if at == shard => {
                assert!(given.is_empty(), "the gap comes first");
                gaps.push((from, to));
            }
            ConsumerItem::Records { shard: at, records } if at == shard => {
                given.extend(records.iter().map(|record| record.at.position));
            }
            ConsumerItem::Gap { .. }
            | ConsumerItem::Records { .. }
            | ConsumerItem::Assigned { .. }
            | ConsumerItem::Leaving { .. }
            | ConsumerItem::Revoked { .. } => {}
        }
    }
    assert_eq!(given, left, "what is left is given");
    let [(from, to)] = gaps.as_slice() else {
        panic!("one gap, not {gaps:?}");
    };
    assert_eq!(*from, upto.next(), "the gap begins behind the ack");
    assert!(left.first().is_some_and(|first| to <= first));
    let gone = log.read(LogPosition { shard, position: upto }).await;
    assert_eq!(gone.expect("read"), None, "removed records are not read");
}

/// EL-12: a batch holds at most 500 records and about 1 MiB, so that a slow consumer holds no more.
pub async fn el_12_a_batch_is_bounded(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    append(&log, (0..1_200).map(|n| record(Some("k"), n)).collect()).await;
    let large = |_| Record {
        key: Some(Bytes::from_static(b"k")),
        headers: Vec::new(),
        value: Some(Bytes::from(vec![1; 400_000])),
    };
    append(&log, (0..6).map(large).collect()).await;
    let mut consumer = consume(&log, &test.group()).await;
    let mut seen = 0;
    while seen < 1_206 {
        let item = soon("a batch", consumer.next()).await.expect("next");
        let ConsumerItem::Records { records, .. } = item else {
            continue;
        };
        let bytes: usize = records.iter().map(|record| record.record.size()).sum();
        assert!(records.len() <= BATCH_RECORDS, "{} records", records.len());
        assert!(
            bytes <= BATCH_BYTES || records.len() == 1,
            "{bytes} bytes in {} records",
            records.len()
        );
        seen += records.len();
    }
}

/// One consumer, then two, then one: every record is given to somebody, and what was acked is not lost.
pub async fn consumers_come_and_go_without_a_loss(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let mut expected: BTreeSet<LogPosition> = BTreeSet::new();
    let mut given: BTreeSet<LogPosition> = BTreeSet::new();
    let fill = |from: usize| (from..from + 40).map(|n| record(None, n)).collect();
    let mut one = consume(&log, &test.group()).await;
    expected.extend(append(&log, fill(0)).await.iter().map(|a| a.at));
    drain(one.as_mut(), &mut given, expected.len()).await;
    let two = consume(&log, &test.group()).await;
    expected.extend(append(&log, fill(40)).await.iter().map(|a| a.at));
    drop(two);
    drain(one.as_mut(), &mut given, expected.len()).await;
    assert_eq!(given, expected);
}

async fn drain(consumer: &mut dyn Consumer, given: &mut BTreeSet<LogPosition>, count: usize) {
    while given.len() < count {
        let item = soon("a record", consumer.next()).await.expect("next");
        if let ConsumerItem::Records { records, .. } = item {
            given.extend(records.iter().map(|record| record.at));
        }
    }
}

/// A consumer that has met the head is woken by the next append; dropping a wait loses nothing.
pub async fn a_waiting_consumer_hears_of_an_append(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let mut consumer = consume(&log, &test.group()).await;
    for _ in log.shards().all() {
        soon("an assignment", consumer.next()).await.expect("next");
    }
    // `join!` polls the wait first, so that it is waiting when the append happens.
    let (item, (shard, positions)) =
        tokio::join!(soon("a record", consumer.next()), filled(&log, 1));
    match item.expect("next") {
        ConsumerItem::Records { shard: at, records } => {
            let given: Vec<Position> = records.iter().map(|r| r.at.position).collect();
            assert_eq!((at, given), (shard, positions));
        }
        other @ (ConsumerItem::Assigned { .. }
        | ConsumerItem::Leaving { .. }
        | ConsumerItem::Revoked { .. }
        | ConsumerItem::Gap { .. }) => panic!("expected the record, not {other:?}"),
    }
    let (shard, positions) = filled(&log, 1).await;
    for _ in 0..3 {
        tokio::select! {
            biased;
            () = std::future::ready(()) => {}
            _ = consumer.next() => {}
        }
    }
    assert_eq!(positions_of(consumer.as_mut(), shard, 1).await, positions);
}

/// EL-13: a member's lease does not hold any more when another one is assigned the shard, whether or not the first has been told.
pub async fn el_13_a_lease_ends_with_the_assignment(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let mut first = consume(&log, &test.group()).await;
    let mut leases = BTreeMap::new();
    while leases.len() < log.shards().all().count() {
        let (shard, lease) = next_lease(first.as_mut()).await;
        assert_eq!(lease.hold(Duration::ZERO), Hold::Held);
        leases.insert(shard, lease);
    }
    // It takes all shards or some of them.
    let mut second = consume(&log, &test.group()).await;
    let (shard, newer) = next_lease(second.as_mut()).await;
    let lease = leases.get(&shard).expect("a shard of the first one");
    assert_ne!(
        lease.hold(Duration::ZERO),
        Hold::Held,
        "the first one has not been asked for anything since"
    );
    assert_eq!(newer.hold(Duration::ZERO), Hold::Held);
}

async fn next_lease(consumer: &mut dyn Consumer) -> (Shard, Lease) {
    loop {
        let item = soon("an assignment", consumer.next()).await;
        if let ConsumerItem::Assigned { shard, lease, .. } = item.expect("next") {
            return (shard, lease);
        }
    }
}

/// EL-15: a member that hears `Leaving` has the shard until it releases it: its acks count, and the next owner goes on behind them.
pub async fn el_15_acks_count_until_a_shard_is_released(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let mut first = consume(&log, &test.group()).await;
    let mut epochs = BTreeMap::new();
    while epochs.len() < log.shards().all().count() {
        if let ConsumerItem::Assigned { shard, epoch, .. } =
            soon("an assignment", first.next()).await.expect("next")
        {
            epochs.insert(shard, epoch);
        }
    }
    let records = (0..200).map(|n| record(Some(&format!("k{n}")), n)).collect();
    let answers = append(&log, records).await;
    let ends: BTreeMap<Shard, Position> =
        answers.iter().map(|answer| (answer.at.shard, answer.at.position)).collect();
    let mut given = BTreeSet::new();
    drain(first.as_mut(), &mut given, 200).await;
    let mut second = consume(&log, &test.group()).await;
    let shard = loop {
        match soon("a hand-over", first.next()).await.expect("next") {
            ConsumerItem::Leaving { shard } => break shard,
            // This log takes shards at once.
            ConsumerItem::Revoked { .. } => return,
            ConsumerItem::Assigned { .. }
            | ConsumerItem::Records { .. }
            | ConsumerItem::Gap { .. } => {}
        }
    };
    let epoch = *epochs.get(&shard).expect("a shard of the first one");
    let upto = *ends.get(&shard).expect("a shard with records");
    first.release(shard, Epoch(epoch.0 - 1));
    acked(first.as_mut(), Ack { shard, epoch, upto }).await.expect("it is ours until its release");
    first.release(shard, epoch);
    loop {
        match soon("the end", first.next()).await.expect("next") {
            ConsumerItem::Revoked { shard: of } if of == shard => break,
            // The group takes others too.
            ConsumerItem::Leaving { shard } => {
                first.release(shard, *epochs.get(&shard).expect("a shard of the first one"));
            }
            ConsumerItem::Records { shard: of, .. } => assert_ne!(of, shard, "it was leaving"),
            ConsumerItem::Assigned { .. }
            | ConsumerItem::Revoked { .. }
            | ConsumerItem::Gap { .. } => {}
        }
    }
    let refused = acked(first.as_mut(), Ack { shard, epoch, upto }).await;
    assert!(matches!(refused, Err(AckError::Fenced)), "{refused:?}");
    assert_eq!(assignment_of(second.as_mut(), shard).await.1, Some(upto));
}
