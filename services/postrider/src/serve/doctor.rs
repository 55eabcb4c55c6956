//! `postrider doctor`: looks at a deployment, and says in one line each what is unsafe and how to mend it.

mod clocks;
mod lanes;

use std::fmt::Display;
use std::sync::Arc;

use eventlog_kafka::{Finding, Kafka, Severity};
use ports::Clock as _;
use runtime::SystemClock;
use store_scylla::Scylla;

use super::check::{open, settings};
use super::config::{LogKind, Settings, StoreKind};
use super::{StoreArgs, block_on, identity};
use crate::failure::Failure;
use crate::terminal::{Environment, Terminal, Tone};

/// Opens the data directory, reads all of it, looks at log and store, and tells what is unsafe.
pub(crate) fn doctor(
    args: &StoreArgs,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = settings(args, environment)?;
    if !settings.needs_data_dir() {
        return block_on(examine(&settings, terminal));
    }
    if !settings.data_dir.exists() {
        return Err(Failure::Other(anyhow::anyhow!(
            "there is no data directory {}: name it with --data-dir",
            settings.data_dir.display()
        )));
    }
    if identity::is_new(&settings.data_dir)? {
        // Opening it would make it one, and find that sound.
        return Err(Failure::Other(anyhow::anyhow!(
            "{} holds no data: name the data directory with --data-dir",
            settings.data_dir.display()
        )));
    }
    block_on(examine(&settings, terminal))
}

async fn examine(settings: &Settings, terminal: &Terminal) -> Result<(), Failure> {
    let mut report = Report { terminal, is_sound: true, warnings: Vec::new() };
    let keys = identity::keys(settings);
    report.tell("keys that seal secrets", keys.err().map(|error| format!("{error:#}")))?;
    let mut event_log = None;
    if settings.needs_data_dir() {
        event_log = data_dir(settings, &mut report).await?;
    }
    let mut kafka = None;
    if let LogKind::Kafka(cluster) = &settings.log {
        kafka = log(cluster, &settings.group(), &mut report).await?;
        event_log = kafka.as_ref().map(|kafka| kafka.id().to_owned());
    }
    if let StoreKind::Scylla(cluster) = &settings.store {
        store(cluster, event_log.as_deref(), kafka.as_ref(), &mut report).await?;
    }
    if let Some(kafka) = &kafka {
        kafka.close().await;
    }
    for (what, unsafe_because) in warnings(settings) {
        report.warn(what, unsafe_because);
    }
    report.end()
}

/// What was found so far: problems are told at once, what works and is still unsafe at the end.
struct Report<'a> {
    terminal: &'a Terminal,
    is_sound: bool,
    warnings: Vec<String>,
}

impl Report<'_> {
    fn tell(&mut self, what: &str, problem: Option<String>) -> Result<(), Failure> {
        let line = match problem {
            None => format!("{} {what}", self.terminal.out(Tone::Good, "ok  ")),
            Some(problem) => {
                self.is_sound = false;
                format!("{} {what}: {problem}", self.terminal.out(Tone::Bad, "FAIL"))
            }
        };
        Ok(self.terminal.data(line)?)
    }

    fn warn(&mut self, what: impl Display, problem: impl Display) {
        let warn = self.terminal.out(Tone::Warn, "warn");
        self.warnings.push(format!("{warn} {what}: {problem}"));
    }

    fn find(&mut self, finding: Finding) -> Result<(), Failure> {
        match finding.severity {
            Severity::Ok => self.tell(&finding.what, None),
            Severity::Fail => self.tell(&finding.what, Some(finding.problem)),
            Severity::Warn => {
                self.warn(finding.what, finding.problem);
                Ok(())
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        for warning in self.warnings {
            self.terminal.data(warning)?;
        }
        if self.is_sound { Ok(()) } else { Err(Failure::Said) }
    }
}

/// The name of the event log in the directory, if there is one.
async fn data_dir(settings: &Settings, report: &mut Report<'_>) -> Result<Option<String>, Failure> {
    let embedded = match open(settings) {
        Ok(embedded) => embedded,
        Err(error) => {
            report.tell("data directory", Some(format!("{error:#}")))?;
            return Ok(None);
        }
    };
    report.tell("data directory opens", None)?;
    let event_log = embedded.id().to_owned();
    let integrity = embedded.check_integrity().await;
    report.tell("files are sound", integrity.unwrap_or_else(|error| Some(error.to_string())))?;
    embedded.close().await;
    Ok(Some(event_log))
}

/// The event log, if it opens.
async fn log(
    cluster: &eventlog_kafka::Settings,
    group: &str,
    report: &mut Report<'_>,
) -> Result<Option<Kafka>, Failure> {
    let topics = match eventlog_kafka::inspect(cluster).await {
        Ok(topics) => topics,
        Err(error) => {
            report.tell("event log", Some(error.to_string()))?;
            return Ok(None);
        }
    };
    for finding in topics {
        report.find(finding)?;
    }
    let kafka = Kafka::connect(cluster, Arc::new(SystemClock::new())).await;
    report.tell("event log opens", kafka.as_ref().err().map(ToString::to_string))?;
    let Ok(kafka) = kafka else { return Ok(None) };
    match eventlog_kafka::inspect_group(cluster, group, SystemClock::new().now()).await {
        Ok(findings) => findings.into_iter().try_for_each(|finding| report.find(finding))?,
        Err(error) => report.tell(&format!("group {group}"), Some(error.to_string()))?,
    }
    let brokers = async || eventlog_kafka::broker_time(cluster).await.map(Some);
    clocks::compare("the brokers", brokers, report).await?;
    Ok(Some(kafka))
}

async fn store(
    cluster: &store_scylla::Settings,
    event_log: Option<&str>,
    kafka: Option<&Kafka>,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let connected = Box::pin(Scylla::connect(cluster, Arc::new(SystemClock::new()))).await;
    report.tell("store", connected.as_ref().err().map(ToString::to_string))?;
    let Ok(scylla) = connected else { return Ok(()) };
    if let Some(event_log) = event_log {
        let checked = scylla.check_owner(event_log).await;
        let what = "keyspace is of this event log, or nobody's yet";
        report.tell(what, checked.err().map(|error| error.to_string()))?;
    }
    let store = scylla.store();
    clocks::compare("the store's nodes", async || store.time().await, report).await?;
    match kafka {
        Some(kafka) => lanes::of_nobody(kafka, &store, report).await,
        None => Ok(()),
    }
}

/// What works and is still unsafe.
fn warnings(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let mut warnings = Vec::new();
    if settings.egress.allow_http {
        warnings.push(("egress.allow_http", "payloads travel in the clear"));
    }
    if !settings.listen.ip().is_loopback() {
        warnings.push((
            "listen",
            "the API speaks plain http to other machines: put a proxy with TLS before it",
        ));
    }
    if let StoreKind::Scylla(cluster) = &settings.store
        && cluster.allow_few_replicas
    {
        warnings.push((
            "scylla.allow_few_replicas",
            "the loss of one node may stop or lose deliveries",
        ));
    }
    if let LogKind::Kafka(cluster) = &settings.log
        && cluster.allow_few_replicas
    {
        warnings.push((
            "kafka.allow_few_replicas",
            "the loss of one broker may stop publishing or lose events",
        ));
    }
    if settings.key_file.is_none() {
        warnings.push((
            "secrets.key_file",
            "the keys lie beside the data that they seal: a copy of the directory has both",
        ));
    }
    warnings
}
