//! The log and the hints as a worker sees them.

use async_trait::async_trait;
use domain::record::{Poison, Record};
use domain::{Epoch, LogPosition, Position, Shard, Timestamp};
use ports::{
    Ack, AckError, Appended, Bounds, Clock as _, ConfigFeed, Consumer, ConsumerItem, EventLog,
    Hint, LogRecord, RangePage, Shards,
};
use testkit::{Fault, MemoryFeed, MemoryLog, SimClock};
use tokio::sync::broadcast;

use crate::faults::{Faults, error_of};
use crate::journal::{Journal, What};
use crate::sabotage::Sabotage;

/// The log of one worker: the memory log, with failures, and notes of who owns what and what is acked.
pub(crate) struct SimLog {
    pub(crate) memory: MemoryLog,
    pub(crate) worker: usize,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) clock: SimClock,
    pub(crate) sabotage: Sabotage,
}

#[async_trait]
impl EventLog for SimLog {
    fn shards(&self) -> Shards {
        self.memory.shards()
    }

    async fn append(&self, records: Vec<Record>) -> Vec<ports::Result<Appended>> {
        self.memory.append(records).await
    }

    async fn consume(&self, group: &str) -> ports::Result<Box<dyn Consumer>> {
        self.faults.log_read()?;
        Ok(Box::new(SimConsumer {
            inner: self.memory.consume(group).await?,
            memory: self.memory.clone(),
            worker: self.worker,
            faults: self.faults.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            sabotage: self.sabotage,
        }))
    }

    async fn read(&self, at: LogPosition) -> ports::Result<Option<LogRecord>> {
        self.faults.log_read()?;
        self.memory.read(at).await
    }

    async fn read_range(
        &self,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> ports::Result<RangePage> {
        self.faults.log_read()?;
        self.memory.read_range(shard, from, to, limit).await
    }

    async fn position_at(&self, shard: Shard, time: Timestamp) -> ports::Result<Position> {
        self.memory.position_at(shard, time).await
    }

    async fn bounds(&self, shard: Shard) -> ports::Result<Bounds> {
        self.faults.log_read()?;
        self.memory.bounds(shard).await
    }

    async fn quarantine(&self, record: &LogRecord, poison: &Poison) -> ports::Result<()> {
        self.memory.quarantine(record, poison).await
    }
}

struct SimConsumer {
    inner: Box<dyn Consumer>,
    memory: MemoryLog,
    worker: usize,
    faults: Faults,
    journal: Journal,
    clock: SimClock,
    sabotage: Sabotage,
}

/// Everything that the log gave out, instead of what was said.
async fn ahead(log: &MemoryLog, acks: &[Ack]) -> Vec<Ack> {
    let mut ahead = acks.to_vec();
    for ack in &mut ahead {
        let next = log.bounds(ack.shard).await.map(|bounds| bounds.next.0);
        ack.upto = ack.upto.max(Position(next.unwrap_or(0).saturating_sub(1)));
    }
    ahead
}

impl SimConsumer {
    fn note_acks(&self, acks: &[Ack], answers: &[Result<(), AckError>], applied: bool) {
        for (ack, answer) in acks.iter().zip(answers) {
            let (worker, taken) = (self.worker, applied && answer.is_ok());
            let Ack { shard, epoch, upto } = *ack;
            self.journal.note(self.clock.now(), What::Acked { worker, shard, epoch, upto, taken });
        }
    }
}

#[async_trait]
impl Consumer for SimConsumer {
    async fn next(&mut self) -> ports::Result<ConsumerItem> {
        self.faults.log_read()?;
        let item = self.inner.next().await?;
        if let ConsumerItem::Assigned { shard, epoch, .. } = &item {
            let what = What::Assigned { worker: self.worker, shard: *shard, epoch: *epoch };
            self.journal.note(self.clock.now(), what);
        }
        Ok(item)
    }

    async fn ack(&mut self, acks: &[Ack]) -> Vec<Result<(), AckError>> {
        let acks = match self.sabotage {
            Sabotage::AcksRunAhead => ahead(&self.memory, acks).await,
            Sabotage::Nothing
            | Sabotage::RowsAreLost
            | Sabotage::RequestsAreDoubled
            | Sabotage::BodiesAreChanged
            | Sabotage::SchedulesAreHurried => acks.to_vec(),
        };
        match self.faults.ack() {
            None => {
                let answers = self.inner.ack(&acks).await;
                self.note_acks(&acks, &answers, true);
                answers
            }
            Some(fault) => {
                if fault == Fault::UnknownApplied {
                    let answers = self.inner.ack(&acks).await;
                    self.note_acks(&acks, &answers, true);
                }
                acks.iter().map(|_| Err(error_of(fault).into())).collect()
            }
        }
    }

    fn release(&mut self, shard: Shard, epoch: Epoch) {
        self.inner.release(shard, epoch);
    }
}

/// Hints, of which some are lost.
pub(crate) struct SimFeed {
    pub(crate) memory: MemoryFeed,
    pub(crate) faults: Faults,
}

#[async_trait]
impl ConfigFeed for SimFeed {
    async fn hint(&self, hint: Hint) -> ports::Result<()> {
        if self.faults.loses_hint() {
            return Ok(());
        }
        self.memory.hint(hint).await
    }

    fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.memory.subscribe()
    }
}
