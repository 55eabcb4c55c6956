//! Whether the brokers let a worker be silent for as long as the settings say.

use std::time::Duration;

use rdkafka::error::KafkaResult;

use super::{Finding, Severity};
use crate::settings::{GroupProtocol, Settings};
use crate::topics::Admin;

/// The brokers' own with KIP-848.
const SESSION: &str = "group.consumer.session.timeout.ms";
/// What members of the classic protocol may ask for.
const SHORTEST: &str = "group.min.session.timeout.ms";
const LONGEST: &str = "group.max.session.timeout.ms";

pub(super) async fn look(settings: &Settings, admin: &Admin) -> KafkaResult<Finding> {
    let what = format!("kafka.session_timeout = {:?}", settings.session_timeout);
    let brokers = admin.brokers().await?;
    let mut problem = None;
    for broker in brokers {
        let asked = async |name: &str| -> KafkaResult<Option<Duration>> {
            let value = admin.broker_setting(broker, name).await?;
            Ok(value.and_then(|ms| ms.parse().ok()).map(Duration::from_millis))
        };
        problem = match settings.group_protocol {
            GroupProtocol::Classic => {
                classic(settings.session_timeout, asked(SHORTEST).await?, asked(LONGEST).await?)
            }
            GroupProtocol::Consumer => consumer(settings.session_timeout, asked(SESSION).await?),
        };
        if problem.is_some() {
            break;
        }
    }
    let (severity, problem) = problem.unwrap_or((Severity::Ok, String::new()));
    Ok(Finding { severity, what, problem })
}

/// A lease is nine tenths of ours: where the brokers wait less, two workers send for one shard.
fn consumer(ours: Duration, theirs: Option<Duration>) -> Option<(Severity, String)> {
    let Some(theirs) = theirs else {
        let problem = format!(
            "the brokers' {SESSION} cannot be read, and with kafka.group_protocol = \"consumer\" ours must not be longer (45 s where nobody changed it): grant DESCRIBE_CONFIGS on the cluster, or look there"
        );
        return Some((Severity::Warn, problem));
    };
    let problem = format!(
        "longer than the brokers' {SESSION} = {theirs:?}, so that two workers may send for one shard: set kafka.session_timeout to {theirs:?} at most"
    );
    (ours > theirs).then_some((Severity::Fail, problem))
}

/// Where they cannot be read, the join says so.
fn classic(
    ours: Duration,
    shortest: Option<Duration>,
    longest: Option<Duration>,
) -> Option<(Severity, String)> {
    let (shortest, longest) = (shortest?, longest?);
    let problem = format!(
        "no worker may join with it: the brokers allow {shortest:?} to {longest:?} ({SHORTEST}, {LONGEST})"
    );
    (!(shortest..=longest).contains(&ours)).then_some((Severity::Fail, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_as_the_brokers_allow_it() {
        let secs = Duration::from_secs;
        let bad = |found: Option<(Severity, String)>| found.map(|(severity, _)| severity);
        assert_eq!(bad(classic(secs(10), Some(secs(6)), Some(secs(1_800)))), None);
        assert_eq!(bad(classic(secs(5), Some(secs(6)), Some(secs(1_800)))), Some(Severity::Fail));
        assert_eq!(bad(classic(secs(5), None, Some(secs(1_800)))), None);
        assert_eq!(bad(consumer(secs(45), Some(secs(45)))), None);
        assert_eq!(bad(consumer(secs(46), Some(secs(45)))), Some(Severity::Fail));
        assert_eq!(bad(consumer(secs(10), None)), Some(Severity::Warn));
    }
}
