//! The configuration of a process that runs roles: keys, built-in values, and the checked form.

mod kafka;
mod keys;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use control_plane::server::StaticToken;
use domain::egress_policy::{AllowedPorts, EgressPolicy};
use domain::{ApiVersion, limits};
use runtime::config::{ConfigError, Layers};
use runtime::telemetry::LogFormat;

use crate::failure::Failure;
use crate::terminal::Environment;

pub(crate) use keys::{KEYS, Raw};
use keys::{MOVED, RawScylla};

/// Variables of our prefix that are no keys: the client's.
const OWN_VARIABLES: &[&str] =
    &["POSTRIDER_SERVER", "POSTRIDER_API_KEY", "POSTRIDER_TENANT", "POSTRIDER_CA_FILE"];

/// How a process is meant to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On a developer's machine: no authentication, loopback allowed.
    Dev,
    /// For others.
    Serve,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The API.
    ControlPlane,
    /// Deliveries.
    DeliveryWorker,
}

/// How many roles there are.
const ROLES: usize = 2;

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "control-plane" => Ok(Self::ControlPlane),
            "delivery-worker" => Ok(Self::DeliveryWorker),
            other => Err(format!("{other:?} is not a role: use control-plane or delivery-worker")),
        }
    }
}

/// Shortest and longest time of one request to the store. A worker gives a whole call 10 s.
const SCYLLA_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(10);

/// How soon a shard may be called stalled: in a second, which a slow receiver is enough for, and in an hour, which nobody waits for.
const STALLED_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Where events are kept.
#[derive(Clone)]
pub(crate) enum LogKind {
    /// A file in the data directory.
    Embedded,
    /// Apache Kafka.
    Kafka(Box<eventlog_kafka::Settings>),
}

/// Where everything but events is kept.
#[derive(Clone)]
pub(crate) enum StoreKind {
    /// A file in the data directory.
    Embedded,
    /// ScyllaDB or Apache Cassandra.
    Scylla(Box<store_scylla::Settings>),
}

/// A configuration that was checked: nothing in it can be wrong any more but what the machine says.
#[derive(Clone)]
pub(crate) struct Settings {
    /// How the process is meant to be used.
    pub(crate) mode: Mode,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Where to keep data.
    pub(crate) data_dir: PathBuf,
    /// What to run; not empty.
    pub(crate) roles: Vec<Role>,
    /// How long what is in flight may take after the first signal.
    pub(crate) drain_deadline: Duration,
    /// The token that callers send; none: one is made (`serve`), or none is needed (`dev`).
    pub(crate) token: Option<String>,
    /// Keys that seal secrets; none: `keys` in the data directory.
    pub(crate) key_file: Option<PathBuf>,
    /// Where events are kept.
    pub(crate) log: LogKind,
    /// Where everything but events is kept.
    pub(crate) store: StoreKind,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// Which are written.
    pub(crate) log_filter: String,
    /// Where deliveries may go.
    pub(crate) egress: EgressPolicy,
    /// Certificate authorities that are trusted beside the public ones.
    pub(crate) ca_file: Option<PathBuf>,
    /// Most attempts in flight.
    pub(crate) in_flight: usize,
    /// How long a shard's position may stand still while records wait, until it is told as stalled.
    pub(crate) stalled_after: Duration,
    /// Most bytes of an event's data.
    pub(crate) event_bytes_max: usize,
    /// `api_version` of events whose publisher names none.
    pub(crate) api_version: ApiVersion,
}

impl Settings {
    /// Whether anything lies in the data directory but keys and token.
    pub(crate) fn needs_data_dir(&self) -> bool {
        matches!(self.log, LogKind::Embedded) || matches!(self.store, StoreKind::Embedded)
    }

    /// The workers' group of consumers.
    pub(crate) fn group(&self) -> String {
        match &self.log {
            LogKind::Embedded => "postrider-delivery".to_owned(),
            LogKind::Kafka(kafka) => format!("{}-delivery", kafka.topic_prefix),
        }
    }
}

/// Reads and checks a configuration.
pub(crate) fn load(
    mode: Mode,
    file: Option<&Path>,
    environment: &Environment,
    flags: &[(&'static str, Option<String>, &'static str)],
) -> Result<Settings, Failure> {
    let layers = layers(file, environment, flags)?;
    settings(mode, &layers).map_err(usage)
}

