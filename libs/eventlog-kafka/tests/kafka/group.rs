//! What `postrider doctor` says of the workers' group.

use std::sync::Arc;
use std::time::Duration;

use domain::record::Record;
use domain::{LogPosition, Position, Timestamp};
use ports::conformance::acked;
use ports::{Ack, Clock as _, Consumer, ConsumerItem, EventLog as _};
use postrider_eventlog_kafka::{
    Finding, GroupProtocol, Settings, Severity, Source, broker_time, inspect_group,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::SystemClock;
use tokio::time::timeout;

use crate::broker::{broker, connect, made, settings};
use crate::sources::{produce, with_topics};

const SOON: Duration = Duration::from_secs(60);

fn group(settings: &Settings) -> String {
    format!("{}-delivery", settings.topic_prefix)
}

async fn looked(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    inspect_group(settings, &group(settings), now).await.expect("the brokers answer")
}

/// The one finding whose subject holds `part`.
fn one(findings: &[Finding], part: &str) -> (Severity, String) {
    let found: Vec<&Finding> = findings.iter().filter(|one| one.what.contains(part)).collect();
    let [found] = found[..] else { panic!("{part} is told {} times: {findings:?}", found.len()) };
    let line = format!("{}: {}", found.what, found.problem);
    assert!(!line.contains('\n'), "{line}");
    (found.severity, line)
}

fn none(findings: &[Finding], part: &str) {
    assert!(findings.iter().all(|one| !one.what.contains(part)), "{part} in {findings:?}");
}

/// Waits until the consumer has given so many records; acks all of them.
async fn read_and_ack(consumer: &mut dyn Consumer, count: usize) -> Vec<LogPosition> {
    let (mut epochs, mut read) = (Vec::new(), Vec::new());
    while read.len() < count {
        match timeout(SOON, consumer.next()).await.expect("in time").expect("an item") {
            ConsumerItem::Assigned { shard, epoch, .. } => epochs.push((shard, epoch)),
            ConsumerItem::Records { records, .. } => read.extend(records.into_iter().map(|r| r.at)),
            other @ (ConsumerItem::Leaving { .. }
            | ConsumerItem::Revoked { .. }
            | ConsumerItem::Gap { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    for at in &read {
        let owned = epochs.iter().find(|(shard, _)| *shard == at.shard);
        let (shard, epoch) = owned.expect("a record of a shard that is ours");
        let ack = Ack { shard: *shard, epoch: *epoch, upto: at.position };
        acked(consumer, ack).await.expect("acked");
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lag_members_and_topics_that_nobody_names_any_more_are_told() {
    let Some(broker) = broker() else { return };
    let settings = with_topics(&broker).await;
    let events = settings.events();
    let [orders, bus] = [settings.topics[0].topic.clone(), settings.topics[1].topic.clone()];
    produce(&broker, &orders, 1, "an order").await;
    let clock = SystemClock::new();
    let kafka = connect(&settings, Arc::new(clock)).await;
    let log = kafka.log();
    let own = log.append(vec![Record::default()]).await.remove(0).expect("appended").at;

    let findings = looked(&settings, clock.now()).await;
    let (severity, line) = one(&findings, " members: ");
    assert_eq!(severity, Severity::Warn, "{line}");
    assert!(
        line.contains("0 worker(s) for 5 shard(s)") && line.contains("2 record(s) wait"),
        "{line}"
    );
    assert!(line.contains("delivery-worker"), "{line}");
    let (severity, line) = one(&findings, &format!("topic {orders} lag"));
    assert_eq!(severity, Severity::Ok, "it is young: {line}");
    assert!(line.contains("1 record(s) (shard 1025: 1)"), "{line}");
    let (_, line) = one(&findings, &format!("topic {events} lag"));
    assert!(line.contains(&format!("1 record(s) (shard {}: 1)", own.shard.0)), "{line}");
    let (_, line) = one(&findings, &format!("topic {bus} lag"));
    assert!(line.contains(": 0 record(s): "), "{line}");
    none(&findings, "number");

    let later = looked(&settings, clock.now() + Duration::from_secs(600)).await;
    let (severity, line) = one(&later, &format!("topic {orders} lag"));
    assert_eq!(severity, Severity::Warn, "{line}");
    assert!(line.contains("shard(s) 1025 wait for over 5 minutes"), "{line}");

    let mut consumer = log.consume(&group(&settings)).await.expect("a member");
    read_and_ack(&mut *consumer, 2).await;
    produce(&broker, &orders, 0, "another order").await;
    let findings = looked(&settings, clock.now()).await;
    let (severity, line) = one(&findings, " members: ");
    assert_eq!(severity, Severity::Ok, "{line}");
    assert!(line.contains("1 worker(s) for 5 shard(s)"), "{line}");
    let (_, line) = one(&findings, &format!("topic {events} lag"));
    assert!(line.contains(": 0 record(s): "), "acked: {line}");
    drop(consumer);
    kafka.close().await;

    let mut without = settings.clone();
    without.topics.remove(0);
    let findings = looked(&without, clock.now()).await;
    let (severity, line) = one(&findings, &orders);
    assert_eq!(severity, Severity::Fail, "{line}");
    assert!(
        line.contains("1 record(s) wait") && line.contains(&format!("\"1 {orders} …\"")),
        "{line}"
    );

    let mut renumbered = settings.clone();
    renumbered.topics[0] = Source { number: 7, ..renumbered.topics[0].clone() };
    let (severity, line) =
        one(&looked(&renumbered, clock.now()).await, &format!("{orders} number"));
    assert_eq!(severity, Severity::Fail, "{line}");
    assert!(line.contains("is 7 in kafka.topics, and was 1"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_retention_took_before_they_were_handed_off_are_counted() {
    let Some(broker) = broker() else { return };
    let mut settings = settings(&broker);
    settings.partitions = 1;
    let settings = made(settings).await;
    let clock = SystemClock::new();
    let kafka = connect(&settings, Arc::new(clock)).await;
    let log = kafka.log();
    log.append(vec![Record::default()]).await.remove(0).expect("appended");
    let mut consumer = log.consume(&group(&settings)).await.expect("a member");
    let read = read_and_ack(&mut *consumer, 1).await;
    assert_eq!(read[0].position, Position(0));
    drop(consumer);
    for appended in log.append(vec![Record::default(); 5]).await {
        appended.expect("appended");
    }
    none(&looked(&settings, clock.now()).await, "retention");

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &broker).create().expect("a client");
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&settings.events(), 0, Offset::Offset(4)).expect("an offset");
    admin.delete_records(&gone, &AdminOptions::new()).await.expect("an answer");
    let findings = looked(&settings, clock.now()).await;
    let (severity, line) = one(&findings, "retention");
    assert_eq!(severity, Severity::Fail, "{line}");
    assert!(line.contains("took 3 record(s)") && line.contains("(shard 0: 3)"), "{line}");
    let (_, line) = one(&findings, " lag of ");
    assert!(line.contains("2 record(s) (shard 0: 2)"), "{line}");
}

#[tokio::test]
async fn a_session_that_the_brokers_do_not_allow_is_told_with_what_they_do() {
    let Some(broker) = broker() else { return };
    let mut settings = made(settings(&broker)).await;
    let now = SystemClock::new().now();
    // Whatever the brokers allow: neither a millisecond nor ten hours to who asks, and ten hours are longer than what they decide themselves.
    let (tiny, usual, huge) =
        (Duration::from_millis(1), Duration::from_secs(10), Duration::from_secs(36_000));
    for (protocol, session, told) in [
        (GroupProtocol::Classic, tiny, Some("group.min.session.timeout.ms")),
        (GroupProtocol::Classic, usual, None),
        (GroupProtocol::Classic, huge, Some("group.max.session.timeout.ms")),
        (GroupProtocol::Consumer, tiny, None),
        (GroupProtocol::Consumer, huge, Some("group.consumer.session.timeout.ms = ")),
    ] {
        (settings.group_protocol, settings.session_timeout) = (protocol, session);
        let findings = looked(&settings, now).await;
        let (severity, line) = one(&findings, "kafka.session_timeout");
        let bad = if told.is_some() { Severity::Fail } else { Severity::Ok };
        assert_eq!(severity, bad, "{line}");
        assert!(told.is_none_or(|told| line.contains(told)), "{line}");
    }
}

#[tokio::test]
async fn the_brokers_clock_is_read_from_the_stamp_of_a_record() {
    let Some(broker) = broker() else { return };
    let settings = made(settings(&broker)).await;
    let clock = SystemClock::new();
    let before = clock.now();
    let theirs = broker_time(&settings).await.expect("a time");
    let after = clock.now();
    // One machine, one clock; the brokers read theirs to the millisecond.
    assert!(before <= theirs && theirs <= after, "{before:?} {theirs:?} {after:?}");
}
