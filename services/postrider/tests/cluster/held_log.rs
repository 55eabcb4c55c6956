//! A log whose consumers can be kept from hearing anything: a member that the group cannot reach.

use async_trait::async_trait;
use domain::record::{Poison, Record};
use domain::{Epoch, LogPosition, Position, Shard, Timestamp};
use ports::{
    Ack, AckError, Appended, Bounds, Consumer, ConsumerItem, EventLog, LogRecord, RangePage,
    Result, Shards,
};
use testkit::MemoryLog;
use tokio::sync::watch;

pub(crate) struct HeldLog {
    pub(crate) log: MemoryLog,
    /// While it is true, `next` gives nothing.
    pub(crate) held: watch::Receiver<bool>,
    /// How many shards its consumers were assigned.
    pub(crate) assigned: watch::Sender<u16>,
}

struct HeldConsumer {
    consumer: Box<dyn Consumer>,
    held: watch::Receiver<bool>,
    assigned: watch::Sender<u16>,
}

#[async_trait]
impl EventLog for HeldLog {
    fn shards(&self) -> Shards {
        self.log.shards()
    }

    async fn append(&self, records: Vec<Record>) -> Vec<Result<Appended>> {
        self.log.append(records).await
    }

    async fn consume(&self, group: &str) -> Result<Box<dyn Consumer>> {
        let consumer = self.log.consume(group).await?;
        let (held, assigned) = (self.held.clone(), self.assigned.clone());
        Ok(Box::new(HeldConsumer { consumer, held, assigned }))
    }

    async fn read(&self, at: LogPosition) -> Result<Option<LogRecord>> {
        self.log.read(at).await
    }

    async fn read_range(
        &self,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> Result<RangePage> {
        self.log.read_range(shard, from, to, limit).await
    }

    async fn position_at(&self, shard: Shard, time: Timestamp) -> Result<Position> {
        self.log.position_at(shard, time).await
    }

    async fn bounds(&self, shard: Shard) -> Result<Bounds> {
        self.log.bounds(shard).await
    }

    async fn quarantine(&self, record: &LogRecord, poison: &Poison) -> Result<()> {
        self.log.quarantine(record, poison).await
    }
}

#[async_trait]
impl Consumer for HeldConsumer {
    async fn next(&mut self) -> Result<ConsumerItem> {
        // The sender lives as long as the test.
        let _ = self.held.wait_for(|held| !held).await;
        let item = self.consumer.next().await?;
        if matches!(item, ConsumerItem::Assigned { .. }) {
            self.assigned.send_modify(|count| *count += 1);
        }
        Ok(item)
    }

    async fn ack(&mut self, acks: &[Ack]) -> Vec<std::result::Result<(), AckError>> {
        self.consumer.ack(acks).await
    }

    fn release(&mut self, shard: Shard, epoch: Epoch) {
        self.consumer.release(shard, epoch);
    }
}
