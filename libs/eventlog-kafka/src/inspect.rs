//! What is unsafe about the topics, and about the group that reads them: for `postrider doctor`.

mod clock;
mod group;
mod session;

use std::time::Duration;

use domain::Timestamp;
use rdkafka::error::KafkaError;

use crate::error::OpenError;
use crate::settings::Settings;
use crate::topics::{self, Admin, Topic, Wanted};

pub use clock::broker_time;

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, and is still unsafe.
    Warn,
    /// Loses events, or does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub what: String,
    /// What is wrong and how to mend it; empty when nothing is.
    pub problem: String,
}

/// Events that are replayed may be this old: what the log has to keep (`spec.md`: 7 days, and a day for the one who looks late).
const REPLAY_WINDOW: Duration = Duration::from_secs(8 * 24 * 3_600);

/// Looks at every topic.
///
/// # Errors
/// When the brokers cannot be asked at all.
pub async fn inspect(settings: &Settings) -> Result<Vec<Finding>, OpenError> {
    let admin = Admin::new(settings)?;
    let mut findings = Vec::new();
    for wanted in topics::wanted(settings) {
        let found = describe(settings, &wanted.name, &mut findings).await?;
        let Some(topic) = found else { continue };
        let mut look = Look { settings, admin: &admin, name: &wanted.name, findings };
        let holds_events = wanted.name == settings.events();
        look.topic(&topic, holds_events).await;
        if holds_events {
            look.partitions(&topic, &wanted);
        }
        findings = look.findings;
    }
    for source in &settings.topics {
        let found = describe(settings, &source.topic, &mut findings).await?;
        let Some(topic) = found else { continue };
        let mut look = Look { settings, admin: &admin, name: &source.topic, findings };
        look.topic(&topic, true).await;
        findings = look.findings;
    }
    Ok(findings)
}

/// Looks at the workers' group: its lag by shard, its members and sessions, topics that it has read and that nobody names any more.
///
/// # Errors
/// When the brokers cannot be asked at all.
pub async fn inspect_group(
    settings: &Settings,
    group: &str,
    now: Timestamp,
) -> Result<Vec<Finding>, OpenError> {
    let failed = |error: KafkaError| OpenError::Call {
        what: format!("say how far group {group} has come"),
        reason: error.to_string(),
    };
    let (asked, name) = (settings.clone(), group.to_owned());
    let looked = tokio::task::spawn_blocking(move || {
        group::Look::new(&asked, &name).and_then(|look| look.findings(now))
    });
    let looked = looked.await.map_err(|error| OpenError::Call {
        what: "answer".to_owned(),
        reason: error.to_string(),
    })?;
    let mut findings = looked.map_err(failed)?;
    let admin = Admin::new(settings)?;
    findings.push(session::look(settings, &admin).await.map_err(failed)?);
    Ok(findings)
}

