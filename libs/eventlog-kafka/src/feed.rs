//! Hints between processes: a topic that each reads from its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Revision, Shard, TenantId};
use ports::{ConfigFeed, Error, ErrorKind, Hint};
use rdkafka::Message as _;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::client::{self, CALL_TIMEOUT, Context};
use crate::settings::Settings;

/// Hints that a listener may be behind before it is told to read everything again.
const QUEUE: usize = 1_024;
/// How often the reading thread looks whether it should end.
const TICK: Duration = Duration::from_millis(200);

/// A hint as JSON: `{"tenant":"acme","revision":7}` or `{"inbox":3}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Tenant { tenant: String, revision: u64 },
    Inbox { inbox: u16 },
}

impl Wire {
    fn from_hint(hint: &Hint) -> Self {
        match hint {
            Hint::Tenant(tenant, revision) => {
                Self::Tenant { tenant: tenant.as_str().to_owned(), revision: revision.0 }
            }
            Hint::Inbox(shard) => Self::Inbox { inbox: shard.0 },
        }
    }

    fn hint(self) -> Option<Hint> {
        match self {
            Self::Tenant { tenant, revision } => {
                Some(Hint::Tenant(TenantId::parse(&tenant).ok()?, Revision(revision)))
            }
            Self::Inbox { inbox } => Some(Hint::Inbox(Shard(inbox))),
        }
    }
}

/// The `ConfigFeed` of a cluster.
pub struct KafkaFeed {
    topic: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    hints: broadcast::Sender<Hint>,
    stopped: Arc<AtomicBool>,
}

impl KafkaFeed {
    /// Begins to listen at the topic's end. Blocks.
    pub(crate) fn open(settings: &Settings) -> KafkaResult<Self> {
        let topic = settings.hints();
        let config = client::careless_producer(settings);
        let producer = ThreadedProducer::from_config_and_context(&config, DefaultProducerContext)?;
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&client::listener(settings), Context::default())?;
        consumer.assign(&ends(&consumer, &topic)?)?;
        let (hints, _) = broadcast::channel(QUEUE);
        let stopped = Arc::new(AtomicBool::new(false));
        let (tell, stop, name) = (hints.clone(), stopped.clone(), topic.clone());
        let thread = std::thread::Builder::new().name("kafka-hints".to_owned());
        let spawned = thread.spawn(move || listen(&consumer, &name, &tell, &stop));
        spawned.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { topic, producer, hints, stopped })
    }
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

/// The place behind the last record of each partition.
fn ends(consumer: &BaseConsumer<Context>, topic: &str) -> KafkaResult<TopicPartitionList> {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let mut ends = TopicPartitionList::new();
    for found in metadata.topics() {
        for partition in found.partitions() {
            let (_, end) = consumer.fetch_watermarks(topic, partition.id(), CALL_TIMEOUT)?;
            ends.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
        }
    }
    Ok(ends)
}

/// Whether retention has passed the place where we read.
fn is_passed(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
}

/// Only what comes from now on matters. It seeks: a partition that is assigned anew while librdkafka still stops it aborts the process when it is
/// given back (<https://github.com/confluentinc/librdkafka/issues/5573>).
fn go_to_end(consumer: &BaseConsumer<Context>, topic: &str) -> KafkaResult<()> {
    for place in ends(consumer, topic)?.elements() {
        consumer.seek(topic, place.partition(), place.offset(), CALL_TIMEOUT)?;
    }
    Ok(())
}

fn listen(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    tell: &broadcast::Sender<Hint>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Acquire) {
        match consumer.poll(TICK) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Ok(message)) => {
                let wire = message.payload().map(serde_json::from_slice::<Wire>);
                // What a later version says, or another program, is no hint for us.
                if let Some(hint) = wire.and_then(Result::ok).and_then(Wire::hint) {
                    // Nobody listens yet: nobody needs to be told.
                    let _ = tell.send(hint);
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, topic, "hints could not be read");
                // Other failures mend themselves.
                if error.rdkafka_error_code().is_some_and(is_passed)
                    && let Err(error) = go_to_end(consumer, topic)
                {
                    tracing::debug!(%error, topic, "hints could not be read");
                }
            }
        }
    }
}

#[async_trait]
impl ConfigFeed for KafkaFeed {
    async fn hint(&self, hint: Hint) -> ports::Result<()> {
        let value = serde_json::to_vec(&Wire::from_hint(&hint)).map_err(|error| {
            Error::new(ErrorKind::Bug, "a hint could not be written").with_source(error)
        })?;
        // One partition, so that hints keep their order.
        let record: BaseRecord<'_, (), [u8]> =
            BaseRecord::to(&self.topic).partition(0).payload(&value);
        self.producer.send(record).map_err(|(error, _)| crate::error::not_appended(error))
    }

    fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}
