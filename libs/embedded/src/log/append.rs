//! Appending.

use std::sync::atomic::Ordering;

use domain::record::Record;
use domain::{LogPosition, Position, Shard, Timestamp, shard_of_key};
use ports::{Appended, Error, ErrorKind};
use rusqlite::params;

use super::state::{INSERT, LogState, seq_of};
use super::{Inner, Space};
use crate::error::Fault;
use crate::head::encode_head;
use crate::writer::Cost;

/// Largest record: key, headers and value together (EL-8).
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// A record as the writer takes it.
struct Row {
    shard: Shard,
    head: Vec<u8>,
    value: Option<bytes::Bytes>,
}

impl Inner {
    pub(super) async fn append(&self, records: Vec<Record>) -> Vec<ports::Result<Appended>> {
        if let Err(what) = self.space.check() {
            let full = || Err(Error::new(ErrorKind::Full, what.clone()));
            return records.iter().map(|_| full()).collect();
        }
        let shards = u16::try_from(self.commits.next.len()).unwrap_or(u16::MAX);
        let mut cost = Cost::default();
        let mut rows = Vec::with_capacity(records.len());
        // `None` stands for a record that goes to the writer.
        let mut refused: Vec<Option<Error>> = Vec::with_capacity(records.len());
        for record in records {
            let size = record.size();
            if size > RECORD_BYTES_MAX {
                let message = format!(
                    "record of {size} bytes is above the log's limit of {RECORD_BYTES_MAX}"
                );
                refused.push(Some(Error::new(ErrorKind::TooLarge, message)));
                continue;
            }
            refused.push(None);
            cost.rows += 1;
            cost.bytes += size;
            rows.push(Row {
                shard: self.shard_of(&record, shards),
                head: encode_head(&record),
                value: record.value,
            });
        }
        if rows.is_empty() {
            return refused.into_iter().flatten().map(Err).collect();
        }
        let now = self.clock.now();
        let written = self.write(cost, move |state| state.insert(&rows, now)).await;
        answers(refused, written)
    }

    fn shard_of(&self, record: &Record, shards: u16) -> Shard {
        match &record.key {
            Some(key) => shard_of_key(key, shards),
            None => {
                let turn = self.spread.fetch_add(1, Ordering::Relaxed);
                Shard(u16::try_from(turn % u32::from(shards.max(1))).unwrap_or(0))
            }
        }
    }
}

/// Puts the writer's answers, which are of the records that it got, where those records were.
fn answers(
    refused: Vec<Option<Error>>,
    written: ports::Result<Vec<Appended>>,
) -> Vec<ports::Result<Appended>> {
    let (kind, message) = match &written {
        Ok(_) => (ErrorKind::Bug, "a record was not answered".to_owned()),
        Err(error) => (error.kind(), error.to_string()),
    };
    let mut written = written.unwrap_or_default().into_iter();
    let answer = |refused: Option<Error>| match refused {
        Some(error) => Err(error),
        None => written.next().ok_or_else(|| Error::new(kind, message.clone())),
    };
    refused.into_iter().map(answer).collect()
}

impl LogState {
    fn insert(&mut self, rows: &[Row], now: Timestamp) -> Result<Vec<Appended>, Fault> {
        let mut statement = self.conn.prepare_cached(INSERT)?;
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            let end = self
                .shards
                .get_mut(usize::from(row.shard.0))
                .ok_or(Fault::Bug("a record of a shard that does not exist"))?;
            let position = end.next;
            end.next += 1;
            end.dirty = true;
            end.time = end.time.max(now);
            statement.execute(params![
                seq_of(row.shard, position),
                end.time.as_millis(),
                row.head,
                row.value.as_deref()
            ])?;
            answers.push(Appended {
                at: LogPosition { shard: row.shard, position: Position(position) },
                time: end.time,
            });
        }
        Ok(answers)
    }
}

impl Space {
    /// One call of the system a batch; it costs about a microsecond.
    fn check(&self) -> Result<(), String> {
        // A system that does not say how much is free is not a reason to refuse: SQLite will say when it is full.
        let free = fs4::available_space(&self.dir).unwrap_or(u64::MAX);
        let refuse = free < self.floor;
        if self.refusing.swap(refuse, Ordering::Relaxed) != refuse {
            tracing::warn!(
                dir = %self.dir.display(), free, floor = self.floor, refuse,
                "free space crossed the floor under which nothing is appended"
            );
        }
        if !refuse {
            return Ok(());
        }
        Err(format!(
            "{} has {free} bytes free, {} must stay free: make room or raise the limit",
            self.dir.display(),
            self.floor
        ))
    }
}
