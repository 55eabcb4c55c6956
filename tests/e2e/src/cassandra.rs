//! A Cassandra node of a scenario's own, to be killed, frozen and started again.

use std::env;
use std::fs::File;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::fs;
use tokio::process::{Child, Command};

use crate::until;

/// The runner's script that runs a node; none where it was left out.
const SCRIPT: &str = "POSTRIDER_CASSANDRA";
/// What it logs once it serves.
const STARTED: &str = "Startup complete";
/// What it logs once the first login works.
const SUPERUSER: &str = "Created default superuser role";

/// A node; killed when dropped.
pub struct Cassandra {
    dir: TempDir,
    child: Option<Child>,
    /// Whether it asks for a login.
    auth: &'static str,
}

impl Cassandra {
    /// Starts a node that keeps what it acknowledged over SIGKILL, without a login; none where the runner has none.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start() -> Result<Option<Self>> {
        Self::start_with("none").await
    }

    /// Starts a node that asks for a login (`cassandra`, `cassandra`).
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start_with_login() -> Result<Option<Self>> {
        Self::start_with("password").await
    }

    async fn start_with(auth: &'static str) -> Result<Option<Self>> {
        if env::var_os(SCRIPT).is_none() {
            return Ok(None);
        }
        let dir = TempDir::new().context("a directory for the node")?;
        let mut node = Self { dir, child: None, auth };
        node.start_again().await?;
        Ok(Some(node))
    }

    /// Starts it on what it left, with the same ports, and waits until it serves.
    ///
    /// # Errors
    /// When it does not serve in time.
    pub async fn start_again(&mut self) -> Result<()> {
        let script = env::var_os(SCRIPT).context("the runner's script")?;
        let log = self.dir.path().join("cassandra.log");
        let is_new = !self.dir.path().join("ports").exists();
        // The script begins it anew, but not at once.
        let _ = fs::remove_file(&log).await;
        let said = File::create(self.dir.path().join("start.log"))?;
        let child = Command::new(script)
            .arg(self.dir.path())
            .env("POSTRIDER_CASSANDRA_SYNC", "batch")
            .env("POSTRIDER_CASSANDRA_AUTH", self.auth)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .context("starting Cassandra")?;
        self.child = Some(child);
        let wants_superuser = is_new && self.auth == "password";
        until("Cassandra serves", async || {
            let text = fs::read_to_string(&log).await.unwrap_or_default();
            let serves = text.contains(STARTED) && (!wants_superuser || text.contains(SUPERUSER));
            Ok(serves.then_some(()))
        })
        .await
    }

    /// Where it listens: `host:port`.
    ///
    /// # Errors
    /// When it has chosen no port.
    pub async fn address(&self) -> Result<String> {
        let ports = fs::read_to_string(self.dir.path().join("ports")).await.context("its ports")?;
        let port = ports.lines().find_map(|line| line.strip_prefix("cql ")).context("its port")?;
        Ok(format!("127.0.0.1:{port}"))
    }

    /// Kills it as a power cut would, but for the disk's cache.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the node runs")?;
        child.kill().await.context("killing Cassandra")
    }

    /// Sends a signal by name (`STOP`, `CONT`).
    ///
    /// # Errors
    /// When it is not running.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.as_ref().and_then(Child::id).context("the node runs")?;
        let status =
            Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await?;
        ensure!(status.success(), "kill -{name} {id}: {status}");
        Ok(())
    }
}
