//! What keeps a process from starting on a cluster, each in one line that says what to do; and migrations.

use std::sync::Arc;

use ports::{Clock, Rng};
use postrider_store_scylla::{Migrated, OpenError, SCHEMA_VERSION, Scylla, Settings, migrate};
use runtime::{SystemClock, SystemRng};
use scylla::client::session_builder::SessionBuilder;

use crate::keyspace::{self, Keyspace, new_settings};

async fn refused(settings: &Settings, words: &[&str]) {
    let error = match Scylla::connect(settings, Arc::new(SystemClock::new())).await {
        Ok(_) => panic!("it connected; expected {words:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!error.contains('\n'), "one line: {error}");
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

async fn apply(settings: &Settings) -> Result<Migrated, OpenError> {
    migrate(settings, &SystemClock::new() as &dyn Clock, &SystemRng::new() as &dyn Rng).await
}

#[tokio::test]
async fn a_missing_keyspace_says_how_to_make_it() {
    let Some(node) = keyspace::node() else { return };
    refused(&new_settings(&node), &["there is no keyspace it_", "postrider migrate"]).await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named() {
    let settings = Settings::new(vec!["127.0.0.1:1".to_owned()], "orders");
    refused(&settings, &["127.0.0.1:1", "start it, or correct scylla.nodes"]).await;
}

#[tokio::test]
async fn one_replica_is_refused_unless_allowed() {
    let Some(node) = keyspace::node() else { return };
    let keyspace = Keyspace::make(&node).await;
    let strict = Settings { allow_few_replicas: false, ..keyspace.settings.clone() };
    refused(&strict, &["1 replica(s)", "ALTER KEYSPACE", "scylla.allow_few_replicas"]).await;
}

#[tokio::test]
async fn a_data_centre_without_nodes_is_named_with_those_that_have_some() {
    let Some(node) = keyspace::node() else { return };
    let keyspace = Keyspace::make(&node).await;
    let elsewhere = Settings { datacenter: Some("mars".to_owned()), ..keyspace.settings.clone() };
    refused(&elsewhere, &["mars", "the nodes are in"]).await;
}

#[tokio::test]
async fn another_schema_version_is_refused_in_both_directions() {
    let Some(node) = keyspace::node() else { return };
    let settings = new_settings(&node);
    apply(&settings).await.expect("migrate");
    let session = SessionBuilder::new().known_node(&node).build().await.expect("a session");
    let table = format!("{}.schema_migrations", settings.keyspace);
    let newer = SCHEMA_VERSION + 1;
    let put = format!("INSERT INTO {table} (part, version, name) VALUES (0, {newer}, 'later')");
    session.query_unpaged(put, ()).await.expect("a newer version");
    let words = [format!("version {newer}"), format!("knows {SCHEMA_VERSION}")];
    refused(&settings, &[&words[0], &words[1], "newer postrider"]).await;
    let error = apply(&settings).await.expect_err("a newer schema is left alone").to_string();
    assert!(error.contains("newer postrider"), "{error}");
    let none = format!("TRUNCATE {table}");
    session.query_unpaged(none, ()).await.expect("no version");
    refused(&settings, &["version 0", "run `postrider migrate`"]).await;
}

#[tokio::test]
async fn migrations_run_twice_and_at_once() {
    let Some(node) = keyspace::node() else { return };
    let settings = new_settings(&node);
    let (one, two) = tokio::join!(apply(&settings), apply(&settings));
    let (one, two) = (one.expect("one"), two.expect("two"));
    let steps = one.steps.len() + two.steps.len();
    assert_eq!(
        steps,
        usize::try_from(SCHEMA_VERSION).expect("small"),
        "each step once: {one:?} {two:?}"
    );
    let again = apply(&settings).await.expect("again");
    assert_eq!(again, Migrated { made_keyspace: false, steps: Vec::new() });
    Scylla::connect(&settings, Arc::new(SystemClock::new())).await.expect("connect");
}

#[tokio::test]
async fn a_keyspace_belongs_to_one_log() {
    let Some(node) = keyspace::node() else { return };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    scylla.claim("one").await.expect("the first one");
    scylla.claim("one").await.expect("again");
    let error = scylla.claim("two").await.expect_err("another log").to_string();
    assert!(error.contains("belongs to event log one") && error.contains("has two"), "{error}");
    scylla.check_owner("one").await.expect("its own");
    assert!(scylla.check_owner("two").await.is_err());
}

#[tokio::test]
async fn a_look_at_the_owner_claims_nothing() {
    let Some(node) = keyspace::node() else { return };
    let keyspace = Keyspace::make(&node).await;
    let scylla = keyspace.connect(Arc::new(SystemClock::new())).await;
    scylla.check_owner("two").await.expect("nobody's");
    scylla.claim("one").await.expect("the first one");
}