/// Collects the layers.
pub(crate) fn layers(
    file: Option<&Path>,
    environment: &Environment,
    flags: &[(&'static str, Option<String>, &'static str)],
) -> Result<Layers, Failure> {
    let mut layers = Layers::new(KEYS).moved(MOVED);
    if let Some(file) = file {
        layers = layers.file(file).map_err(usage)?;
    }
    let variables = environment.iter().map(|(name, value)| (name.clone(), value.clone()));
    layers = layers.environment(variables, OWN_VARIABLES).map_err(usage)?;
    for (path, value, flag) in flags {
        layers = layers.flag(path, value.as_deref(), flag).map_err(usage)?;
    }
    Ok(layers)
}

fn usage(error: ConfigError) -> Failure {
    Failure::Usage(error.to_string())
}

/// Checks the layers' values.
pub(crate) fn settings(mode: Mode, layers: &Layers) -> Result<Settings, ConfigError> {
    let raw: Raw = layers.build()?;
    let parse = Parse(layers);
    let mut roles = Vec::new();
    for role in &raw.roles {
        let role = parse.text("roles", role)?;
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    if roles.is_empty() {
        return Err(layers.bad_value("roles", "is empty: name at least one role"));
    }
    let token = raw.auth.token.clone();
    if mode == Mode::Dev && token.is_some() {
        let problem = "has no effect in `dev`, which lets everyone in: use `serve`, or unset it";
        return Err(layers.bad_value("auth.token", problem));
    }
    if let Some(Err(error)) = token.as_deref().map(StaticToken::new) {
        return Err(layers.bad_value("auth.token", format!("is wrong: {error}")));
    }
    let settings = Settings {
        mode,
        listen: parse.text("listen", &raw.listen)?,
        data_dir: parse.path("data_dir", &raw.data_dir)?,
        roles,
        drain_deadline: parse.span("drain_deadline", &raw.drain_deadline)?,
        token,
        key_file: raw.secrets.key_file.as_ref().map(PathBuf::from),
        log: log(&raw, &parse)?,
        store: store(&raw, &parse)?,
        log_format: parse.text("logging.format", &raw.logging.format)?,
        log_filter: raw.logging.filter.clone(),
        egress: egress(mode, &raw, &parse)?,
        ca_file: raw.egress.ca_file.as_ref().map(PathBuf::from),
        stalled_after: parse.span_within(
            "delivery.stalled_after",
            &raw.delivery.stalled_after,
            STALLED_AFTER,
        )?,
        in_flight: parse.within("delivery.in_flight", raw.delivery.in_flight, 1, 65_536)?,
        event_bytes_max: parse.within(
            "events.data_bytes_max",
            raw.events.data_bytes_max,
            1,
            limits::EVENT_BODY_BYTES_MAX,
        )?,
        api_version: ApiVersion::parse(&raw.events.api_version).map_err(|error| {
            layers.bad_value("events.api_version", format!("is wrong: {error}"))
        })?,
    };
    together(&settings, layers)?;
    Ok(settings)
}

/// What only the whole can be wrong about.
fn together(settings: &Settings, layers: &Layers) -> Result<(), ConfigError> {
    match (&settings.log, &settings.store) {
        (LogKind::Embedded, _) => Ok(()),
        (LogKind::Kafka(kafka), StoreKind::Embedded) => {
            if settings.roles.len() < ROLES {
                let problem = "leaves a role to another process, which cannot see this one's embedded store: run all roles here, or use store = \"scylla\"";
                return Err(layers.bad_value("roles", problem));
            }
            if kafka.group_protocol == eventlog_kafka::GroupProtocol::Consumer {
                let problem = "is \"consumer\", with which another worker cannot be noticed: with an embedded store use classic";
                return Err(layers.bad_value("kafka.group_protocol", problem));
            }
            Ok(())
        }
        (LogKind::Kafka(_), StoreKind::Scylla(_)) => {
            // Every process seals and opens the same secrets.
            if settings.key_file.is_none() {
                let problem = "is missing: all processes of a cluster need the same keys. Name a file that each has; the first `postrider migrate` makes it";
                return Err(layers.bad_value("secrets.key_file", problem));
            }
            Ok(())
        }
    }
}

fn log(raw: &Raw, parse: &Parse<'_>) -> Result<LogKind, ConfigError> {
    match raw.log.as_str() {
        "embedded" => Ok(LogKind::Embedded),
        "kafka" => Ok(LogKind::Kafka(Box::new(kafka::settings(&raw.kafka, parse)?))),
        other => Err(parse.0.bad_value("log", format!("is {other:?}: use embedded or kafka"))),
    }
}

fn store(raw: &Raw, parse: &Parse<'_>) -> Result<StoreKind, ConfigError> {
    match raw.store.as_str() {
        "embedded" => Ok(StoreKind::Embedded),
        "scylla" => Ok(StoreKind::Scylla(Box::new(scylla(&raw.scylla, parse)?))),
        other => Err(parse.0.bad_value("store", format!("is {other:?}: use embedded or scylla"))),
    }
}

fn scylla(raw: &RawScylla, parse: &Parse<'_>) -> Result<store_scylla::Settings, ConfigError> {
    let layers = parse.0;
    if raw.nodes.is_empty() {
        return Err(
            layers.bad_value("scylla.nodes", "is empty: name host:port of one node at least")
        );
    }
    if !store_scylla::Settings::is_keyspace_name(&raw.keyspace) {
        let problem =
            format!("is {:?}: letters, digits and _ are allowed, 1 to 48 of them", raw.keyspace);
        return Err(layers.bad_value("scylla.keyspace", problem));
    }
    let mut settings = store_scylla::Settings::new(raw.nodes.clone(), raw.keyspace.clone());
    settings.login = match (&raw.user, &raw.password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some((user.clone(), password.clone())),
        (Some(_), None) => {
            return Err(layers.bad_value("scylla.password", "is missing: scylla.user is set"));
        }
        (None, Some(_)) => {
            return Err(layers.bad_value("scylla.user", "is missing: scylla.password is set"));
        }
    };
    settings.datacenter.clone_from(&raw.datacenter);
    settings.consistency = store_scylla::Consistency::parse(&raw.consistency).ok_or_else(|| {
        let problem = format!("is {:?}: use {}", raw.consistency, store_scylla::Consistency::NAMES);
        layers.bad_value("scylla.consistency", problem)
    })?;
    settings.timeout = parse.span_within("scylla.timeout", &raw.timeout, SCYLLA_TIMEOUT)?;
    let factor = parse.within("scylla.replication_factor", raw.replication_factor, 1, 9)?;
    settings.replication_factor = u8::try_from(factor).unwrap_or(u8::MAX);
    settings.allow_few_replicas = raw.allow_few_replicas;
    Ok(settings)
}

fn egress(mode: Mode, raw: &Raw, parse: &Parse<'_>) -> Result<EgressPolicy, ConfigError> {
    let given = &raw.egress;
    let mut policy = match mode {
        Mode::Dev => EgressPolicy::dev(),
        Mode::Serve => EgressPolicy::production(),
    };
    policy.allow_http |= given.allow_http;
    policy.allowed_name_suffixes.clone_from(&given.allowed_name_suffixes);
    for network in &given.allowed_networks {
        policy.allowed_cidrs.push(parse.text("egress.allowed_networks", network)?);
    }
    if !given.allowed_ports.is_empty() {
        let ports = given.allowed_ports.iter();
        let ports = ports.map(|port| parse.text("egress.allowed_ports", port));
        policy.allowed_ports = AllowedPorts::Only(ports.collect::<Result<_, _>>()?);
    }
    Ok(policy)
}

/// Parses single values; errors say where the value came from.
pub(super) struct Parse<'a>(&'a Layers);