/// A topic as it is; none when that is a finding of its own.
async fn describe(
    settings: &Settings,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<Option<Topic>, OpenError> {
    match topics::look(settings, name).await {
        Ok(topic) => Ok(Some(topic)),
        Err(error @ (OpenError::NoTopic { .. } | OpenError::Rights { .. })) => {
            findings.push(Finding {
                severity: Severity::Fail,
                what: format!("topic {name}"),
                problem: error.to_string(),
            });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

struct Look<'a> {
    settings: &'a Settings,
    admin: &'a Admin,
    name: &'a str,
    findings: Vec<Finding>,
}

impl Look<'_> {
    async fn topic(&mut self, topic: &Topic, holds_events: bool) {
        self.tell("exists", Severity::Ok, String::new());
        self.replicas(topic, holds_events).await;
        if holds_events {
            self.settings_of_events().await;
        }
    }

    /// Others than the configuration says: workers beyond that many have nothing to do, and whoever adds some by hand moves keys.
    fn partitions(&mut self, topic: &Topic, wanted: &Wanted) {
        let (is, wanted) = (topic.partitions, wanted.partitions);
        if is == wanted {
            self.tell("partitions", Severity::Ok, String::new());
            return;
        }
        let problem = if is < wanted {
            format!(
                "{is}, and kafka.partitions is {wanted}: more than {is} workers have nothing to do. Set kafka.partitions = {is}, or add partitions while nothing \
                 is published: keys move to others, and the order of a key's events is not kept over that moment"
            )
        } else {
            format!("{is}, and kafka.partitions is {wanted}: set kafka.partitions = {is}")
        };
        self.tell("partitions", Severity::Warn, problem);
    }

    async fn replicas(&mut self, topic: &Topic, holds_events: bool) {
        let name = self.name;
        let bad = if holds_events && !self.settings.allow_few_replicas {
            Severity::Fail
        } else {
            Severity::Warn
        };
        let (replicas, in_sync) = (topic.replicas, topic.in_sync);
        if replicas < 3 {
            self.tell("replicas", bad, format!("{replicas} of each partition: the loss of one broker stops or loses events; kafka-reassign-partitions to 3"));
        } else if in_sync < replicas {
            self.tell(
                "replicas",
                Severity::Warn,
                format!("{in_sync} of {replicas} are in sync: a broker is away or slow"),
            );
        } else {
            self.tell("replicas", Severity::Ok, String::new());
        }
        let safe = |value: &str| value.parse().is_ok_and(|in_sync: u16| in_sync >= 2);
        let mend = format!(
            "set it to 2, since with 1 an acknowledged event is on one broker: kafka-configs --alter --entity-type topics --entity-name {name} --add-config min.insync.replicas=2"
        );
        self.setting("min.insync.replicas", safe, bad, &mend).await;
    }

    async fn settings_of_events(&mut self) {
        let name = self.name;
        let alter = |setting: &str| {
            format!(
                "kafka-configs --alter --entity-type topics --entity-name {name} --add-config {setting}"
            )
        };
        self.setting(
            "cleanup.policy",
            |value| value == "delete",
            Severity::Fail,
            &format!(
                "events that share a key would be removed: {}",
                alter("cleanup.policy=delete")
            ),
        )
        .await;
        self.setting(
            "message.timestamp.type",
            |value| value == "LogAppendTime",
            Severity::Warn,
            &format!(
                "producers' clocks decide what a replay of a time range finds: {}",
                alter("message.timestamp.type=LogAppendTime")
            ),
        )
        .await;
        self.setting(
            "unclean.leader.election.enable",
            |value| value == "false",
            Severity::Fail,
            &format!(
                "acknowledged events may be lost: {}",
                alter("unclean.leader.election.enable=false")
            ),
        )
        .await;
        let long = |value: &str| {
            value.parse().is_ok_and(|ms: i64| {
                ms < 0 || u128::from(ms.unsigned_abs()) >= REPLAY_WINDOW.as_millis()
            })
        };
        let retention = format!("retention.ms={}", REPLAY_WINDOW.as_millis());
        self.setting(
            "retention.ms",
            long,
            Severity::Warn,
            &format!(
                "shorter than what replay and catching up need (8 days): {}",
                alter(&retention)
            ),
        )
        .await;
        self.setting(
            "retention.bytes",
            |value| value == "-1",
            Severity::Warn,
            "events may go before their time is over: unset it, or watch that it never binds",
        )
        .await;
        self.setting(
            "max.message.bytes",
            |value| value.parse().is_ok_and(|bytes: usize| bytes >= crate::RECORD_BYTES_MAX),
            Severity::Fail,
            &format!("large events are refused: {}", alter("max.message.bytes=1048588")),
        )
        .await;
    }

    async fn setting(
        &mut self,
        setting: &str,
        is_safe: impl Fn(&str) -> bool,
        bad: Severity,
        mend: &str,
    ) {
        let found: Result<Option<String>, KafkaError> =
            self.admin.setting(self.name, setting).await;
        match found {
            Ok(Some(value)) if is_safe(&value) => self.tell(setting, Severity::Ok, String::new()),
            Ok(Some(value)) => self.tell(setting, bad, format!("is {value}; {mend}")),
            Ok(None) => {
                self.tell(
                    setting,
                    Severity::Warn,
                    "cannot be read: grant DESCRIBE_CONFIGS on the topic".to_owned(),
                );
            }
            Err(error) => self.tell(setting, Severity::Warn, format!("cannot be read: {error}")),
        }
    }

    fn tell(&mut self, what: &str, severity: Severity, problem: String) {
        let what = format!("topic {} {what}", self.name);
        self.findings.push(Finding { severity, what, problem });
    }
}
