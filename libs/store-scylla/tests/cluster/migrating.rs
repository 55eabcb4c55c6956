//! The lock of a migration: it is kept for as long as the migration runs, and a migration that lost it ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use ports::Clock;
use postrider_store_scylla::{Migrated, OpenError, Scylla, Settings, migrate};
use runtime::{SystemClock, SystemRng};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::keyspace::{self, new_settings};

/// A clock whose sleeps are short: what is renewed every 15 s is renewed all the time.
struct Hasty(SystemClock);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep_until(&self, _: Timestamp) {
        self.sleep(Duration::MAX).await;
    }

    async fn sleep(&self, by: Duration) {
        self.0.sleep(by.min(Duration::from_millis(20))).await;
    }
}

async fn migrate_hastily(settings: &Settings) -> Result<Migrated, OpenError> {
    migrate(settings, &Hasty(SystemClock::new()), &SystemRng::new()).await
}

async fn session(settings: &Settings) -> Session {
    SessionBuilder::new().known_nodes(&settings.nodes).build().await.expect("a session")
}

/// When the lock was written, while somebody holds it.
async fn written(session: &Session, settings: &Settings) -> Option<i64> {
    let text = format!(
        "SELECT writetime(owner) FROM {}.schema_migrations WHERE part = 0 AND version = 0",
        settings.keyspace
    );
    // Before there is a table, there is no lock.
    let rows = session.query_unpaged(text, ()).await.ok()?.into_rows_result().ok()?;
    rows.maybe_first_row::<(i64,)>().expect("a time").map(|(written,)| written)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_is_renewed_for_as_long_as_the_migration_runs() {
    let Some(node) = keyspace::node() else { return };
    let settings = new_settings(&node);
    let session = session(&settings).await;
    let mut migration = Box::pin(migrate_hastily(&settings));
    let mut times = BTreeSet::new();
    loop {
        tokio::select! {
            done = &mut migration => break done.map(|_| ()).expect("it migrates"),
            written = written(&session, &settings) => times.extend(written),
        }
    }
    assert!(times.len() > 2, "written once and never renewed: {times:?}");
    assert_eq!(written(&session, &settings).await, None, "it is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_lost_its_lock_ends_and_leaves_the_lock_alone() {
    let Some(node) = keyspace::node() else { return };
    let settings = new_settings(&node);
    let session = session(&settings).await;
    let table = format!("{}.schema_migrations", settings.keyspace);
    let steal = format!(
        "UPDATE {table} SET owner = 00000000-0000-0000-0000-000000000001 WHERE part = 0 AND version = 0 IF EXISTS"
    );
    let mut migration = Box::pin(migrate_hastily(&settings));
    let error = loop {
        tokio::select! {
            done = &mut migration => break done.expect_err("it lost its lock").to_string(),
            held = written(&session, &settings) => if held.is_some() {
                session.query_unpaged(steal.as_str(), ()).await.expect("the lock is taken away");
            },
        }
    };
    assert!(error.contains("lost its lock") && error.contains("postrider migrate"), "{error}");
    assert!(written(&session, &settings).await.is_some(), "the lock is another's");
    let free = format!("DELETE FROM {table} WHERE part = 0 AND version = 0 IF EXISTS");
    session.query_unpaged(free, ()).await.expect("the lock is free");
    migrate_hastily(&settings).await.expect("it goes on where the other one ended");
    Scylla::connect(&settings, Arc::new(SystemClock::new())).await.expect("connect");
}
