//! The event log on `log.db`.
//!
//! A record's rowid is `shard << 40 | position`, so that a shard is one range of the table and a page is one range read. The next position of each
//! shard is stored, never derived from the rows: retention may have removed them all. Positions that a failed COMMIT may have used are not used again.

mod append;
mod consumer;
mod group;
mod read;
mod retention;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use domain::record::{Poison, Record};
use domain::{LogPosition, Position, Shard, Timestamp};
use ports::{Appended, Bounds, Clock, Consumer, EventLog, LogRecord, RangePage, Shards};
use tokio::sync::watch;

use crate::error::Fault;
use crate::file::Kind;
use crate::readers::Readers;
use crate::writer::{Cost, Writer};

pub use append::RECORD_BYTES_MAX;
pub(crate) use state::{LogState, ensure_shards};

/// `log.db`: 16 KiB pages, since its rows are records of about a kilobyte.
pub(crate) const KIND: Kind = Kind {
    name: "log.db",
    application_id: 0x5052_4c47,
    format: 1,
    page_size: 16_384,
    schema: "
        CREATE TABLE rec(seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, head BLOB NOT NULL, value BLOB);
        CREATE TABLE shard(n INTEGER PRIMARY KEY, next INTEGER NOT NULL, low INTEGER NOT NULL);
        CREATE TABLE grp(name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE pos(grp TEXT NOT NULL, shard INTEGER NOT NULL, acked INTEGER, start INTEGER NOT NULL,
                         PRIMARY KEY(grp, shard)) WITHOUT ROWID;",
    upgrades: &[],
    vital: &["shard", "grp", "pos"],
};

/// Every statement on a served path, for the test of their plans.
#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    state::INSERT,
    state::SET_NEXT,
    state::LAST_TIME,
    read::ONE,
    read::RANGE,
    read::FIRST_TIME,
    read::BOUNDS,
    group::RAISE_EPOCH,
    group::POSITIONS,
    group::ACKED,
    group::ACK,
    retention::CUT,
    retention::DELETE,
    retention::SET_LOW,
];

/// The embedded event log.
pub struct Log {
    inner: Arc<Inner>,
}

/// What the log, its consumers and its writer's closures share.
struct Inner {
    writer: Writer<LogState>,
    readers: Readers,
    commits: Arc<Commits>,
    groups: group::Groups,
    clock: Arc<dyn Clock>,
    /// Takes records without a key around the shards.
    spread: AtomicU32,
    space: Space,
}

/// What readers know of the last COMMIT.
pub(crate) struct Commits {
    /// The next position of each shard.
    next: Vec<AtomicU64>,
    /// Raised at each COMMIT that changed one of them.
    raised: watch::Sender<u64>,
    /// The log is closed: nothing comes any more.
    closed: AtomicBool,
}

impl Commits {
    pub(crate) fn new(next: &[u64]) -> Self {
        Self {
            next: next.iter().map(|next| AtomicU64::new(*next)).collect(),
            raised: watch::Sender::new(0),
            closed: AtomicBool::new(false),
        }
    }

    fn next(&self, shard: usize) -> u64 {
        self.next.get(shard).map_or(0, |next| next.load(Ordering::Acquire))
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes every consumer: none hears of anything any more.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.raised.send_modify(|count| *count += 1);
    }

    fn publish(&self, next: &[u64]) {
        let mut changed = false;
        for (shared, next) in self.next.iter().zip(next) {
            changed |= shared.swap(*next, Ordering::AcqRel) != *next;
        }
        if changed {
            self.raised.send_modify(|count| *count += 1);
        }
    }
}

/// Refuses appends while the disk is nearly full, so that trimming still has room to work.
pub(crate) struct Space {
    pub(crate) dir: PathBuf,
    /// Bytes that must stay free.
    pub(crate) floor: u64,
    /// Whether the last append was refused; logged when it changes.
    pub(crate) refusing: AtomicBool,
}

impl Log {
    pub(crate) fn new(
        writer: Writer<LogState>,
        readers: Readers,
        commits: Arc<Commits>,
        clock: Arc<dyn Clock>,
        space: Space,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                writer,
                readers,
                commits,
                groups: group::Groups::default(),
                clock,
                spread: AtomicU32::new(0),
                space,
            }),
        }
    }

    pub(crate) async fn stop(&self) {
        self.inner.commits.close();
        self.inner.readers.stop().await;
        self.inner.writer.stop().await;
    }

    pub(crate) async fn quick_check(&self) -> ports::Result<Option<String>> {
        self.inner.readers.read(crate::file::quick_check).await
    }
}

#[async_trait]
impl EventLog for Log {
    fn shards(&self) -> Shards {
        Shards::new(u16::try_from(self.inner.commits.next.len()).unwrap_or(u16::MAX), [])
    }

    async fn append(&self, records: Vec<Record>) -> Vec<ports::Result<Appended>> {
        self.inner.append(records).await
    }

    async fn consume(&self, group: &str) -> ports::Result<Box<dyn Consumer>> {
        let consumer = consumer::LogConsumer::join(&self.inner, group).await?;
        Ok(Box::new(consumer))
    }

    async fn read(&self, at: LogPosition) -> ports::Result<Option<LogRecord>> {
        self.inner.readers.read(move |conn| read::one(conn, at)).await
    }

    async fn read_range(
        &self,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> ports::Result<RangePage> {
        let read = self.inner.readers.read(move |conn| {
            let (records, more) = read::range(conn, shard, from.0, to.0, limit)?;
            let last = records.last().map(|record| record.at.position.next());
            let next = more.then(|| last.unwrap_or(from));
            Ok(RangePage { records, next })
        });
        read.await
    }

    async fn position_at(&self, shard: Shard, time: Timestamp) -> ports::Result<Position> {
        let next = self.inner.commits.next(shard.0.into());
        let found = self.inner.readers.read(move |conn| read::position_at(conn, shard, time, next));
        found.await.map(Position)
    }

    async fn bounds(&self, shard: Shard) -> ports::Result<Bounds> {
        self.inner.readers.read(move |conn| read::bounds(conn, shard)).await
    }

    async fn quarantine(&self, _record: &LogRecord, _poison: &Poison) -> ports::Result<()> {
        // Only the API writes here, so that poison is a bug of ours or damage: the record stays where it lies until retention, and the log line names its place.
        Ok(())
    }
}

impl Inner {
    /// A write that takes part in a group commit.
    async fn write<T: Send + 'static>(
        &self,
        cost: Cost,
        run: impl FnOnce(&mut LogState) -> Result<T, Fault> + Send + 'static,
    ) -> ports::Result<T> {
        self.writer.write(cost, run).await
    }
}
