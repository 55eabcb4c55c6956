//! `EventLog`: appending and reading.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use domain::record::{Record, Trust};
use domain::{LogPosition, Position};

use super::sample::record;
use super::{LogFixture, acked, soon};
use crate::{Ack, Appended, ConsumerItem, ErrorKind, EventLog, LogRecord};

/// Runs every contract of `EventLog`.
pub async fn event_log_suite(fixture: &impl LogFixture) {
    el_1_records_of_one_key_keep_their_order(fixture).await;
    el_1_what_was_answered_is_there_after_a_restart(fixture).await;
    el_2_positions_of_a_shard_increase(fixture).await;
    super::el_3_acked_records_are_not_given_again(fixture).await;
    super::el_4_an_ack_of_an_ended_epoch_is_fenced(fixture).await;
    super::el_4_an_ack_never_moves_back(fixture).await;
    super::el_5_what_was_not_acked_is_given_again(fixture).await;
    el_6_the_key_decides_the_shard(fixture).await;
    el_7_records_come_back_as_they_were(fixture).await;
    el_8_a_record_that_is_too_large_is_refused_alone(fixture).await;
    super::el_9_two_groups_are_independent(fixture).await;
    super::el_10_retention_gives_one_gap(fixture).await;
    el_11_ranges_are_read_in_order_also_below_the_ack(fixture).await;
    el_11_a_time_gives_the_first_position_at_or_after_it(fixture).await;
    super::el_13_a_lease_ends_with_the_assignment(fixture).await;
    super::el_15_acks_count_until_a_shard_is_released(fixture).await;
    super::el_12_a_batch_is_bounded(fixture).await;
    super::consumers_come_and_go_without_a_loss(fixture).await;
    super::a_waiting_consumer_hears_of_an_append(fixture).await;
}

/// Appends and expects that all were taken.
pub(super) async fn append(log: &Arc<dyn EventLog>, records: Vec<Record>) -> Vec<Appended> {
    let count = records.len();
    let answers = soon("append", log.append(records)).await;
    assert_eq!(answers.len(), count, "one answer per record");
    let answer = |answer: crate::Result<Appended>| answer.expect("append");
    answers.into_iter().map(answer).collect()
}

/// EL-1: records of one call that have the same key keep their order.
pub async fn el_1_records_of_one_key_keep_their_order(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let keys = ["a", "b", "c"];
    let records = (0..300).map(|n| record(keys.get(n % 3).copied(), n));
    let answers = append(&log, records.collect()).await;
    let mut last: HashMap<usize, LogPosition> = HashMap::new();
    for (n, answer) in answers.iter().enumerate() {
        if let Some(before) = last.insert(n % 3, answer.at) {
            assert_eq!(before.shard, answer.at.shard, "one key, one shard");
            assert!(before.position < answer.at.position, "order of one key");
        }
    }
}

/// EL-1: what `append` answered is durable, at the place and with the time that it answered.
pub async fn el_1_what_was_answered_is_there_after_a_restart(fixture: &impl LogFixture) {
    let mut test = fixture.fresh().await;
    let log = test.log();
    let answers = append(&log, (0..50).map(|n| record(Some("k"), n)).collect()).await;
    drop(log);
    test.restart().await;
    let log = test.log();
    for (n, answer) in answers.iter().enumerate() {
        let found = soon("read", log.read(answer.at)).await.expect("read");
        let (at, time) = (answer.at, answer.time);
        let record = record(Some("k"), n);
        let expected = LogRecord { at, time, trust: Trust::AnyTenant, record };
        assert_eq!(found, Some(expected));
    }
    let more = append(&log, vec![record(Some("k"), 50)]).await;
    let last = answers.last().map(|answer| answer.at.position);
    assert!(
        more.first().map(|answer| answer.at.position) > last,
        "positions go on after a restart"
    );
}

/// EL-2: records of one shard are given in the order of their positions.
pub async fn el_2_positions_of_a_shard_increase(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let count = 1_200;
    for n in 0..3 {
        let records = (0..count / 3).map(|i| record(None, n * 400 + i));
        append(&log, records.collect()).await;
    }
    let mut consumer = log.consume(&test.group()).await.expect("consume");
    let mut last: BTreeMap<u16, Position> = BTreeMap::new();
    let mut seen = 0;
    while seen < count {
        let item = soon("a record", consumer.next()).await.expect("next");
        let ConsumerItem::Records { shard, records } = item else {
            continue;
        };
        for record in records {
            assert_eq!(record.at.shard, shard, "a batch is of one shard");
            let before = last.insert(shard.0, record.at.position);
            assert!(before < Some(record.at.position), "positions increase");
            seen += 1;
        }
    }
}

