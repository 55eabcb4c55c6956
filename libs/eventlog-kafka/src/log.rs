//! The `EventLog` on Kafka.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use domain::record::{Poison, Record};
use domain::{LogPosition, Position, Shard, Timestamp};
use ports::{
    Appended, Bounds, Clock, Consumer, Error, ErrorKind, EventLog, LogRecord, RangePage, Shards,
};

use crate::consumer::{KafkaConsumer, Shared};
use crate::member::Member;
use crate::producer::Producer;
use crate::reader::Readers;
use crate::settings::Settings;
use crate::sources::Sources;

/// The event log on the topics of events.
pub struct KafkaLog {
    pub(crate) settings: Settings,
    pub(crate) sources: Arc<Sources>,
    pub(crate) shards: Shards,
    pub(crate) producer: Producer,
    pub(crate) readers: Arc<Readers>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Threads of members, until they have left their groups.
    pub(crate) members: Mutex<Vec<JoinHandle<()>>>,
}

impl KafkaLog {
    /// Waits until members that were dropped have left their groups. Blocks.
    pub(crate) fn wait_for_members(&self) {
        let members = std::mem::take(&mut *self.members());
        for member in members {
            if member.join().is_err() {
                tracing::error!("a member of the consumer group panicked: a bug");
            }
        }
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn shards(&self) -> Shards {
        self.shards.clone()
    }

    async fn append(&self, records: Vec<Record>) -> Vec<ports::Result<Appended>> {
        self.producer.append(records).await
    }

    async fn consume(&self, group: &str) -> ports::Result<Box<dyn Consumer>> {
        let shared = Arc::new(Shared::default());
        let member = Member::join(
            self.settings.clone(),
            self.sources.clone(),
            group.to_owned(),
            self.clock.clone(),
            shared.clone(),
        );
        let member = member.map_err(crate::error::not_read)?;
        let ending = shared.clone();
        let thread = std::thread::Builder::new().name("kafka-member".to_owned()).spawn(move || {
            // Also when it panics, the port's side hears of its end.
            let _end = EndOf(ending);
            member.run();
        });
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "no thread for a consumer").with_source(error)
        })?;
        let mut members = self.members();
        members.retain(|member| !member.is_finished());
        members.push(thread);
        Ok(Box::new(KafkaConsumer { shared }))
    }

    async fn read(&self, at: LogPosition) -> ports::Result<Option<LogRecord>> {
        self.readers.read(at).await
    }

    async fn read_range(
        &self,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> ports::Result<RangePage> {
        self.readers.read_range(shard, from, to, limit).await
    }

    async fn position_at(&self, shard: Shard, time: Timestamp) -> ports::Result<Position> {
        self.readers.position_at(shard, time).await
    }

    async fn bounds(&self, shard: Shard) -> ports::Result<Bounds> {
        self.readers.bounds(shard).await
    }

    async fn quarantine(&self, record: &LogRecord, poison: &Poison) -> ports::Result<()> {
        self.producer.quarantine(record, poison).await
    }
}

struct EndOf(Arc<Shared>);

impl Drop for EndOf {
    fn drop(&mut self) {
        self.0.end();
    }
}
