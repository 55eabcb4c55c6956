//! What is wrong with the brokers or the topics is said in one line, with what to do.

use std::collections::BTreeMap;
use std::net::TcpListener;

use postrider_eventlog_kafka::{OpenError, Settings, Severity, inspect, migrate};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::broker::{broker, made, refusal, settings};

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
async fn a_property_that_the_client_does_not_know_is_named_without_its_value() {
    let mut settings = settings("127.0.0.1:9");
    settings.properties.insert("sasl.pasword".to_owned(), "hunter2".to_owned());
    let (error, line) = refusal(&settings).await;
    assert!(matches!(error, OpenError::Settings { .. }) && !error.is_retryable(), "{line}");
    assert!(line.contains("sasl.pasword") && line.contains("kafka.properties_file"), "{line}");
    assert!(!format!("{line} {error:?}").contains("hunter2"), "{line}");
}

/// A trial needs no TLS, and its build leaves it out.
#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_login_that_needs_tls_names_the_feature_of_the_build() {
    let mut settings = settings("127.0.0.1:9");
    settings.properties.insert("security.protocol".to_owned(), "SASL_SSL".to_owned());
    let (error, line) = refusal(&settings).await;
    assert!(matches!(error, OpenError::Settings { .. }), "{line}");
    assert!(line.contains("SASL_SSL") && line.contains("--features kafka-tls"), "{line}");
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
async fn a_topic_with_more_copies_than_brokers_is_refused_with_what_to_lower() {
    let Some(broker) = broker() else { return };
    let mut settings = settings(&broker);
    settings.replication_factor = 99;
    let error = migrate(&settings).await.expect_err("nobody has so many brokers");
    let line = error.to_string();
    assert!(matches!(error, OpenError::Refused { .. }) && !line.contains('\n'), "{line}");
    assert!(line.contains(&settings.events()), "{line}");
    assert!(line.contains("kafka.replication_factor = 99") && line.contains("lower it"), "{line}");
    let (error, _) = refusal(&settings).await;
    assert!(matches!(error, OpenError::NoTopic { .. }), "nothing was made: {error}");
}

/// Replaces the settings of a topic.
async fn alter(broker: &str, topic: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker).create().expect("a client");
    let config = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let config = settings.iter().fold(config, |config, (name, value)| config.set(name, value));
    let altered = admin.alter_configs([&config], &AdminOptions::new()).await.expect("an answer");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
}

/// What is not as it should be: what was looked at, how bad it is and what to do.
async fn problems(settings: &Settings) -> BTreeMap<String, (Severity, String)> {
    let found = inspect(settings).await.expect("the brokers answer").into_iter();
    let bad = found.filter(|finding| finding.severity != Severity::Ok);
    bad.map(|finding| (finding.what, (finding.severity, finding.problem))).collect()
}

#[tokio::test]
async fn each_unsafe_setting_of_the_events_is_found_with_what_mends_it() {
    let Some(broker) = broker() else { return };
    let mut settings = made(settings(&broker)).await;
    let topic = settings.events();
    let of_the_events = |found: &BTreeMap<String, (Severity, String)>| -> Vec<String> {
        let names = found.keys().filter_map(|what| what.strip_prefix(&format!("topic {topic} ")));
        names.map(str::to_owned).collect()
    };
    let found = problems(&settings).await;
    let alone = ["min.insync.replicas", "replicas"];
    assert_eq!(of_the_events(&found), alone, "one broker cannot keep three copies: {found:?}");
    assert!(found.values().all(|(severity, _)| *severity == Severity::Warn), "{found:?}");

    let unsafe_settings = [
        ("cleanup.policy", "compact", Severity::Fail),
        ("max.message.bytes", "1000", Severity::Fail),
        ("message.timestamp.type", "CreateTime", Severity::Warn),
        ("retention.bytes", "1000000", Severity::Warn),
        ("retention.ms", "3600000", Severity::Warn),
        ("unclean.leader.election.enable", "true", Severity::Fail),
    ];
    alter(&broker, &topic, &unsafe_settings.map(|(name, value, _)| (name, value))).await;
    settings.partitions += 1;
    settings.allow_few_replicas = false;
    let found = problems(&settings).await;
    for (name, value, severity) in unsafe_settings {
        let (is, problem) = &found[&format!("topic {topic} {name}")];
        assert_eq!(*is, severity, "{name}");
        assert!(problem.contains(&format!("is {value};")), "{name}: {problem}");
    }
    for (name, severity) in [
        ("min.insync.replicas", Severity::Fail),
        ("partitions", Severity::Warn),
        ("replicas", Severity::Fail),
    ] {
        assert_eq!(found[&format!("topic {topic} {name}")].0, severity, "{name}");
    }
    assert_eq!(of_the_events(&found).len(), 9, "{found:?}");
}

#[tokio::test]
async fn a_compacted_topic_is_refused_with_the_command_that_mends_it() {
    let Some(broker) = broker() else { return };
    let settings = made(settings(&broker)).await;
    let topic = settings.events();
    alter(&broker, &topic, &[("cleanup.policy", "compact")]).await;
    let (error, line) = refusal(&settings).await;
    assert!(matches!(error, OpenError::Compacted { .. }) && !error.is_retryable(), "{line}");
    assert!(line.contains(&topic) && line.contains("cleanup.policy=delete"), "{line}");
}
