//! What is wrong with the brokers or the topics is said in one line, with what to do.

use std::net::TcpListener;
use std::sync::Arc;

use postrider_eventlog_kafka::{Kafka, OpenError, Settings};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use runtime::SystemClock;

use crate::broker::{broker, made, settings};

async fn refusal(settings: &Settings) -> (OpenError, String) {
    let Err(error) = Kafka::connect(settings, Arc::new(SystemClock::new())).await else {
        panic!("the log was opened");
    };
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    (error, line)
}

#[tokio::test]
async fn a_wrong_address_is_named_and_is_tried_again() {
    // A port that was free a moment ago: nobody listens there once the listener is dropped.
    let address =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let (error, line) = refusal(&settings(&address.to_string())).await;
    assert!(matches!(error, OpenError::Unreachable { .. }) && error.is_retryable(), "{line}");
    assert!(line.contains(&address.to_string()) && line.contains("kafka.brokers"), "{line}");
}

#[tokio::test]
async fn a_missing_topic_is_named_with_what_makes_it() {
    let Some(broker) = broker() else { return };
    let settings = settings(&broker);
    let (error, line) = refusal(&settings).await;
    assert!(matches!(error, OpenError::NoTopic { .. }) && !error.is_retryable(), "{line}");
    assert!(line.contains(&settings.events()) && line.contains("postrider migrate"), "{line}");
}

#[tokio::test]
async fn a_compacted_topic_is_refused_with_the_command_that_mends_it() {
    let Some(broker) = broker() else { return };
    let settings = made(settings(&broker)).await;
    let topic = settings.events();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &broker).create().expect("a client");
    let compact =
        AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("cleanup.policy", "compact");
    let altered = admin.alter_configs([&compact], &AdminOptions::new()).await.expect("an answer");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    let (error, line) = refusal(&settings).await;
    assert!(matches!(error, OpenError::Compacted { .. }) && !error.is_retryable(), "{line}");
    assert!(line.contains(&topic) && line.contains("cleanup.policy=delete"), "{line}");
}
