//! `postrider config check`, `postrider migrate`.

use std::path::Path;
use std::sync::Arc;

use embedded::{Embedded, Options};
use runtime::config::{Kind, Layers};
use runtime::{SystemClock, SystemRng};

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

pub(super) fn settings(args: &StoreArgs, environment: &Environment) -> Result<Settings, Failure> {
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

/// Opens the data directory.
pub(super) fn open(settings: &Settings) -> anyhow::Result<Embedded> {
    let options = Options::new(Arc::new(SystemClock::new()));
    Ok(Embedded::open(&settings.data_dir, options)?)
}
