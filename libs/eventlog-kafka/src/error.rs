//! What goes wrong with the brokers, in the words of whoever has to act.

use ports::{Error, ErrorKind};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// The log cannot be used. Each says in one line what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting that librdkafka does not take.
    #[error("Kafka's client refuses its settings: {reason}; correct kafka.properties_file")]
    Settings {
        /// What it said.
        reason: String,
    },
    /// No broker answers.
    #[error(
        "cannot reach Kafka at {brokers}: {reason}; start it, or correct kafka.brokers (and its security.protocol in kafka.properties_file)"
    )]
    Unreachable {
        /// What was tried.
        brokers: String,
        /// Why it failed.
        reason: String,
    },
    /// Wrong credentials, or none where some are wanted.
    #[error(
        "Kafka at {brokers} refuses the login: {reason}; correct sasl.* and security.protocol in kafka.properties_file"
    )]
    Login {
        /// What was tried.
        brokers: String,
        /// What it said.
        reason: String,
    },
    /// The user may not do what is needed.
    #[error("the Kafka user may not {what}: grant it {right}")]
    Rights {
        /// What was tried.
        what: String,
        /// What is missing.
        right: String,
    },
    /// A topic does not exist.
    #[error(
        "there is no topic {topic}: run `postrider migrate` with the same configuration, or correct kafka.topic_prefix (a topic of kafka.topics you make yourself)"
    )]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// A topic whose old records are removed by key.
    #[error(
        "topic {topic} has cleanup.policy={policy}, which removes events that share a key: set it to delete (kafka-configs --alter --entity-type topics \
         --entity-name {topic} --add-config cleanup.policy=delete)"
    )]
    Compacted {
        /// Its name.
        topic: String,
        /// Its policy.
        policy: String,
    },
    /// Too few replicas to survive the loss of a broker.
    #[error(
        "topic {topic} has {replicas} replica(s) and min.insync.replicas={in_sync}, and with fewer than 3 and 2 the loss of one broker stops publishing or loses \
         events: reassign it, or set kafka.allow_few_replicas = true for a trial"
    )]
    FewReplicas {
        /// Its name.
        topic: String,
        /// Copies of each record.
        replicas: usize,
        /// How many of them an append waits for at least.
        in_sync: usize,
    },
    /// More partitions than a place in the log can name.
    #[error("topic {topic} has {partitions} partitions: at most {max} are served")]
    TooManyPartitions {
        /// Its name.
        topic: String,
        /// What it has.
        partitions: usize,
        /// What is served.
        max: usize,
    },
    /// The brokers do not want it so.
    #[error("Kafka refuses to {what}: {reason}")]
    Refused {
        /// What was tried.
        what: String,
        /// What to do.
        reason: String,
    },
    /// A question failed.
    #[error("Kafka failed to {what}: {reason}")]
    Call {
        /// What was tried.
        what: String,
        /// What it said.
        reason: String,
    },
}

impl OpenError {
    /// Whether the same call may succeed later without anybody doing something about the configuration.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Call { .. })
    }

    /// Why a call about a topic failed. `trouble` is what the connections said meanwhile.
    pub(crate) fn of_topic(
        what: &str,
        topic: &str,
        brokers: String,
        error: &KafkaError,
        trouble: Option<String>,
    ) -> Self {
        let reason = trouble.unwrap_or_else(|| error.to_string());
        match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                Self::NoTopic { topic: topic.to_owned() }
            }
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                Self::Rights {
                    what: format!("{what} topic {topic}"),
                    right: format!("DESCRIBE, READ and WRITE on topic {topic}"),
                }
            }
            _ if is_login(&reason) => Self::Login { brokers, reason },
            Some(
                Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::SSL,
            ) => Self::Unreachable { brokers, reason },
            _ => Self::Call { what: format!("{what} topic {topic}"), reason },
        }
    }
}

fn is_login(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("authentication") || reason.contains("sasl")
}

/// What is missing, where the brokers do not let the user do something: rights to write and to join a group are met only when that is first done.
fn missing_right(error: &KafkaError) -> Option<&'static str> {
    match error.rdkafka_error_code() {
        Some(Code::TopicAuthorizationFailed) => {
            Some("READ and WRITE on Postrider's topics (READ alone on those of kafka.topics)")
        }
        // Asked of an idempotent producer that may not write any topic.
        Some(Code::ClusterAuthorizationFailed) => Some("WRITE on Postrider's topics"),
        Some(Code::GroupAuthorizationFailed) => Some("READ on the group of the delivery workers"),
        _ => None,
    }
}

fn error(kind: ErrorKind, what: &str, error: KafkaError) -> Error {
    let message = match missing_right(&error) {
        Some(right) => format!("{what}: the Kafka user lacks {right}; grant it with kafka-acls"),
        None => what.to_owned(),
    };
    Error::new(kind, message).with_source(error)
}

/// The port's error for a record that was not written.
pub(crate) fn not_appended(cause: KafkaError) -> Error {
    let kind = match cause.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge) => ErrorKind::TooLarge,
        Some(Code::QueueFull) => ErrorKind::Full,
        // Refused before anything was written.
        Some(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::NotEnoughReplicas,
        ) => ErrorKind::Unavailable,
        // On its way or not, nobody can tell: too few replicas after the append among them.
        _ => ErrorKind::Unknown,
    };
    error(kind, "the event log did not confirm a record", cause)
}

/// The port's error for a read that failed.
pub(crate) fn not_read(cause: KafkaError) -> Error {
    error(ErrorKind::Unavailable, "the event log could not be read", cause)
}

/// The port's error for a thread that has gone.
pub(crate) fn gone(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} has ended"))
}
