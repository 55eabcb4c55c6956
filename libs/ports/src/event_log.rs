//! The event log: where events are durable before anything else happens.

use std::sync::Arc;

use async_trait::async_trait;
use domain::record::{self, Poison, Record, Trust};
use domain::{ApiVersion, Epoch, Event, LogPosition, Position, Shard, Timestamp, shard_of_key};

use crate::{Error, Lease, Result};

/// The log of events, in shards.
///
/// EL-1  `append` answers a record with its place once it is durable; records of one call that have the same key keep their order.
/// EL-2  Records of one shard are given in the order of their positions. Positions increase; they are not dense.
/// EL-3  After `ack(shard, p)` no record at or below `p` is given to this group again, also after a restart.
/// EL-4  An ack of an epoch that ended answers `Fenced` and changes nothing. An ack never moves back.
/// EL-5  What was not acked is given again after a restart.
/// EL-6  A record's key decides its shard as [`Shards::of_key`] does; records without a key are spread.
/// EL-7  Headers come back as they were: order, repeated names, null and binary values.
/// EL-8  A record above the adapter's limit (1 MB) answers `TooLarge`, and the others of its call are not affected.
/// EL-9  Two groups are independent of each other.
/// EL-10 When retention has passed a group's position, the consumer is told once by `Gap`, then goes on at the first record that is left.
/// EL-11 `read_range` gives the records of `[from, to)` in order, at most `limit`, also those below the acked position.
/// EL-12 A slow consumer holds at most one batch in memory.
/// EL-13 A member's lease of a shard does not hold any more when another one is assigned it, whether or not the first has been told.
/// EL-14 `quarantine` answers once a record that is no event lies, with its place and what is wrong with it, where a person finds it. The log does not change.
/// EL-15 A member that hears `Leaving` owns the shard until it releases it, or for a few seconds more: acks until then count, and the next owner goes on behind
///       them. A log whose shards are taken at once never says it.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Which shards there are; fixed while the process runs.
    fn shards(&self) -> Shards;

    /// Appends records; one answer per record, in order.
    async fn append(&self, records: Vec<Record>) -> Vec<Result<Appended>>;

    /// Joins a group of consumers. Shards are assigned to its members.
    ///
    /// # Errors
    /// When the log cannot be reached.
    async fn consume(&self, group: &str) -> Result<Box<dyn Consumer>>;

    /// Reads one record; `None` when there is none at this place (or retention has passed it).
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn read(&self, at: LogPosition) -> Result<Option<LogRecord>>;

    /// Reads the records of `[from, to)` of a shard, at most `limit`, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn read_range(
        &self,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> Result<RangePage>;

    /// The position of the first record at or after a time; the next position when there is none.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn position_at(&self, shard: Shard, time: Timestamp) -> Result<Position>;

    /// The lowest position that can be read and the next one that will be given out.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn bounds(&self, shard: Shard) -> Result<Bounds>;

    /// Sets a record aside that is no event, so that its shard may go on without it. Repeating it is harmless.
    ///
    /// # Errors
    /// When it could not be written.
    async fn quarantine(&self, record: &LogRecord, poison: &Poison) -> Result<()>;
}

/// The shards of a log: those that [`EventLog::append`] writes, and those that only others write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shards {
    appended: u16,
    others: Arc<[Shard]>,
}

impl Shards {
    /// The shards 0 to before `appended`, and others that are not among them.
    #[must_use]
    pub fn new(appended: u16, others: impl IntoIterator<Item = Shard>) -> Self {
        let mut others: Vec<Shard> = others.into_iter().collect();
        others.sort_unstable();
        Self { appended, others: others.into() }
    }

    /// How many shards are appended to: they are numbered from 0.
    #[must_use]
    pub fn appended(&self) -> u16 {
        self.appended
    }

    /// The shard that a key is appended to.
    #[must_use]
    pub fn of_key(&self, key: &[u8]) -> Shard {
        shard_of_key(key, self.appended)
    }

    /// All of them, in order.
    pub fn all(&self) -> impl Iterator<Item = Shard> + Send + use<> {
        let others = self.others.clone();
        let others = (0..others.len()).filter_map(move |index| others.get(index).copied());
        (0..self.appended).map(Shard).chain(others)
    }
}

/// One member of a group. Dropping it leaves the group.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for the next item. Cancel safe: nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the log cannot be read; the caller may call again.
    async fn next(&mut self) -> Result<ConsumerItem>;

    /// Says of shards that everything up to a position is handed off; one answer each, in order: durable, or [`AckError::Fenced`] when the epoch has ended.
    async fn ack(&mut self, acks: &[Ack]) -> Vec<std::result::Result<(), AckError>>;

    /// Says that nothing is under way any more of a shard that is [`ConsumerItem::Leaving`]; `Revoked` follows. Of any other it does nothing.
    fn release(&mut self, _shard: Shard, _epoch: Epoch) {}
}

/// Everything of a shard up to and including a position is handed off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The shard.
    pub shard: Shard,
    /// The epoch of the assignment.
    pub epoch: Epoch,
    /// The last position.
    pub upto: Position,
}

/// What a consumer hears.
#[derive(Debug)]
pub enum ConsumerItem {
    /// The member owns the shard now.
    Assigned {
        /// The shard.
        shard: Shard,
        /// Larger than that of every owner before.
        epoch: Epoch,
        /// The last acked position; `None` when the group never acked.
        acked: Option<Position>,
        /// The next position that the log will give out, as of the assignment: what lies below may have been read before.
        head: Position,
        /// Whether the member may still send for the shard.
        lease: Lease,
    },
    /// Records of one shard, in order; at most 500 or 1 MiB.
    Records {
        /// The shard.
        shard: Shard,
        /// The records.
        records: Vec<LogRecord>,
    },
    /// Another member waits for the shard, and no more records of it are given. It is the member's until [`Consumer::release`], or for a few seconds more.
    Leaving {
        /// The shard.
        shard: Shard,
    },
    /// The member does not own the shard any more. Acks of its epoch are refused from now on.
    Revoked {
        /// The shard.
        shard: Shard,
    },
    /// Records from `from` on are gone (retention); reading goes on at `to`.
    Gap {
        /// The shard.
        shard: Shard,
        /// The first position that is missing.
        from: Position,
        /// The first position that is left.
        to: Position,
    },
}

/// A record that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Where it lies.
    pub at: LogPosition,
    /// The log's time of it.
    pub time: Timestamp,
}

/// A record with its place and time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// Where it lies.
    pub at: LogPosition,
    /// When the log took it.
    pub time: Timestamp,
    /// How far its writer is believed.
    pub trust: Trust,
    /// The record.
    pub record: Record,
}

impl LogRecord {
    /// The event that it is. `api_version` stands in for a missing one.
    ///
    /// # Errors
    /// [`Poison`] says why it is none.
    pub fn event(&self, api_version: &ApiVersion) -> std::result::Result<Event, Poison> {
        record::decode(&self.record, self.at, self.time, &self.trust, api_version)
    }
}

/// A part of a shard.
#[derive(Debug, Default)]
pub struct RangePage {
    /// The records, oldest first.
    pub records: Vec<LogRecord>,
    /// Where to go on; `None` when the range is read to its end.
    pub next: Option<Position>,
}

/// What a shard holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The lowest position that can be read.
    pub low: Position,
    /// The next position that will be given out.
    pub next: Position,
}

/// An ack that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// The shard has another owner now.
    #[error("the shard has another owner now")]
    Fenced,
    /// The log could not be reached.
    #[error(transparent)]
    Port(#[from] Error),
}
