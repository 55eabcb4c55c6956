//! Where a measured process keeps what it knows: a directory of its own, and topics of its own where its log is on Kafka.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use eventlog_kafka::{Kafka, Settings};
use ports::{Clock, EventLog};
use runtime::SystemClock;
use tempfile::TempDir;
use tokio::process::Command;

/// Which log a process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Log<'a> {
    /// The one in its directory.
    Embedded,
    /// The one on this broker (`host:port`).
    Kafka(&'a str),
}

/// The directory is removed at the end; topics stay for as long as their broker.
pub(crate) struct Place {
    dir: TempDir,
    kafka: Option<Settings>,
}

impl Place {
    /// A fresh one; topics are made by the product, as an operator makes them.
    pub(crate) async fn new(binary: &Path, log: Log<'_>) -> Result<Self> {
        let dir = TempDir::new().context("a directory for the data")?;
        let kafka = match log {
            Log::Embedded => None,
            Log::Kafka(broker) => Some(settings(broker)),
        };
        let place = Self { dir, kafka };
        if place.kafka.is_some() {
            let mut migrate = Command::new(binary);
            migrate.args(["migrate", "--data-dir"]).arg(place.dir.path()).envs(place.variables());
            let made = migrate.output().await.context("postrider migrate")?;
            let said = String::from_utf8_lossy(&made.stderr);
            ensure!(made.status.success(), "postrider migrate: {said}");
        }
        Ok(place)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration of a process that works here.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let of_kafka = |kafka: &Settings| {
            vec![
                ("POSTRIDER_LOG", "kafka".to_owned()),
                ("POSTRIDER_KAFKA__BROKERS", kafka.brokers.join(",")),
                ("POSTRIDER_KAFKA__TOPIC_PREFIX", kafka.topic_prefix.clone()),
                ("POSTRIDER_KAFKA__PARTITIONS", kafka.partitions.to_string()),
                ("POSTRIDER_KAFKA__REPLICATION_FACTOR", kafka.replication_factor.to_string()),
                ("POSTRIDER_KAFKA__ALLOW_FEW_REPLICAS", kafka.allow_few_replicas.to_string()),
            ]
        };
        self.kafka.as_ref().map(of_kafka).unwrap_or_default()
    }

    /// Gives its log to `write`, while no process works here.
    pub(crate) async fn with_log<T>(
        &self,
        write: impl AsyncFnOnce(&dyn EventLog) -> Result<T>,
    ) -> Result<T> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        if let Some(settings) = &self.kafka {
            let kafka = Kafka::connect(settings, clock).await?;
            return write(&*kafka.log()).await;
        }
        let files = embedded::Embedded::open(self.dir.path(), embedded::Options::new(clock))?;
        let written = write(&*files.log()).await;
        files.close().await;
        written
    }
}

/// Topics on one broker: what an append waits for beyond it is the network's and other machines' cost.
fn settings(broker: &str) -> Settings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut settings =
        Settings::new(vec![broker.to_owned()], format!("load-{}-{number}", std::process::id()));
    settings.replication_factor = 1;
    settings.allow_few_replicas = true;
    settings
}
