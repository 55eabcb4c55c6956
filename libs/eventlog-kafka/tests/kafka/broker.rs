//! The broker that the test runner started, and topics of one test.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the runner's environment and say what they leave out"
)]

use std::sync::Arc;

use ports::{Clock, Rng as _};
use postrider_eventlog_kafka::{Kafka, OpenError, Settings, migrate};
use runtime::{SystemClock, SystemRng};

/// The broker that the runner names; none: the test is left out, unless the runner insists.
pub(crate) fn broker() -> Option<String> {
    let broker = std::env::var("POSTRIDER_TEST_KAFKA").ok();
    let insists = std::env::var("POSTRIDER_REQUIRE_CLUSTER").is_ok_and(|value| value == "1");
    assert!(
        broker.is_some() || !insists,
        "POSTRIDER_TEST_KAFKA names no broker, and POSTRIDER_REQUIRE_CLUSTER=1 insists on one"
    );
    if broker.is_none() {
        eprintln!("left out: POSTRIDER_TEST_KAFKA names no Apache Kafka (make test starts one)");
    }
    broker
}

/// Settings of topics that no other test has, for one broker.
pub(crate) fn settings(broker: &str) -> Settings {
    let prefix = format!("test-{:032x}", SystemRng::new().next_u128());
    let mut settings = Settings::new(vec![broker.to_owned()], prefix);
    settings.partitions = 2;
    settings.replication_factor = 1;
    settings.allow_few_replicas = true;
    settings.session_timeout = std::time::Duration::from_secs(6);
    settings
}

/// Makes the topics.
pub(crate) async fn made(settings: Settings) -> Settings {
    migrate(&settings).await.expect("topics");
    settings
}

pub(crate) async fn connect(settings: &Settings, clock: Arc<dyn Clock>) -> Kafka {
    Kafka::connect(settings, clock).await.expect("connect")
}

/// Why the log is not opened, and the one line that says so.
pub(crate) async fn refusal(settings: &Settings) -> (OpenError, String) {
    let Err(error) = Kafka::connect(settings, Arc::new(SystemClock::new())).await else {
        panic!("the log was opened");
    };
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    (error, line)
}
