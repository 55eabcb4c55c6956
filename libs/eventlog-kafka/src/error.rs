//! What goes wrong with the brokers, in the words of whoever has to act.

use ports::{Error, ErrorKind};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

/// The log cannot be used. Each says in one line what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting that librdkafka does not take.
    #[error("Kafka's client refuses its settings: {reason}; {advice}")]
    Settings {
        /// What it said.
        reason: String,
        /// What to do.
        advice: &'static str,
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
    /// The brokers' certificate is not trusted, or one side speaks no TLS.
    #[error(
        "TLS with Kafka at {brokers} fails: {reason}; correct ssl.* and security.protocol in kafka.properties_file"
    )]
    Tls {
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

    /// Why a client was not made. Never with a setting's value: it may be a password.
    pub(crate) fn of_settings(error: &KafkaError) -> Self {
        let reason = if let KafkaError::ClientConfig(_, reason, ..) = error {
            reason.clone()
        } else {
            error.to_string()
        };
        let advice = if reason.contains("not available at build time") {
            "use a binary that is built with --features kafka-tls, as releases are"
        } else {
            "correct kafka.properties_file"
        };
        Self::Settings { reason, advice }
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
            _ if is_tls(&reason) => Self::Tls { brokers, reason },
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

fn is_tls(reason: &str) -> bool {
    reason.contains("SSL handshake failed")
}

fn is_login(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    // The address begins with the protocol: it is no complaint.
    let said = reason.replace("sasl_ssl://", "").replace("sasl_plaintext://", "");
    said.contains("authentication") || said.contains("sasl")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka 2.12 says it to a client that trusts no authority, gives a wrong password, or finds nobody.
    #[test]
    fn what_connections_say_is_told_as_what_it_is() {
        let of = |reason: &str| {
            let error = KafkaError::MetadataFetch(Code::BrokerTransportFailure);
            let trouble = Some(reason.to_owned());
            OpenError::of_topic("read", "events", "localhost:9093".to_owned(), &error, trouble)
        };
        let tls = of(
            "sasl_ssl://localhost:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
        );
        assert!(matches!(tls, OpenError::Tls { .. }) && !tls.is_retryable(), "{tls}");
        let login = of(
            "sasl_ssl://localhost:9093/bootstrap: SASL authentication error: Authentication failed",
        );
        assert!(matches!(login, OpenError::Login { .. }), "{login}");
        let away = of(
            "sasl_ssl://localhost:9093/bootstrap: Connect to ipv4#127.0.0.1:9093 failed: Connection refused",
        );
        assert!(matches!(away, OpenError::Unreachable { .. }) && away.is_retryable(), "{away}");
    }
}
