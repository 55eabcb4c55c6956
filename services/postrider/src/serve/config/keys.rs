//! Every key with its built-in value. `default.toml` beside this file says the same, with comments; a test holds them equal.

use domain::limits;
use runtime::config::{Key, Kind};
use serde::Deserialize;

/// The keys.
pub(crate) const KEYS: &[Key] = &[
    key("listen", Kind::Text),
    key("data_dir", Kind::Text),
    key("roles", Kind::List),
    key("drain_deadline", Kind::Text),
    key("auth.token", Kind::Secret),
    key("secrets.key_file", Kind::Text),
    key("logging.format", Kind::Text),
    key("logging.filter", Kind::Text),
    key("log", Kind::Text),
    key("store", Kind::Text),
    key("kafka.brokers", Kind::List),
    key("kafka.topic_prefix", Kind::Text),
    key("kafka.topics", Kind::List),
    key("kafka.group_protocol", Kind::Text),
    key("kafka.session_timeout", Kind::Text),
    key("kafka.partitions", Kind::Integer),
    key("kafka.replication_factor", Kind::Integer),
    key("kafka.retention", Kind::Text),
    key("kafka.allow_few_replicas", Kind::Switch),
    key("kafka.properties_file", Kind::Text),
    key("scylla.nodes", Kind::List),
    key("scylla.keyspace", Kind::Text),
    key("scylla.user", Kind::Text),
    key("scylla.password", Kind::Secret),
    key("scylla.datacenter", Kind::Text),
    key("scylla.consistency", Kind::Text),
    key("scylla.timeout", Kind::Text),
    key("scylla.replication_factor", Kind::Integer),
    key("scylla.allow_few_replicas", Kind::Switch),
    key("events.data_bytes_max", Kind::Integer),
    key("events.api_version", Kind::Text),
    key("delivery.in_flight", Kind::Integer),
    key("delivery.stalled_after", Kind::Text),
    key("egress.allow_http", Kind::Switch),
    key("egress.allowed_networks", Kind::List),
    key("egress.allowed_name_suffixes", Kind::List),
    key("egress.allowed_ports", Kind::List),
    key("egress.ca_file", Kind::Text),
];

/// Keys of earlier versions, with what they are now.
pub(crate) const MOVED: &[(&str, &str)] =
    &[("log.format", "logging.format"), ("log.filter", "logging.filter")];

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

/// The values as given, not checked yet. `Default` is what is built in.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Raw {
    /// Where to listen.
    pub(crate) listen: String,
    /// Where to keep data.
    pub(crate) data_dir: String,
    /// What to run.
    pub(crate) roles: Vec<String>,
    /// How long what is in flight may take after the first signal.
    pub(crate) drain_deadline: String,
    /// Who may call.
    pub(crate) auth: RawAuth,
    /// What seals secrets.
    pub(crate) secrets: RawSecrets,
    /// How log lines look.
    pub(crate) logging: RawLogging,
    /// Which event log.
    pub(crate) log: String,
    /// Which store.
    pub(crate) store: String,
    /// Apache Kafka.
    pub(crate) kafka: RawKafka,
    /// ScyllaDB or Cassandra.
    pub(crate) scylla: RawScylla,
    /// Events.
    pub(crate) events: RawEvents,
    /// Deliveries.
    pub(crate) delivery: RawDelivery,
    /// Where deliveries may go.
    pub(crate) egress: RawEgress,
}

/// Who may call.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawAuth {
    /// The token that callers send.
    pub(crate) token: Option<String>,
}

/// What seals secrets.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawSecrets {
    /// The key file.
    pub(crate) key_file: Option<String>,
}

/// Apache Kafka.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawKafka {
    /// Some brokers.
    pub(crate) brokers: Vec<String>,
    /// How the topics' names begin.
    pub(crate) topic_prefix: String,
    /// Further topics that events are read from.
    pub(crate) topics: Vec<String>,
    /// `classic` or `consumer`.
    pub(crate) group_protocol: String,
    /// How long a worker may be silent before its shards go to others.
    pub(crate) session_timeout: String,
    /// Partitions of the topic of events that `migrate` makes.
    pub(crate) partitions: i64,
    /// Replicas of topics that `migrate` makes.
    pub(crate) replication_factor: i64,
    /// How long the topic that `migrate` makes keeps events.
    pub(crate) retention: String,
    /// Whether fewer than three replicas are accepted.
    pub(crate) allow_few_replicas: bool,
    /// Further settings of the client, such as those of TLS and SASL.
    pub(crate) properties_file: Option<String>,
}

