//! The log and the feed keep the contracts of their ports, on a real broker.

use std::sync::Arc;

use async_trait::async_trait;
use ports::EventLog;
use ports::conformance::{
    LogFixture, LogUnderTest, config_feed_suite, consumers_come_and_go_without_a_loss,
    el_3_acked_records_are_not_given_again, el_4_an_ack_of_an_ended_epoch_is_fenced,
    el_13_a_lease_ends_with_the_assignment, event_log_suite, observations_suite,
};
use postrider_eventlog_kafka::{GroupProtocol, Kafka, Settings};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::SystemClock;

use crate::broker::{self, connect, made};

struct Fixture {
    broker: String,
    protocol: GroupProtocol,
}

struct OneLog {
    settings: Settings,
    kafka: Option<Kafka>,
}

#[async_trait]
impl LogFixture for Fixture {
    async fn fresh(&self) -> Box<dyn LogUnderTest> {
        let mut settings = broker::settings(&self.broker);
        settings.group_protocol = self.protocol;
        let settings = made(settings).await;
        let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
        Box::new(OneLog { settings, kafka: Some(kafka) })
    }
}

#[async_trait]
impl LogUnderTest for OneLog {
    fn log(&self) -> Arc<dyn EventLog> {
        self.kafka.as_ref().expect("open").log()
    }

    fn group(&self) -> String {
        format!("{}-g", self.settings.topic_prefix)
    }

    async fn restart(&mut self) {
        if let Some(kafka) = self.kafka.take() {
            kafka.close().await;
        }
        self.kafka = Some(connect(&self.settings, Arc::new(SystemClock::new())).await);
    }

    async fn remove_all(&mut self) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.settings.brokers.join(","));
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let topic = self.settings.events();
        let mut before = TopicPartitionList::new();
        for partition in 0..i32::from(self.settings.partitions) {
            before.add_partition_offset(&topic, partition, Offset::End).expect("an offset");
        }
        admin.delete_records(&before, &AdminOptions::new()).await.expect("records removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_cluster_keeps_its_contracts() {
    let Some(broker) = broker::broker() else { return };
    event_log_suite(&Fixture { broker, protocol: GroupProtocol::Classic }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_group_protocol_owns_hands_over_and_goes_on_too() {
    let Some(broker) = broker::broker() else { return };
    let fixture = Fixture { broker, protocol: GroupProtocol::Consumer };
    el_3_acked_records_are_not_given_again(&fixture).await;
    el_4_an_ack_of_an_ended_epoch_is_fenced(&fixture).await;
    el_13_a_lease_ends_with_the_assignment(&fixture).await;
    consumers_come_and_go_without_a_loss(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_of_a_cluster_keeps_its_contracts() {
    let Some(broker) = broker::broker() else { return };
    let settings = made(broker::settings(&broker)).await;
    let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
    config_feed_suite(kafka.feed().as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_observations_of_a_cluster_keep_their_contracts() {
    let Some(broker) = broker::broker() else { return };
    let settings = made(broker::settings(&broker)).await;
    let kafka = connect(&settings, Arc::new(SystemClock::new())).await;
    observations_suite(kafka.observations().as_ref()).await;
}
