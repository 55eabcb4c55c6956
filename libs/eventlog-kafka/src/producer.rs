//! Appending.

mod unconfirmed;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use domain::record::{Poison, Record};
use domain::{LogPosition, Position, Shard, Timestamp};
use ports::{Appended, Clock, Error, ErrorKind, LogRecord, Shards};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{self, Context};
use crate::error::{gone, not_appended};
use crate::record::to_headers;
use crate::settings::Settings;
use crate::sources::Sources;
use unconfirmed::Unconfirmed;

/// Largest record: key, headers and value together (EL-8). Kafka's own default of `message.max.bytes` is a little above.
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// Writes records, each to the shard of its key.
pub(crate) struct Producer {
    settings: Settings,
    sources: Arc<Sources>,
    topic: String,
    shards: Shards,
    /// Replaced when librdkafka gives up an idempotent producer for good.
    client: RwLock<Arc<Client>>,
    /// Takes records without a key around the shards.
    spread: AtomicU32,
    unconfirmed: Mutex<Unconfirmed>,
    clock: Arc<dyn Clock>,
}

type Client = FutureProducer<Context>;

impl Producer {
    pub(crate) fn new(
        settings: &Settings,
        sources: Arc<Sources>,
        clock: Arc<dyn Clock>,
    ) -> KafkaResult<Self> {
        let client = make(settings)?;
        Ok(Self {
            settings: settings.clone(),
            topic: settings.events(),
            shards: sources.shards(),
            sources,
            client: RwLock::new(Arc::new(client)),
            spread: AtomicU32::new(0),
            unconfirmed: Mutex::default(),
            clock,
        })
    }

    pub(crate) async fn append(&self, records: Vec<Record>) -> Vec<ports::Result<Appended>> {
        let client = self.client();
        // All are handed over, in order, before any is waited for: so they share batches, and those of one key keep their order.
        let sent: Vec<_> = records.iter().map(|record| self.send(&client, record)).collect();
        let mut answers = Vec::with_capacity(sent.len());
        for sent in sent {
            answers.push(match sent {
                Err(error) => Err(error),
                Ok((shard, delivery)) => match delivery.await {
                    Ok(Ok(delivery)) => Ok(self.confirmed(shard, &delivery)),
                    Ok(Err((error, _))) => Err(self.failed(&client, error)),
                    Err(_) => Err(Error::new(
                        ErrorKind::Unknown,
                        "the event log's client ended before it confirmed a record",
                    )),
                },
            });
        }
        answers
    }

    /// Writes a record that is no event to the topic of those, with its place and what is wrong with it.
    pub(crate) async fn quarantine(
        &self,
        record: &LogRecord,
        poison: &Poison,
    ) -> ports::Result<()> {
        let client = self.client();
        let place = self.sources.place(record.at.shard)?;
        let (partition, offset) = (place.partition.to_string(), record.at.position.0.to_string());
        let reason = poison.to_string();
        let ours = [
            ("postrider_topic", &*place.topic),
            ("postrider_partition", &partition),
            ("postrider_offset", &offset),
            ("postrider_reason", &reason),
        ];
        let ours = ours.map(|(name, value)| (name, Some(value.as_bytes())));
        let theirs = record.record.headers.iter();
        let theirs = theirs.map(|(name, value)| (name.as_str(), value.as_deref()));
        let topic = self.settings.quarantine();
        let mut message: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(&topic).headers(to_headers(theirs.chain(ours)));
        if let Some(key) = &record.record.key {
            message = message.key(key);
        }
        if let Some(value) = &record.record.value {
            message = message.payload(value);
        }
        let sent = client.send_result(message).map_err(|(error, _)| not_appended(error))?;
        match sent.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(self.failed(&client, error)),
            Err(_) => Err(gone("the event log's client")),
        }
    }

    fn send(
        &self,
        client: &Client,
        record: &Record,
    ) -> ports::Result<(Shard, rdkafka::producer::future_producer::DeliveryFuture)> {
        let size = record.size();
        if size > RECORD_BYTES_MAX {
            let message =
                format!("record of {size} bytes is above the log's limit of {RECORD_BYTES_MAX}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let shard = self.shard_of(record);
        let headers = record.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_deref()));
        let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic)
            .partition(i32::from(shard.0))
            .headers(to_headers(headers));
        if let Some(key) = &record.key {
            message = message.key(key);
        }
        if let Some(value) = &record.value {
            message = message.payload(value);
        }
        match client.send_result(message) {
            Ok(delivery) => Ok((shard, delivery)),
            Err((error, _)) => Err(self.failed(client, error)),
        }
    }

    fn confirmed(&self, shard: Shard, delivery: &Delivery) -> Appended {
        self.unconfirmed().confirmed();
        let position = Position(delivery.offset.unsigned_abs());
        let time = delivery.timestamp.to_millis().unwrap_or_default();
        Appended { at: LogPosition { shard, position }, time: Timestamp::from_millis(time) }
    }

    /// How many records were not confirmed since the last one that was, and why the last of them was not, if that was a moment ago.
    pub(crate) fn told_unconfirmed(&self) -> Option<(u64, String)> {
        self.unconfirmed().told(self.clock.monotonic())
    }

    fn unconfirmed(&self) -> MutexGuard<'_, Unconfirmed> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a record was not written: what made the client give up says more than that it did.
    fn failed(&self, client: &Client, error: KafkaError) -> Error {
        // Never sent; of those that were, nobody knows.
        let is_unsent = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue)
        );
        let fatal = client.client().fatal_error().filter(|_| is_unsent);
        self.renew_if_fatal(client);
        let error = fatal.map_or(error, |(code, _)| KafkaError::MessageProduction(code));
        self.unconfirmed().failed(error.to_string(), self.clock.monotonic());
        not_appended(error)
    }

    fn shard_of(&self, record: &Record) -> Shard {
        match &record.key {
            Some(key) => self.shards.of_key(key),
            None => {
                let turn = self.spread.fetch_add(1, Ordering::Relaxed);
                Shard(u16::try_from(turn % u32::from(self.shards.appended().max(1))).unwrap_or(0))
            }
        }
    }

    fn client(&self) -> Arc<Client> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An idempotent producer that lost its sequence takes nothing any more: a new one begins a new sequence.
    fn renew_if_fatal(&self, failed: &Client) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if client.client().fatal_error().is_none() {
            return;
        }
        tracing::warn!(%code, reason, "Kafka's producer gave up; a new one is made");
        match make(&self.settings) {
            Ok(made) => *client = Arc::new(made),
            Err(error) => tracing::error!(%error, "a new producer could not be made"),
        }
    }
}

fn make(settings: &Settings) -> KafkaResult<Client> {
    use rdkafka::config::FromClientConfigAndContext as _;
    FutureProducer::from_config_and_context(&client::producer(settings), Context::default())
}
