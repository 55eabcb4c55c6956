//! Three brokers of a scenario's own, to be killed and started again.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use tempfile::TempDir;
use tokio::fs;
use tokio::process::{Child, Command};

use crate::until;

/// The runner's script that runs a broker; none where it was left out.
const SCRIPT: &str = "POSTRIDER_KAFKA";
/// What one logs once it serves.
const STARTED: &str = "Kafka Server started";
const COUNT: usize = 3;

/// Three brokers that are one cluster: topics have three copies, of which two must be there. Killed when dropped.
pub struct Brokers {
    dir: TempDir,
    /// Each one's number and the address of its controller, as the script wants them.
    cluster: String,
    children: [Option<Child>; COUNT],
}

impl Brokers {
    /// Starts them; none where the runner has no script.
    ///
    /// # Errors
    /// When one does not serve in time.
    pub async fn start() -> Result<Option<Self>> {
        if env::var_os(SCRIPT).is_none() {
            return Ok(None);
        }
        // Held together, so that they differ.
        let held: Vec<TcpListener> =
            (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let mut voters = Vec::new();
        for (number, listener) in (1..).zip(&held) {
            voters.push(format!("{number}@{}", listener.local_addr()?));
        }
        drop(held);
        let dir = TempDir::new().context("a directory for the brokers")?;
        let mut brokers = Self { dir, cluster: voters.join(","), children: [None, None, None] };
        brokers.start_again(&[1, 2, 3]).await?;
        Ok(Some(brokers))
    }

    /// Starts some on what they left, with the same ports, and waits until they serve. Their numbers begin at 1.
    ///
    /// # Errors
    /// When one does not serve in time.
    pub async fn start_again(&mut self, numbers: &[usize]) -> Result<()> {
        for number in numbers {
            let child = self.run(*number).await?;
            *self.child(*number)? = Some(child);
        }
        let serve = numbers.iter().map(|number| self.serves(*number));
        try_join_all(serve).await.map(drop)
    }

    async fn run(&self, number: usize) -> Result<Child> {
        let script = env::var_os(SCRIPT).context("the runner's script")?;
        let dir = self.dir_of(number);
        fs::create_dir_all(&dir).await?;
        // The script begins it anew, but not at once.
        let _ = fs::remove_file(dir.join("kafka.log")).await;
        let said = std::fs::File::create(dir.join("start.log"))?;
        Command::new(script)
            .arg(&dir)
            .env("POSTRIDER_KAFKA_CLUSTER", &self.cluster)
            .env("POSTRIDER_KAFKA_NODE", number.to_string())
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .context("starting Kafka")
    }

    async fn serves(&self, number: usize) -> Result<()> {
        let log = self.dir_of(number).join("kafka.log");
        until(format!("broker {number} serves"), async || {
            let text = fs::read_to_string(&log).await.unwrap_or_default();
            Ok(text.contains(STARTED).then_some(()))
        })
        .await
    }

    /// Where they listen: `host:port,…`.
    ///
    /// # Errors
    /// When one has chosen no port.
    pub async fn addresses(&self) -> Result<String> {
        let mut addresses = Vec::new();
        for number in 1..=COUNT {
            let ports = fs::read_to_string(self.dir_of(number).join("ports")).await?;
            let port = ports.lines().find_map(|line| line.strip_prefix("kafka "));
            addresses.push(format!("127.0.0.1:{}", port.context("its port")?));
        }
        Ok(addresses.join(","))
    }

    /// Kills one as a power cut would, but for the disk's cache.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        let mut child = self.child(number)?.take().context("the broker runs")?;
        child.kill().await.context("killing Kafka")
    }

    fn child(&mut self, number: usize) -> Result<&mut Option<Child>> {
        self.children.get_mut(number.wrapping_sub(1)).context("there are three brokers")
    }

    fn dir_of(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }
}
