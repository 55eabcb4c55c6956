//! Reading single places and ranges, outside any group.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{LogPosition, Position, Shard, Timestamp};
use ports::{Bounds, Clock, Error, ErrorKind, LogRecord, RangePage};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Semaphore;

use crate::client::{self, CALL_TIMEOUT, Context};
use crate::error::{gone, not_read};
use crate::member::offset_of;
use crate::settings::Settings;
use crate::sources::{Place, Sources};

/// Reads that run at once; each has a client of its own.
const READERS: usize = 4;
/// Longest time of one read: below the 10 s that callers give it.
const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// Most bytes of a page.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

type Client = BaseConsumer<Context>;

/// A few clients that read where they are told.
pub(crate) struct Readers {
    settings: Settings,
    sources: Arc<Sources>,
    clock: Arc<dyn Clock>,
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
}

impl Readers {
    pub(crate) fn new(
        settings: Settings,
        sources: Arc<Sources>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let places = Semaphore::new(READERS);
        Arc::new(Self { settings, sources, clock, idle: Mutex::default(), places })
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        at: LogPosition,
    ) -> ports::Result<Option<LogRecord>> {
        if self.sources.place(at.shard).is_err() {
            // Of a topic that is not read any more.
            return Ok(None);
        }
        let to = at.position.next();
        let page = self.read_range(at.shard, at.position, to, 1).await?;
        Ok(page.records.into_iter().find(|record| record.at == at))
    }

    pub(crate) async fn read_range(
        self: &Arc<Self>,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> ports::Result<RangePage> {
        if from >= to || limit == 0 {
            return Ok(RangePage { records: Vec::new(), next: (from < to).then_some(from) });
        }
        let range = Range {
            place: self.sources.place(shard)?,
            from: offset(from),
            to: offset(to),
            limit,
            clock: self.clock.clone(),
        };
        self.with(move |client| range.read(client)).await
    }

    pub(crate) async fn position_at(
        self: &Arc<Self>,
        shard: Shard,
        time: Timestamp,
    ) -> ports::Result<Position> {
        // Negative times have other meanings in Kafka's protocol.
        let time = time.as_millis().max(0);
        let Place { topic, partition, .. } = self.sources.place(shard)?;
        let found = self.with(move |client| {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_offset(&topic, partition, Offset::Offset(time))?;
            let found = client.offsets_for_times(asked, CALL_TIMEOUT)?;
            let place = found.find_partition(&topic, partition);
            let place = place.ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
            place.error()?;
            match offset_of(place.offset()) {
                Some(offset) => Ok(offset),
                // Every record is older.
                None => Ok(client.fetch_watermarks(&topic, partition, CALL_TIMEOUT)?.1),
            }
        });
        found.await.map(|offset| Position(offset.unsigned_abs()))
    }

    pub(crate) async fn bounds(self: &Arc<Self>, shard: Shard) -> ports::Result<Bounds> {
        let Place { topic, partition, .. } = self.sources.place(shard)?;
        let found =
            self.with(move |client| client.fetch_watermarks(&topic, partition, CALL_TIMEOUT));
        let (low, next) = found.await?;
        Ok(Bounds { low: Position(low.unsigned_abs()), next: Position(next.unsigned_abs()) })
    }

    /// Runs something with a client, off the async threads.
    pub(crate) async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Client) -> KafkaResult<T> + Send + 'static,
    ) -> ports::Result<T> {
        let _place = self.places.acquire().await.map_err(|_| gone("the event log's reader"))?;
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let client = match readers.idle().pop() {
                Some(client) => client,
                None => BaseConsumer::from_config_and_context(
                    &client::reader(&readers.settings),
                    Context::default(),
                )?,
            };
            let result = run(&client);
            readers.idle().push(client);
            result
        });
        let read = task.await.map_err(|error| {
            Error::new(ErrorKind::Bug, "reading the event log panicked").with_source(error)
        })?;
        read.map_err(not_read)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn offset(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

struct Range {
    place: Place,
    from: i64,
    to: i64,
    limit: usize,
    clock: Arc<dyn Clock>,
}

impl Range {
    fn read(&self, client: &Client) -> KafkaResult<RangePage> {
        let page = self.read_from(client, self.from);
        let page = match page {
            Err(error) if is_out_of_range(&error) => {
                // Retention has passed where it began, or nothing has been written there yet.
                let (low, head) = client.fetch_watermarks(
                    &self.place.topic,
                    self.place.partition,
                    CALL_TIMEOUT,
                )?;
                if low >= self.to || self.from >= head {
                    Ok(RangePage::default())
                } else {
                    self.read_from(client, low.max(self.from))
                }
            }
            page => page,
        };
        client.unassign()?;
        page
    }

    fn read_from(&self, client: &Client, from: i64) -> KafkaResult<RangePage> {
        let Place { topic, partition, .. } = &self.place;
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, *partition, Offset::Offset(from))?;
        client.assign(&place)?;
        let end = self.clock.monotonic() + READ_TIMEOUT;
        let mut records: Vec<LogRecord> = Vec::new();
        let mut bytes = 0;
        loop {
            let left = end.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            match client.poll(left) {
                None => {}
                Some(Ok(message)) => {
                    use rdkafka::Message as _;
                    if message.offset() >= self.to {
                        return Ok(RangePage { records, next: None });
                    }
                    // A page that is full says where it goes on, though what is left of the range may turn out empty.
                    if records.len() == self.limit || bytes >= PAGE_BYTES {
                        let next = Some(Position(message.offset().unsigned_abs()));
                        return Ok(RangePage { records, next });
                    }
                    let record = crate::record::from_message(&message, &self.place);
                    bytes += record.record.size();
                    let is_last = message.offset() + 1 >= self.to;
                    records.push(record);
                    if is_last {
                        return Ok(RangePage { records, next: None });
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    return Ok(RangePage { records, next: None });
                }
                Some(Err(error)) if is_transient(&error) => {}
                Some(Err(error)) => return Err(error),
            }
        }
    }
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
    )
}

/// A connection that broke comes back by itself.
fn is_transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
        )
    )
}
