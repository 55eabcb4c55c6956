//! A keyspace of a scenario's own, where the scenarios run on the store of a cluster.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Which store the scenarios run on: `scylla`, or the embedded one.
const STORE: &str = "POSTRIDER_E2E_STORE";
/// The node that the test runner started: `host:port`.
const NODE: &str = "POSTRIDER_TEST_CQL";

/// Keyspaces that no scenario uses any more. A scenario empties the one that it takes: making and dropping tables costs a node far more.
static FREE: Mutex<Vec<store_scylla::Settings>> = Mutex::new(Vec::new());

/// A keyspace; free for another scenario once its value is dropped.
pub(crate) struct Keyspace {
    settings: store_scylla::Settings,
    is_shared: bool,
}

impl Keyspace {
    /// The keyspace of a new scenario; none where scenarios run on the embedded store.
    ///
    /// # Errors
    /// When the runner asks for a cluster and names no node, or the node does not answer.
    pub(crate) async fn of_scenario() -> Result<Option<Self>> {
        if env::var(STORE).is_ok_and(|store| store == "scylla") {
            let node = env::var(NODE).with_context(|| {
                format!("{STORE}=scylla needs {NODE}=host:port (make test starts a node)")
            })?;
            let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
            if let Some(settings) = free {
                store_scylla::testing::empty_keyspace(&settings)
                    .await
                    .context("emptying a keyspace")?;
                return Ok(Some(Self { settings, is_shared: true }));
            }
            let mut new = Self::on(node);
            new.is_shared = true;
            return Ok(Some(new));
        }
        Ok(None)
    }

    /// A keyspace on the runner's node, not made yet; none when it names none.
    pub(crate) fn of_runner() -> Option<Self> {
        env::var(NODE).ok().map(Self::on)
    }

    /// A keyspace on a node, not made yet.
    pub(crate) fn on(node: String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{number}", std::process::id());
        let settings = store_scylla::Settings::new(vec![node], name);
        Self { settings, is_shared: false }
    }

    /// The configuration of a process that uses it.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("POSTRIDER_STORE", "scylla".to_owned()),
            ("POSTRIDER_SCYLLA__NODES", self.settings.nodes.join(",")),
            ("POSTRIDER_SCYLLA__KEYSPACE", self.settings.keyspace.clone()),
            ("POSTRIDER_SCYLLA__REPLICATION_FACTOR", "1".to_owned()),
            ("POSTRIDER_SCYLLA__ALLOW_FEW_REPLICAS", "true".to_owned()),
        ]
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        if self.is_shared {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.push(self.settings.clone());
        }
    }
}
