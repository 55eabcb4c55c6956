//! Clients of librdkafka with our settings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::settings::{GroupProtocol, Settings};

/// How long one question to the brokers may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a record may be on its way before `append` answers `Unknown`: below the 10 s of an API call.
const APPEND_TIMEOUT_MS: &str = "8000";
/// A little above [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX): the record's frame and its headers' lengths.
const MESSAGE_BYTES_MAX: &str = "1048576";

/// What librdkafka said last of its connections: the reason that calls, which only time out, cannot give.
#[derive(Clone, Default)]
pub(crate) struct Context {
    trouble: Arc<Mutex<Option<String>>>,
}

impl Context {
    pub(crate) fn has_trouble(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The last trouble; it is forgotten by this.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, message);
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::debug!(target: "librdkafka", facility, message);
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::trace!(target: "librdkafka", facility, message);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers down" comes after the error that says why.
        if trouble.is_none() || !reason.contains("brokers are down") {
            *trouble = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Context {}

/// For records whose fate nobody waits for.
impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

fn common(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    // What somebody else set comes first, so that nothing below is overwritten.
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", settings.brokers())
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000");
    default(&mut config, settings, "client.id", "postrider");
    // A broker that hangs is given up before the callers are.
    default(&mut config, settings, "socket.timeout.ms", "10000");
    config.set_log_level(RDKafkaLogLevel::Info);
    config
}

/// Writes records that must not be lost.
pub(crate) fn producer(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", APPEND_TIMEOUT_MS)
        .set("message.max.bytes", MESSAGE_BYTES_MAX)
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "131072");
    // Waits for others to share a batch with: a call that comes alone is answered a little later, a hundred together far sooner.
    default(&mut config, settings, "linger.ms", "2");
    default(&mut config, settings, "compression.type", "lz4");
    config
}

/// Writes what may be lost.
pub(crate) fn careless_producer(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("acks", "1")
        .set("message.timeout.ms", APPEND_TIMEOUT_MS)
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "65536")
        .set("linger.ms", "10");
    default(&mut config, settings, "compression.type", "lz4");
    config
}

/// Writes what may be lost and is much: a record an attempt.
pub(crate) fn outcomes_producer(settings: &Settings) -> ClientConfig {
    let mut config = careless_producer(settings);
    config
        // A batch costs about the same whatever it holds, and people who watch wait for it.
        .set("linger.ms", "100")
        .set("delivery.report.only.error", "true");
    config
}

/// Asks about topics, and changes them.
pub(crate) fn asker(settings: &Settings) -> ClientConfig {
    common(settings)
}

/// Reads without a group: metadata, single places, ranges, feeds.
pub(crate) fn reader(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    consuming(&mut config);
    config
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "2048")
        // A fetch that waits at the log's end holds up the next read on the same connection.
        .set("fetch.wait.max.ms", "10")
        // librdkafka assigns nothing without one; nobody joins or commits in it.
        .set("group.id", "postrider-none");
    config
}

/// Reads on and on at the end of a topic.
pub(crate) fn listener(settings: &Settings) -> ClientConfig {
    let mut config = reader(settings);
    config.set("fetch.wait.max.ms", "500");
    config
}

/// A member of a group.
pub(crate) fn member(settings: &Settings, group: &str) -> ClientConfig {
    let mut config = common(settings);
    consuming(&mut config);
    config
        .set("group.id", group)
        // For each partition, since each has a queue of its own.
        .set("queued.max.messages.kbytes", "1024");
    match settings.group_protocol {
        GroupProtocol::Classic => {
            config
                .set("group.protocol", "classic")
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
                .set(
                    "heartbeat.interval.ms",
                    (settings.session_timeout.as_millis() / 4).to_string(),
                );
        }
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
    config
}

fn consuming(config: &mut ClientConfig) {
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A position that retention has passed is an error that is told as a gap, never a silent jump.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "200")
        .set("queued.min.messages", "10000")
        .set("fetch.message.max.bytes", "1048576");
}

fn default(config: &mut ClientConfig, settings: &Settings, name: &str, value: &str) {
    if !settings.properties.contains_key(name) {
        config.set(name, value);
    }
}
