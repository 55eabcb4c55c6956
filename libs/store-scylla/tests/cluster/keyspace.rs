//! The node that the test runner started, and keyspaces on it.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the runner's environment and say what they leave out"
)]

use std::sync::{Arc, Mutex, PoisonError};

use ports::{Clock, Rng as _};
use postrider_store_scylla::testing::empty_keyspace;
use postrider_store_scylla::{Scylla, Settings, migrate};
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

/// Keyspaces that no test uses any more.
static FREE: Mutex<Vec<Settings>> = Mutex::new(Vec::new());

/// A keyspace of its own, empty; free for another test once its value is dropped.
pub(crate) struct Keyspace {
    pub(crate) settings: Settings,
}

impl Keyspace {
    /// Takes a keyspace that is free, or makes one with its tables.
    pub(crate) async fn make(node: &str) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(settings) = free {
            empty_keyspace(&settings).await.expect("empty");
            return Self { settings };
        }
        let settings = new_settings(node);
        migrate(&settings, &SystemClock::new(), &SystemRng::new()).await.expect("migrate");
        Self { settings }
    }

    pub(crate) async fn connect(&self, clock: Arc<dyn Clock>) -> Scylla {
        Scylla::connect(&self.settings, clock).await.expect("connect")
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.settings.clone());
    }
}

/// Settings of a keyspace that does not exist yet.
pub(crate) fn new_settings(node: &str) -> Settings {
    let name = format!("it_{}", uuid::Uuid::from_u128(SystemRng::new().next_u128()).simple());
    let mut settings = Settings::new(vec![node.to_owned()], name);
    settings.replication_factor = 1;
    settings.allow_few_replicas = true;
    settings
}

/// Whether to run the long forms (`make test-long`).
pub(crate) fn long_forms() -> bool {
    std::env::var("POSTRIDER_LONG").is_ok_and(|value| value == "1")
}

/// Says something that is to be seen although the test passes: libtest holds back what the macros print.
pub(crate) fn report(line: &str) {
    use std::io::Write;
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "cluster: {line}");
}
