//! Whether a process can do its work, and why it cannot.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use control_plane::server::Readiness;
use delivery_worker::{Alarms, Membership, Progress};
use domain::Shard;
use embedded::{Embedded, Health};
use eventlog_kafka::Kafka;
use ports::Clock as _;
use runtime::{Shutdown, SystemClock};
use tokio::sync::watch;

/// Why a process is degraded whose network is at fault.
const EGRESS_DEGRADED: &str =
    "egress.degraded: most endpoints cannot be reached; check DNS and the network of this process";
/// Why a process that only delivers is not ready yet: a rolling restart goes on to the next one once this one delivers.
pub(super) const NO_SHARDS_YET: &str =
    "shards.waiting: the group of the delivery workers has not given this one a shard yet";
/// How often the adapters are asked.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// The adapters that this process has.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) embedded: Option<Arc<Embedded>>,
    pub(super) kafka: Option<Arc<Kafka>>,
    pub(super) scylla: Option<Arc<store_scylla::Store>>,
    /// Whether the process answers calls besides: then they are wanted, whether it delivers yet or not.
    pub(super) has_api: bool,
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
            if waits_for_shards(&alarms.progress.borrow()) {
                now.ready &= watched.has_api;
                now.reasons.push(NO_SHARDS_YET.to_owned());
            }
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
    let stopped: BTreeSet<Shard> = alarms.stopped_shards.borrow().clone();
    if !stopped.is_empty() {
        let shards = listed(stopped.iter());
        reasons.push(format!("shards.stopped: most records of shard(s) {shards} are no events; correct their producer, then restart"));
    }
    let progress = alarms.progress.borrow();
    if let Some(cause) = &progress.unreadable {
        reasons
            .push(format!("the event log cannot be read ({cause}): deliveries wait until it can"));
    }
    reasons.extend(stalled(&progress, &stopped));
    reasons
}

/// The shards that stand still, but for those of which a better reason is known.
fn stalled(progress: &Progress, stopped: &BTreeSet<Shard>) -> Option<String> {
    let still = progress.shards.iter().filter(|(_, lag)| lag.stalled.is_some());
    let still: Vec<_> = still.filter(|(shard, _)| !stopped.contains(shard)).collect();
    let longest = still.iter().filter_map(|(_, lag)| lag.stalled).max()?.as_secs();
    let records: u64 = still.iter().map(|(_, lag)| lag.records).sum();
    let shards = listed(still.iter().map(|(shard, _)| *shard));
    Some(format!(
        "shards.stalled: the position of shard(s) {shards} has not moved for {longest} s, with up to {records} record(s) behind it; the worker's last warnings say what the store or the log refuses"
    ))
}

fn listed<'a>(shards: impl Iterator<Item = &'a Shard>) -> String {
    let numbers: Vec<String> = shards.map(|shard| shard.0.to_string()).collect();
    numbers.join(", ")
}

/// Whether it is not known yet what the group gives this worker.
fn waits_for_shards(progress: &Progress) -> bool {
    match progress.membership {
        Membership::Joining | Membership::Waiting => true,
        Membership::Owner | Membership::Spare => false,
    }
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
            tracing::info!("ready");
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
        // Partitions that have their copies take events all the while: calls are still wanted.
        let unconfirmed = self.kafka.as_ref().and_then(|kafka| kafka.unconfirmed());
        let mut reasons: Vec<String> = unconfirmed.map(unconfirmed_events).into_iter().collect();
        let mut ready = true;
        if let Err(error) = log {
            let cause = cause(&error);
            reasons.push(format!("the event log does not answer ({cause}): nothing is published or delivered until it does"));
            ready = false;
        }
        if let Err(error) = store {
            let cause = cause(&error);
            reasons.push(format!(
                "the store does not answer ({cause}): deliveries wait until it does"
            ));
            ready = false;
        }
        Readiness { ready, reasons }
    }
}

fn unconfirmed_events((records, cause): (u64, String)) -> String {
    format!(
        "log.unconfirmed: the brokers did not confirm the last {records} record(s) ({cause}); see whether all brokers run, and the copies in sync with kafka-topics --describe --unavailable-partitions"
    )
}

fn cause(error: &ports::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use delivery_worker::ShardLag;

    use super::*;

    fn lag(records: u64, stalled: Option<u64>) -> ShardLag {
        let stalled = stalled.map(Duration::from_secs);
        ShardLag { records, age: Duration::ZERO, stalled }
    }

    #[test]
    fn shards_that_stand_still_are_named_once_with_what_waits_behind_them() {
        let mut progress = Progress::default();
        progress.shards.insert(Shard(1), lag(9, None));
        assert_eq!(stalled(&progress, &BTreeSet::new()), None);
        for (shard, since) in [(3, 120), (4, 300), (5, 130)] {
            progress.shards.insert(Shard(shard), lag(2, Some(since)));
        }
        let said = stalled(&progress, &[Shard(5)].into()).unwrap();
        assert!(
            said.contains("shard(s) 3, 4 has not moved for 300 s, with up to 4 record(s)"),
            "{said}"
        );
    }

    #[test]
    fn a_worker_waits_until_the_group_has_given_it_a_shard_or_has_none_for_it() {
        let of = |membership| Progress { membership, ..Progress::default() };
        assert!(waits_for_shards(&of(Membership::Joining)));
        assert!(waits_for_shards(&of(Membership::Waiting)));
        assert!(!waits_for_shards(&of(Membership::Owner)));
        assert!(!waits_for_shards(&of(Membership::Spare)));
    }
}
