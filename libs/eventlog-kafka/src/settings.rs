//! What the adapter is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use domain::record::Trust;
use domain::{Shard, TenantId};

use crate::sources::PARTITIONS_MAX;

/// How members of the consumer group agree on who owns what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GroupProtocol {
    /// The classic one with the cooperative-sticky assignor: works with every broker.
    #[default]
    Classic,
    /// KIP-848, brokers from 4.0 on: session and heartbeat times are the broker's.
    Consumer,
}

impl GroupProtocol {
    /// The names that a configuration may use.
    pub const NAMES: &str = "classic or consumer";

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "classic" => Some(Self::Classic),
            "consumer" => Some(Self::Consumer),
            _ => None,
        }
    }
}

/// A topic that events are read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its own among the topics, also of those that were read before: its shards are numbered by it. 0 is `<prefix>.events`.
    pub number: u16,
    /// Its name.
    pub topic: String,
    /// How far its producers are believed.
    pub trust: Trust,
}

impl Source {
    /// The largest number: what lies above names no place in the log.
    pub const NUMBER_MAX: u16 = 30;

    /// Reads `NUMBER TOPIC` with `tenant=ID`, `trusted`, or neither, which means `tenant=default`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let (number, topic, trust) = (words.next(), words.next(), words.next());
        let (Some(number), Some(topic), None) = (number, topic, words.next()) else {
            return Err("write NUMBER TOPIC and then tenant=ID, or trusted, or nothing".to_owned());
        };
        let number = number.parse().ok().filter(|number| (1..=Self::NUMBER_MAX).contains(number));
        let number = number.ok_or_else(|| {
            format!(
                "begin with a number from 1 to {} that no other topic has or had",
                Self::NUMBER_MAX
            )
        })?;
        // Kafka's own rule (`org.apache.kafka.common.internals.Topic`).
        if topic.len() > 249 || !is_topic_text(topic) || matches!(topic, "." | "..") {
            return Err(format!("{topic:?} is not a topic's name"));
        }
        let trust = match trust.map(|trust| trust.split_once('=').unwrap_or((trust, ""))) {
            None => Trust::Only(TenantId::default_tenant()),
            Some(("trusted", "")) => Trust::AnyTenant,
            Some(("tenant", tenant)) => Trust::Only(
                TenantId::parse(tenant).map_err(|error| format!("tenant {tenant:?}: {error}"))?,
            ),
            Some(_) => {
                return Err("after the topic write tenant=ID, or trusted, or nothing".to_owned());
            }
        };
        Ok(Self { number, topic: topic.to_owned(), trust })
    }
}

/// How to reach the brokers, and what the topics are called.
#[derive(Clone)]
pub struct Settings {
    /// `host:port` of some brokers; the others are learnt from them.
    pub brokers: Vec<String>,
    /// Topics are `<prefix>.events`, `.quarantine`, `.hints` and `.outcomes`.
    pub topic_prefix: String,
    /// Further topics that events are read from; `migrate` does not make them.
    pub topics: Vec<Source>,
    /// How the group agrees.
    pub group_protocol: GroupProtocol,
    /// How long a worker may be silent before its shards go to others; also the length of its lease. 6 s to 45 s by the brokers' defaults.
    pub session_timeout: Duration,
    /// Partitions of the events' topic when it is made.
    pub partitions: u16,
    /// Replicas of topics when they are made.
    pub replication_factor: u8,
    /// Whether fewer than 3 replicas or 2 in-sync ones are taken: for a trial.
    pub allow_few_replicas: bool,
    /// How long the events' topic keeps records, when it is made.
    pub retention: Duration,
    /// Further settings of librdkafka, such as those of TLS and SASL. They may hold secrets.
    pub properties: BTreeMap<String, String>,
}

/// The settings that safety rests on: nobody else sets them.
const OURS: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "session.timeout.ms",
    "transactional.id",
];

impl Settings {
    /// Settings with the built-in values.
    #[must_use]
    pub fn new(brokers: Vec<String>, topic_prefix: impl Into<String>) -> Self {
        Self {
            brokers,
            topic_prefix: topic_prefix.into(),
            topics: Vec::new(),
            group_protocol: GroupProtocol::default(),
            session_timeout: Duration::from_secs(10),
            partitions: 24,
            replication_factor: 3,
            allow_few_replicas: false,
            retention: Duration::from_secs(8 * 24 * 3_600),
            properties: BTreeMap::new(),
        }
    }

    /// Whether a name may begin topics: letters, digits, `.`, `_` and `-`, 1 to 200 of them (Kafka allows 249 for the whole).
    #[must_use]
    pub fn is_topic_prefix(text: &str) -> bool {
        (1..=200).contains(&text.len()) && is_topic_text(text) && !text.starts_with('.')
    }

    /// Whether a property is one that Postrider sets itself.
    #[must_use]
    pub fn is_ours(property: &str) -> bool {
        OURS.contains(&property)
    }

    /// The number of the topic that a shard is of, whether it is read or not.
    #[must_use]
    pub fn number_of(shard: Shard) -> u16 {
        shard.0 / PARTITIONS_MAX
    }

    /// The topics that events are read from, the one that is appended to first.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let ours = Source { number: 0, topic: self.events(), trust: Trust::AnyTenant };
        std::iter::once(ours).chain(self.topics.iter().cloned()).collect()
    }

    /// The topic of events.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.topic_prefix)
    }

    /// The topic of records that are no events.
    #[must_use]
    pub fn quarantine(&self) -> String {
        format!("{}.quarantine", self.topic_prefix)
    }

    /// The topic of hints.
    #[must_use]
    pub fn hints(&self) -> String {
        format!("{}.hints", self.topic_prefix)
    }

    /// The topic of attempts as they happen.
    #[must_use]
    pub fn outcomes(&self) -> String {
        format!("{}.outcomes", self.topic_prefix)
    }

    pub(crate) fn brokers(&self) -> String {
        self.brokers.join(",")
    }
}

fn is_topic_text(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.bytes().all(allowed)
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("topic_prefix", &self.topic_prefix)
            .field("topics", &self.topics)
            .field("group_protocol", &self.group_protocol)
            .field("session_timeout", &self.session_timeout)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_number_a_topic_and_whom_it_speaks_for() {
        let of = |tenant| Trust::Only(TenantId::parse(tenant).expect("a tenant"));
        let read =
            |text| Source::parse(text).map(|source| (source.number, source.topic, source.trust));
        assert_eq!(read("1 orders tenant=acme"), Ok((1, "orders".to_owned(), of("acme"))));
        assert_eq!(read("2  bus  trusted"), Ok((2, "bus".to_owned(), Trust::AnyTenant)));
        assert_eq!(read("30 misc"), Ok((30, "misc".to_owned(), of("default"))));
        for wrong in [
            "",
            "orders",
            "0 orders",
            "31 orders",
            "1 or/ders",
            "1 .",
            "1 orders believed",
            "1 orders tenant=",
            "1 orders tenant=No Tenant",
            "1 orders trusted=acme",
            "1 a trusted b",
        ] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }
}