/// EL-6: a record's key decides its shard as Kafka's partitioner does; records without a key are spread.
pub async fn el_6_the_key_decides_the_shard(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let keys: Vec<String> = (0..64).map(|n| format!("key-{n}")).collect();
    let records = keys.iter().map(|key| record(Some(key), 0));
    let answers = append(&log, records.collect()).await;
    for (key, answer) in keys.iter().zip(answers) {
        let shard = log.shards().of_key(key.as_bytes());
        assert_eq!(answer.at.shard, shard, "shard of {key}");
    }
    let mut shards: Vec<u16> = Vec::new();
    for n in 0..64 {
        let answers = append(&log, vec![record(None, n)]).await;
        shards.extend(answers.iter().map(|answer| answer.at.shard.0));
    }
    shards.sort_unstable();
    shards.dedup();
    assert!(shards.len() > 1, "records without a key are spread");
}

/// EL-7: headers come back as they were: order, repeated names, null and binary values; so do keys and values.
pub async fn el_7_records_come_back_as_they_were(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let binary = || Some(Bytes::from_static(&[0, 0xff, 0x80]));
    let header = |name: &str, value: Option<Bytes>| (name.to_owned(), value);
    let records = vec![
        Record {
            key: binary(),
            headers: vec![
                header("b", binary()),
                header("a", None),
                header("b", Some(Bytes::new())),
                header("", Some(Bytes::from_static(b"x"))),
            ],
            value: binary(),
        },
        Record::default(),
        Record { key: Some(Bytes::new()), headers: Vec::new(), value: Some(Bytes::new()) },
    ];
    let answers = append(&log, records.clone()).await;
    for (answer, record) in answers.iter().zip(records) {
        let found = log.read(answer.at).await.expect("read");
        assert_eq!(found.map(|found| found.record), Some(record));
    }
}

/// EL-8: a record above the limit answers `TooLarge`; the others of its call are taken.
pub async fn el_8_a_record_that_is_too_large_is_refused_alone(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let large =
        Record { key: None, headers: Vec::new(), value: Some(Bytes::from(vec![0; 1_100_000])) };
    let records = vec![record(Some("a"), 1), large, record(Some("a"), 2)];
    let answers = soon("append", log.append(records)).await;
    let kinds: Vec<Option<ErrorKind>> =
        answers.iter().map(|answer| answer.as_ref().err().map(crate::Error::kind)).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::TooLarge), None]);
    let fits =
        Record { key: None, headers: Vec::new(), value: Some(Bytes::from(vec![7; 900_000])) };
    append(&log, vec![fits]).await;
}

/// EL-11: `read_range` gives `[from, to)` in order, at most `limit` a page, also below the acked position.
pub async fn el_11_ranges_are_read_in_order_also_below_the_ack(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let answers = append(&log, (0..40).map(|n| record(Some("k"), n)).collect()).await;
    let place = |n: usize| answers.get(n).expect("40 answers").at;
    let shard = place(0).shard;
    let mut consumer = log.consume(&test.group()).await.expect("consume");
    let epoch = super::event_log_groups::epoch_of(consumer.as_mut(), shard).await;
    let ack = Ack { shard, epoch, upto: place(39).position };
    acked(consumer.as_mut(), ack).await.expect("ack");
    let (mut from, to) = (place(5).position, place(35).position);
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = log.read_range(shard, from, to, 7).await.expect("range");
        assert!(page.records.len() <= 7, "at most `limit`");
        found.extend(page.records.into_iter().map(|record| record.at.position));
        pages += 1;
        let Some(next) = page.next else { break };
        assert!(next > from, "a page goes on");
        from = next;
    }
    let expected: Vec<Position> = (5..35).map(|n| place(n).position).collect();
    assert_eq!(found, expected, "all of the range, once, in {pages} pages");
    let bounds = log.bounds(shard).await.expect("bounds");
    assert!(bounds.low <= place(0).position && bounds.next > place(39).position);
}

/// EL-11: `position_at` gives the first record at or after a time, and the next position when there is none.
pub async fn el_11_a_time_gives_the_first_position_at_or_after_it(fixture: &impl LogFixture) {
    let test = fixture.fresh().await;
    let log = test.log();
    let mut answers = Vec::new();
    for n in 0..20 {
        answers.extend(append(&log, vec![record(Some("k"), n)]).await);
    }
    let first = answers.first().expect("20 answers");
    for answer in &answers {
        let found = log.position_at(first.at.shard, answer.time).await;
        let expected = answers.iter().find(|other| other.time >= answer.time);
        let expected = expected.map(|other| other.at.position);
        assert_eq!(Some(found.expect("position_at")), expected);
    }
    let bounds = log.bounds(first.at.shard).await.expect("bounds");
    let after = log.position_at(first.at.shard, domain::Timestamp::MAX).await.expect("position_at");
    assert_eq!(after, bounds.next);
}
