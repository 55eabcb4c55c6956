//! Reading a topic from its end, without a group: what was there before does not matter, and neither does what is missed.

use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{self, CALL_TIMEOUT, Context};
use crate::settings::Settings;

/// How often a reader looks whether it should end.
const TICK: Duration = Duration::from_millis(200);

/// A topic, read from the end that it had.
pub(crate) struct Tail {
    consumer: BaseConsumer<Context>,
    topic: String,
}

impl Tail {
    /// Goes to the topic's end. Blocks.
    pub(crate) fn of(settings: &Settings, topic: &str) -> KafkaResult<Self> {
        let listener = client::listener(settings);
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&listener, Context::default())?;
        consumer.assign(&ends(&consumer, topic)?)?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    /// Gives each record's value, in a thread of its own, while it is to go on.
    pub(crate) fn read(
        self,
        thread: &str,
        goes_on: impl Fn() -> bool + Send + 'static,
        mut take: impl FnMut(&[u8]) + Send + 'static,
    ) -> KafkaResult<()> {
        let builder = std::thread::Builder::new().name(thread.to_owned());
        let spawned = builder.spawn(move || {
            while goes_on() {
                self.poll(&mut take);
            }
        });
        spawned.map(drop).map_err(|error| KafkaError::ClientCreation(error.to_string()))
    }

    fn poll(&self, take: &mut impl FnMut(&[u8])) {
        let Self { consumer, topic } = self;
        match consumer.poll(TICK) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Ok(message)) => take(message.payload().unwrap_or_default()),
            Some(Err(error)) => {
                tracing::debug!(%error, topic, "a topic could not be read");
                // Other failures mend themselves.
                if error.rdkafka_error_code().is_some_and(is_passed)
                    && let Err(error) = self.go_to_end()
                {
                    tracing::debug!(%error, topic, "a topic could not be read");
                }
            }
        }
    }

    /// Only what comes from now on matters. It seeks: a partition that is assigned anew while librdkafka still stops it aborts the process when it is
    /// given back (<https://github.com/confluentinc/librdkafka/issues/5573>).
    fn go_to_end(&self) -> KafkaResult<()> {
        for place in ends(&self.consumer, &self.topic)?.elements() {
            self.consumer.seek(&self.topic, place.partition(), place.offset(), CALL_TIMEOUT)?;
        }
        Ok(())
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
