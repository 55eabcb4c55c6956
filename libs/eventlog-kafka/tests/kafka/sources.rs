//! Topics that others write: their shards, and whom their records may speak for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::record::{Poison, Record, Trust};
use domain::{Epoch, Position, Shard, TenantId, Timestamp};
use ports::conformance::acked;
use ports::{Ack, Consumer, ConsumerItem, EventLog, LogRecord};
use postrider_eventlog_kafka::{Settings, Source};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use runtime::SystemClock;
use tokio::time::timeout;

use crate::broker::{broker, connect, made, settings};

const SOON: Duration = Duration::from_secs(60);

/// Settings with two topics of others, whose numbers are 1 and 2: `…-orders` of acme with two partitions, `…-bus` that is trusted.
pub(crate) async fn with_topics(broker: &str) -> Settings {
    let mut settings = made(settings(broker)).await;
    let (orders, bus) =
        (format!("{}-orders", settings.topic_prefix), format!("{}-bus", settings.topic_prefix));
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker).create().expect("a client");
    let topics = [(&orders, 2), (&bus, 1)];
    let topics = topics.map(|(name, count)| NewTopic::new(name, count, TopicReplication::Fixed(1)));
    let made = admin.create_topics(&topics, &AdminOptions::new()).await.expect("an answer");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    settings.topics = [format!("1 {orders} tenant=acme"), format!("2 {bus} trusted")]
        .map(|text| Source::parse(&text).expect("a topic"))
        .into();
    settings
}

pub(crate) async fn produce(broker: &str, topic: &str, partition: i32, value: &str) {
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", broker).create().expect("a client");
    let tenant = Header { key: "postrider_tenant", value: Some("globex") };
    let record: FutureRecord<'_, str, str> = FutureRecord::to(topic)
        .partition(partition)
        .payload(value)
        .headers(OwnedHeaders::new().insert(tenant));
    producer.send(record, SOON).await.expect("a record");
}

/// What a member of the group is told until it has read so many records.
async fn read(consumer: &mut dyn Consumer, count: usize) -> (Vec<(Shard, Epoch)>, Vec<LogRecord>) {
    let (mut shards, mut found) = (Vec::new(), Vec::new());
    while found.len() < count {
        match timeout(SOON, consumer.next()).await.expect("in time").expect("an item") {
            ConsumerItem::Assigned { shard, epoch, .. } => shards.push((shard, epoch)),
            ConsumerItem::Records { records, .. } => found.extend(records),
            other @ (ConsumerItem::Leaving { .. }
            | ConsumerItem::Revoked { .. }
            | ConsumerItem::Gap { .. }) => {
                panic!("{other:?}")
            }
        }
    }
    shards.sort();
    found.sort_by_key(|record| record.at);
    (shards, found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_other_topics_have_shards_of_their_own_and_speak_for_whom_they_may() {
    let Some(broker) = broker() else { return };
    let settings = with_topics(&broker).await;
    let [orders, bus] = [&settings.topics[0].topic, &settings.topics[1].topic];
    produce(&broker, orders, 1, "an order").await;
    produce(&broker, bus, 0, "a message").await;
    let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
    let log = kafka.log();
    let shards: Vec<u16> = log.shards().all().map(|shard| shard.0).collect();
    assert_eq!(shards, [0, 1, 1_024, 1_025, 2_048]);
    let own = Record { key: Some(Bytes::from_static(b"k")), ..Record::default() };
    let own = log.append(vec![own]).await.remove(0).expect("appended");
    assert!(own.at.shard.0 < 2, "only the events' own topic is written: {}", own.at);

    let group = format!("{}-g", settings.topic_prefix);
    let mut consumer = log.consume(&group).await.expect("a member");
    let (assigned, found) = read(&mut *consumer, 3).await;
    let names: Vec<u16> = assigned.iter().map(|(shard, _)| shard.0).collect();
    assert_eq!(names, shards);
    let acme = Trust::Only(TenantId::parse("acme").expect("a tenant"));
    let seen: Vec<_> = found.iter().map(|one| (one.at.shard.0, one.trust.clone())).collect();
    let own_shard = own.at.shard.0;
    assert_eq!(seen, [(own_shard, Trust::AnyTenant), (1_025, acme), (2_048, Trust::AnyTenant)]);

    let order = &found[1];
    assert_eq!(log.read(order.at).await.expect("read").as_ref(), Some(order));
    let bounds = log.bounds(Shard(1_025)).await.expect("bounds");
    assert_eq!((bounds.low, bounds.next), (Position(0), Position(1)));
    let since = log.position_at(Shard(2_048), Timestamp::ZERO).await.expect("a position");
    assert_eq!(since, Position(0));
    let poison = Poison { field: "value", reason: "a test".to_owned() };
    log.quarantine(order, &poison).await.expect("set aside");

    let (_, epoch) = assigned[3];
    let ack = Ack { shard: order.at.shard, epoch, upto: order.at.position };
    timeout(SOON, acked(&mut *consumer, ack)).await.expect("in time").expect("acked");
    drop(consumer);
    kafka.close().await;

    // Another number for the same topic, as after a mistake in the configuration.
    let mut renumbered = settings.clone();
    renumbered.topics.truncate(1);
    renumbered.topics[0].number = 3;
    let kafka = connect(&renumbered, Arc::new(SystemClock::new())).await;
    let mut consumer = kafka.log().consume(&group).await.expect("a member");
    let told = timeout(SOON, consumer.next()).await.expect("in time");
    let told = told.expect_err("a topic with another number").to_string();
    assert!(told.contains("number 3") && told.contains("was number 1"), "{told}");
    assert!(kafka.log().read(order.at).await.expect("read").is_none(), "of no topic any more");
    drop(consumer);
    kafka.close().await;

    let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
    let mut consumer = kafka.log().consume(&group).await.expect("a member");
    let (_, found) = read(&mut *consumer, 2).await;
    let left: Vec<u16> = found.iter().map(|one| one.at.shard.0).collect();
    assert_eq!(left, [own_shard, 2_048], "what was acked is not given again");
}
