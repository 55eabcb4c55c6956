//! A keyspace of a scenario's own, where the scenarios run on the store of a cluster.

use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Which store the scenarios run on: `scylla`, or the embedded one.
const STORE: &str = "POSTRIDER_E2E_STORE";
/// The node that the test runner started: `host:port`.
const NODE: &str = "POSTRIDER_TEST_CQL";

/// A keyspace; dropped with its value, so that a whole run fits one small node.
pub(crate) struct Keyspace {
    settings: store_scylla::Settings,
}

impl Keyspace {
    /// The keyspace of a new scenario; none where scenarios run on the embedded store.
    ///
    /// # Errors
    /// When the runner asks for a cluster and names no node.
    pub(crate) fn of_scenario() -> Result<Option<Self>> {
        if env::var(STORE).is_ok_and(|store| store == "scylla") {
            let node = env::var(NODE).with_context(|| {
                format!("{STORE}=scylla needs {NODE}=host:port (make test starts a node)")
            })?;
            return Ok(Some(Self::on(node)));
        }
        Ok(None)
    }

    /// A keyspace on a node, not made yet.
    pub(crate) fn on(node: String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e_{}_{number}", std::process::id());
        Self { settings: store_scylla::Settings::new(vec![node], name) }
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

    /// Makes keyspace and tables as an operator does.
    pub(crate) async fn migrate(&self, mut postrider: Command, data_dir: &Path) -> Result<()> {
        let command = postrider.arg("migrate").arg("--data-dir").arg(data_dir);
        let output = command.envs(self.variables()).output().await.context("postrider migrate")?;
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "postrider migrate: {out}{err}");
        Ok(())
    }
}

impl Drop for Keyspace {
    #[expect(clippy::print_stderr, reason = "what stays behind is said")]
    fn drop(&mut self) {
        let settings = self.settings.clone();
        // On a thread of its own: the scenario's runtime may be ending.
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            anyhow::Ok(runtime.block_on(store_scylla::drop_keyspace(&settings))?)
        });
        match dropping.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("a scenario's keyspace stays: {error:#}"),
            Err(_) => eprintln!("a scenario's keyspace stays"),
        }
    }
}
