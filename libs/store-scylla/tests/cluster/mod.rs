//! The node that the test runner started, and keyspaces on it.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the runner's environment and say what they leave out"
)]

use std::sync::Arc;

use ports::Clock;
use postrider_store_scylla::{Scylla, Settings, drop_keyspace, migrate};
use runtime::{SystemClock, SystemRng};

/// The node that the runner names; none: the test is left out, unless the runner insists.
pub(crate) fn node() -> Option<String> {
    let node = std::env::var("POSTRIDER_TEST_CQL").ok();
    let insists = std::env::var("POSTRIDER_REQUIRE_CLUSTER").is_ok_and(|value| value == "1");
    assert!(
        node.is_some() || !insists,
        "POSTRIDER_TEST_CQL names no node, and POSTRIDER_REQUIRE_CLUSTER=1 insists on one"
    );
    if node.is_none() {
        eprintln!(
            "left out: POSTRIDER_TEST_CQL names no Cassandra or ScyllaDB (make test starts one)"
        );
    }
    node
}

/// A keyspace of its own, dropped with its value.
pub(crate) struct Keyspace {
    pub(crate) settings: Settings,
}

impl Keyspace {
    /// Makes a keyspace with its tables.
    pub(crate) async fn make(node: &str) -> Self {
        let name = format!("it_{}", uuid::Uuid::new_v4().simple());
        let mut settings = Settings::new(vec![node.to_owned()], name);
        settings.replication_factor = 1;
        settings.allow_few_replicas = true;
        migrate(&settings, &SystemClock::new(), &SystemRng::new()).await.expect("migrate");
        Self { settings }
    }

    pub(crate) async fn connect(&self, clock: Arc<dyn Clock>) -> Scylla {
        Scylla::connect(&self.settings, clock).await.expect("connect")
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        let settings = self.settings.clone();
        // On a thread of its own: the test's runtime may be ending.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(drop_keyspace(&settings))
        });
        if let Err(error) = dropping.join().expect("no panic") {
            eprintln!("a test's keyspace stays: {error}");
        }
    }
}