impl Parse<'_> {
    fn text<T: FromStr<Err: std::fmt::Display>>(
        &self,
        key: &str,
        text: &str,
    ) -> Result<T, ConfigError> {
        text.parse().map_err(|error| self.0.bad_value(key, format!("is {text:?}: {error}")))
    }

    fn path(&self, key: &str, text: &str) -> Result<PathBuf, ConfigError> {
        if text.is_empty() {
            return Err(self.0.bad_value(key, "is empty: name a path"));
        }
        Ok(text.into())
    }

    fn span(&self, key: &str, text: &str) -> Result<Duration, ConfigError> {
        runtime::parse_span(text)
            .map_err(|error| self.0.bad_value(key, format!("is wrong: {error}")))
    }

    fn span_within(
        &self,
        key: &str,
        text: &str,
        allowed: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let span = self.span(key, text)?;
        if allowed.contains(&span) {
            return Ok(span);
        }
        let [min, max] = [allowed.start(), allowed.end()].map(|span| runtime::format_span(*span));
        Err(self.0.bad_value(key, format!("is {text:?}: allowed are {min} to {max}")))
    }

    fn within(&self, key: &str, value: i64, min: usize, max: usize) -> Result<usize, ConfigError> {
        usize::try_from(value)
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| self.0.bad_value(key, format!("is {value}: allowed are {min} to {max}")))
    }
}

#[cfg(test)]
mod tests;