/// ScyllaDB or Cassandra.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawScylla {
    /// Some nodes.
    pub(crate) nodes: Vec<String>,
    /// The keyspace.
    pub(crate) keyspace: String,
    /// The user, where the cluster wants one.
    pub(crate) user: Option<String>,
    /// The user's password.
    pub(crate) password: Option<String>,
    /// The data centre that is asked.
    pub(crate) datacenter: Option<String>,
    /// `local_quorum` or `quorum`.
    pub(crate) consistency: String,
    /// How long one request may take.
    pub(crate) timeout: String,
    /// Replicas of a keyspace that `migrate` makes.
    pub(crate) replication_factor: i64,
    /// Whether fewer than three replicas are accepted.
    pub(crate) allow_few_replicas: bool,
}

/// How log lines look.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawLogging {
    /// `auto`, `text` or `json`.
    pub(crate) format: String,
    /// A level, or target=level pairs.
    pub(crate) filter: String,
}

/// Events.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawEvents {
    /// Most bytes of an event's data.
    pub(crate) data_bytes_max: i64,
    /// `api_version` of events whose publisher names none.
    pub(crate) api_version: String,
}

/// Deliveries.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawDelivery {
    /// Most attempts in flight.
    pub(crate) in_flight: i64,
    /// How long a shard's position may stand still.
    pub(crate) stalled_after: String,
}

/// Where deliveries may go.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawEgress {
    /// `http` beside `https`.
    pub(crate) allow_http: bool,
    /// Networks that are allowed although they are not public.
    pub(crate) allowed_networks: Vec<String>,
    /// Names that are allowed although they look internal.
    pub(crate) allowed_name_suffixes: Vec<String>,
    /// Ports; empty means the mode's own.
    pub(crate) allowed_ports: Vec<String>,
    /// Certificate authorities that are trusted beside the public ones.
    pub(crate) ca_file: Option<String>,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7070".to_owned(),
            data_dir: "./postrider-data".to_owned(),
            roles: vec!["control-plane".to_owned(), "delivery-worker".to_owned()],
            drain_deadline: runtime::format_span(runtime::DRAIN_DEADLINE),
            auth: RawAuth::default(),
            secrets: RawSecrets::default(),
            logging: RawLogging::default(),
            log: "embedded".to_owned(),
            store: "embedded".to_owned(),
            kafka: RawKafka::default(),
            scylla: RawScylla::default(),
            events: RawEvents::default(),
            delivery: RawDelivery::default(),
            egress: RawEgress::default(),
        }
    }
}

impl Default for RawKafka {
    fn default() -> Self {
        Self {
            brokers: vec!["127.0.0.1:9092".to_owned()],
            topic_prefix: "postrider".to_owned(),
            topics: Vec::new(),
            group_protocol: "classic".to_owned(),
            session_timeout: "10s".to_owned(),
            partitions: 24,
            replication_factor: 3,
            retention: "8d".to_owned(),
            allow_few_replicas: false,
            properties_file: None,
        }
    }
}

impl Default for RawScylla {
    fn default() -> Self {
        Self {
            nodes: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "postrider".to_owned(),
            user: None,
            password: None,
            datacenter: None,
            consistency: "local_quorum".to_owned(),
            timeout: "5s".to_owned(),
            replication_factor: 3,
            allow_few_replicas: false,
        }
    }
}

impl Default for RawLogging {
    fn default() -> Self {
        Self { format: "auto".to_owned(), filter: "info".to_owned() }
    }
}

impl Default for RawEvents {
    fn default() -> Self {
        Self {
            data_bytes_max: i64::try_from(limits::EVENT_BODY_BYTES_MAX).unwrap_or(i64::MAX),
            api_version: "2026-01-01".to_owned(),
        }
    }
}

impl Default for RawDelivery {
    fn default() -> Self {
        Self {
            in_flight: i64::try_from(limits::IN_FLIGHT_DEFAULT).unwrap_or(i64::MAX),
            stalled_after: "2m".to_owned(),
        }
    }
}
