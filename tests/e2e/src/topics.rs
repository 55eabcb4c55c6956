//! Topics of a scenario's own, where the scenarios run on Kafka.

use std::env;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};

/// Which log the scenarios run on: `kafka`, or the embedded one.
const LOG: &str = "POSTRIDER_E2E_LOG";
/// The broker that the test runner started: `host:port`.
const BROKER: &str = "POSTRIDER_TEST_KAFKA";

/// Partitions of a scenario's events.
pub(crate) const PARTITIONS: usize = 4;

/// The topics of one scenario. They stay: their broker lives as long as the test run.
pub(crate) struct Topics {
    broker: String,
    prefix: String,
    /// Copies of each topic.
    copies: usize,
}

impl Topics {
    /// The topics of a new scenario, not made yet; none where scenarios run on the embedded log.
    ///
    /// # Errors
    /// When the runner asks for Kafka and names no broker.
    pub(crate) fn of_scenario() -> Result<Option<Self>> {
        if env::var(LOG).is_ok_and(|log| log == "kafka") {
            let broker = env::var(BROKER).with_context(|| {
                format!("{LOG}=kafka needs {BROKER}=host:port (make test starts a broker)")
            })?;
            return Ok(Some(Self::on(broker)));
        }
        Ok(None)
    }

    /// Topics on the runner's broker, not made yet; none when it names none.
    pub(crate) fn of_runner() -> Option<Self> {
        env::var(BROKER).ok().map(Self::on)
    }

    /// Topics of three copies on several brokers, not made yet.
    pub(crate) fn on_brokers(brokers: String) -> Self {
        Self { copies: 3, ..Self::on(brokers) }
    }

    /// The broker, and the topic of events.
    pub(crate) fn events(&self) -> (String, String) {
        (self.broker.clone(), format!("{}.events", self.prefix))
    }

    /// Topics on a broker, not made yet.
    fn on(broker: String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { broker, prefix: format!("e2e-{}-{number}", std::process::id()), copies: 1 }
    }

    /// The configuration of a process that uses them. Keys lie in the scenario's directory, which its processes share.
    pub(crate) fn variables(&self, data_dir: &Path) -> [(&'static str, String); 8] {
        [
            ("POSTRIDER_LOG", "kafka".to_owned()),
            ("POSTRIDER_KAFKA__BROKERS", self.broker.clone()),
            ("POSTRIDER_KAFKA__TOPIC_PREFIX", self.prefix.clone()),
            ("POSTRIDER_KAFKA__PARTITIONS", PARTITIONS.to_string()),
            ("POSTRIDER_KAFKA__REPLICATION_FACTOR", self.copies.to_string()),
            ("POSTRIDER_KAFKA__ALLOW_FEW_REPLICAS", (self.copies < 3).to_string()),
            ("POSTRIDER_KAFKA__SESSION_TIMEOUT", "6s".to_owned()),
            ("POSTRIDER_SECRETS__KEY_FILE", data_dir.join("keys").display().to_string()),
        ]
    }
}
