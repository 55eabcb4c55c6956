//! `postrider config check`, `postrider doctor`, `postrider migrate`.

use std::path::Path;
use std::sync::Arc;

use embedded::{Embedded, Options};
use eventlog_kafka::{Kafka, Severity};
use runtime::config::{Kind, Layers};
use runtime::{SystemClock, SystemRng};
use store_scylla::Scylla;

use super::config::{self, KEYS, LogKind, Mode, Settings, StoreKind};
use super::{StoreArgs, block_on, flag_path, identity};
use crate::failure::Failure;
use crate::terminal::{Environment, Terminal, Tone};

/// Checks a configuration as `serve` would, and shows where each value comes from.
pub(crate) fn check(
    file: Option<&Path>,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let layers = config::layers(file, environment, &[])?;
    config::settings(Mode::Serve, &layers).map_err(|error| Failure::Usage(error.to_string()))?;
    for key in KEYS {
        terminal.data(line(key.path, key.kind, &layers))?;
    }
    terminal.note(terminal.err(Tone::Good, "the configuration is valid"));
    Ok(())
}

fn line(path: &str, kind: Kind, layers: &Layers) -> String {
    let value = match (kind, layers.value(path)) {
        (_, None) => "-".to_owned(),
        (Kind::Secret, Some(_)) => "***".to_owned(),
        (Kind::Text | Kind::Integer | Kind::Switch | Kind::List, Some(value)) => value.to_string(),
    };
    format!("{path} = {value}  # {}", layers.origin(path))
}

fn settings(args: &StoreArgs, environment: &Environment) -> Result<Settings, Failure> {
    let flags = [("data_dir", flag_path(args.data_dir.as_deref()), "--data-dir")];
    config::load(Mode::Serve, args.config.as_deref(), environment, &flags)
}

/// Makes or upgrades the data directory.
pub(crate) fn migrate(
    args: &StoreArgs,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = settings(args, environment)?;
    block_on(async {
        if settings.needs_data_dir() {
            identity::keys(&settings)?;
            let embedded = open(&settings)?;
            embedded.close().await;
            let dir = settings.data_dir.display();
            terminal.data(format_args!("{dir} is up to date"))?;
        } else if identity::make_keys(&settings)? {
            let file = identity::key_file(&settings);
            let file = file.display();
            terminal.data(format_args!("made the keys that seal secrets in {file}: give every process a copy, and keep one elsewhere"))?;
        }
        if let LogKind::Kafka(cluster) = &settings.log {
            migrate_topics(cluster, terminal).await?;
        }
        if let StoreKind::Scylla(cluster) = &settings.store {
            migrate_cluster(cluster, terminal).await?;
        }
        Ok(())
    })
}

/// Makes the topics that are missing.
async fn migrate_topics(
    cluster: &eventlog_kafka::Settings,
    terminal: &Terminal,
) -> Result<(), Failure> {
    for made in eventlog_kafka::migrate(cluster).await.map_err(anyhow::Error::from)? {
        let topic = made.topic;
        if made.is_new {
            let (partitions, copies) = (made.partitions, cluster.replication_factor);
            let line = format_args!(
                "made topic {topic} with {partitions} partition(s), {copies} replica(s)"
            );
            terminal.data(line)?;
        } else {
            terminal.data(format_args!("topic {topic} exists"))?;
        }
    }
    Ok(())
}

/// Makes or upgrades the keyspace.
async fn migrate_cluster(
    cluster: &store_scylla::Settings,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let done = store_scylla::migrate(cluster, &SystemClock::new(), &SystemRng::new()).await;
    let done = done.map_err(anyhow::Error::from)?;
    let keyspace = &cluster.keyspace;
    if done.made_keyspace {
        let copies = cluster.replication_factor;
        terminal.data(format_args!("made keyspace {keyspace} with {copies} replica(s)"))?;
    }
    for step in done.steps {
        terminal.data(format_args!("applied {step}"))?;
    }
    let version = store_scylla::SCHEMA_VERSION;
    Ok(terminal
        .data(format_args!("keyspace {keyspace} is up to date (schema version {version})"))?)
}

/// Opens the data directory, reads all of it, and tells what is unsafe.
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
    let mut sound = true;
    let mut tell = |what: &str, problem: Option<String>| {
        let line = match problem {
            None => format!("{} {what}", terminal.out(Tone::Good, "ok  ")),
            Some(problem) => {
                sound = false;
                format!("{} {what}: {problem}", terminal.out(Tone::Bad, "FAIL"))
            }
        };
        terminal.data(line)
    };
    let keys = identity::keys(settings);
    tell("keys that seal secrets", keys.err().map(|error| format!("{error:#}")))?;
    let mut event_log = None;
    if settings.needs_data_dir() {
        match open(settings) {
            Err(error) => tell("data directory", Some(format!("{error:#}")))?,
            Ok(embedded) => {
                tell("data directory opens", None)?;
                event_log = Some(embedded.id().to_owned());
                let integrity = embedded.check_integrity().await;
                tell("files are sound", integrity.unwrap_or_else(|error| Some(error.to_string())))?;
                embedded.close().await;
            }
        }
    }
    let mut unsafe_topics = Vec::new();
    if let LogKind::Kafka(cluster) = &settings.log {
        match eventlog_kafka::inspect(cluster).await {
            Err(error) => tell("event log", Some(error.to_string()))?,
            Ok(findings) => {
                for finding in findings {
                    match finding.severity {
                        Severity::Ok => tell(&finding.what, None)?,
                        Severity::Fail => tell(&finding.what, Some(finding.problem))?,
                        Severity::Warn => unsafe_topics.push(finding),
                    }
                }
                let kafka = Kafka::connect(cluster, Arc::new(SystemClock::new())).await;
                tell("event log opens", kafka.as_ref().err().map(ToString::to_string))?;
                event_log = kafka.ok().map(|kafka| kafka.id().to_owned());
            }
        }
    }
    if let StoreKind::Scylla(cluster) = &settings.store {
        let connected = Box::pin(Scylla::connect(cluster, Arc::new(SystemClock::new()))).await;
        tell("store", connected.as_ref().err().map(ToString::to_string))?;
        if let (Ok(scylla), Some(event_log)) = (connected, event_log) {
            let checked = scylla.check_owner(&event_log).await;
            let what = "keyspace is of this event log, or nobody's yet";
            tell(what, checked.err().map(|error| error.to_string()))?;
        }
    }
    for finding in unsafe_topics {
        let (what, problem) = (finding.what, finding.problem);
        terminal.data(format!("{} {what}: {problem}", terminal.out(Tone::Warn, "warn")))?;
    }
    for (what, unsafe_because) in warnings(settings) {
        terminal.data(format!("{} {what}: {unsafe_because}", terminal.out(Tone::Warn, "warn")))?;
    }
    if sound { Ok(()) } else { Err(Failure::Said) }
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

fn open(settings: &Settings) -> anyhow::Result<Embedded> {
    let options = Options::new(Arc::new(SystemClock::new()));
    Ok(Embedded::open(&settings.data_dir, options)?)
}
