//! Whether a process can do its work, and why it cannot.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use control_plane::server::Readiness;
use delivery_worker::Alarms;
use embedded::{Embedded, Health};
use eventlog_kafka::Kafka;
use ports::Clock as _;
use runtime::{Shutdown, SystemClock};
use tokio::sync::watch;

/// Why a process is degraded whose network is at fault.
const EGRESS_DEGRADED: &str =
    "egress.degraded: most endpoints cannot be reached; check DNS and the network of this process";
/// How often the adapters are asked.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// The adapters that this process has.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) embedded: Option<Arc<Embedded>>,
    pub(super) kafka: Option<Arc<Kafka>>,
    pub(super) scylla: Option<Arc<store_scylla::Store>>,
}

/// Tells readiness whenever it changes, until the shutdown.
pub(super) async fn watch(
    watched: Watched,
    clock: Arc<SystemClock>,
    alarms: Option<Alarms>,
    tell: watch::Sender<Readiness>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = clock.sleep(HEALTH_EVERY) => {}
        }
        let mut now = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            now = watched.health() => now,
        };
        if let Some(alarms) = &alarms {
            // Traffic is still wanted: the log takes events, and they are delivered once the cause is gone.
            now.reasons.extend(degraded(alarms));
        }
        tell.send_if_modified(|before| {
            let changed = before.ready != now.ready;
            if changed {
                watched.say(&now);
            }
            *before = now;
            changed
        });
    }
}

fn degraded(alarms: &Alarms) -> Vec<String> {
    let mut reasons = Vec::new();
    if *alarms.egress_degraded.borrow() {
        reasons.push(EGRESS_DEGRADED.to_owned());
    }
    let stopped: Vec<String> =
        alarms.stopped_shards.borrow().iter().map(|shard| shard.0.to_string()).collect();
    if !stopped.is_empty() {
        let shards = stopped.join(", ");
        reasons.push(format!("shards.stopped: most records of shard(s) {shards} are no events; correct their producer, then restart"));
    }
    reasons
}

impl Watched {
    /// Says once that readiness has changed: a file that failed wants a person, a cluster that is away comes back by itself.
    fn say(&self, now: &Readiness) {
        let reason = now.reasons.join(", ");
        let has_failed = self.embedded.as_ref().is_some_and(|files| files.health() != Health::Ok);
        if has_failed {
            tracing::error!(
                reason,
                "the store has failed; restart the process when its cause is gone"
            );
        } else if now.ready {
            tracing::info!("ready again");
        } else {
            tracing::warn!(reason, "not ready");
        }
    }

    /// Whether the log takes writes and the store answers.
    async fn health(&self) -> Readiness {
        match self.embedded.as_ref().map(|files| files.health()) {
            None | Some(Health::Ok) => {}
            Some(Health::Damaged { file, reason }) => {
                return Readiness::not_ready(format!("{file}: {reason}"));
            }
            Some(Health::Failed { file, reason }) => {
                return Readiness::not_ready(format!("{file} takes no writes any more: {reason}"));
            }
        }
        let log = async {
            match &self.kafka {
                Some(kafka) => kafka.ping().await,
                None => Ok(()),
            }
        };
        let store = async {
            match &self.scylla {
                Some(store) => store.ping().await,
                None => Ok(()),
            }
        };
        let (log, store) = tokio::join!(log, store);
        let mut reasons = Vec::new();
        if let Err(error) = log {
            let cause = cause(&error);
            reasons.push(format!("the event log does not answer ({cause}): nothing is published or delivered until it does"));
        }
        if let Err(error) = store {
            let cause = cause(&error);
            reasons.push(format!(
                "the store does not answer ({cause}): deliveries wait until it does"
            ));
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }
}

fn cause(error: &ports::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
