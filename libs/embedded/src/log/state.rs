//! What the log's writer thread owns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use domain::{Epoch, LogPosition, Position, Shard, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Commits, KIND};
use crate::OpenError;
use crate::error::Fault;
use crate::open_mark::{OpenMark, SetError};
use crate::writer::State;

pub(super) const INSERT: &str = "INSERT INTO rec(seq, ts, head, value) VALUES (?1, ?2, ?3, ?4)";
pub(super) const SET_NEXT: &str = "UPDATE shard SET next = ?2 WHERE n = ?1";
pub(super) const LAST_TIME: &str =
    "SELECT ts FROM rec WHERE seq >= ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";

/// What one shard's next record gets.
#[derive(Clone, Copy)]
pub(super) struct ShardEnd {
    pub(super) next: u64,
    /// Times of a shard never go back, so that a time can be found by halving.
    pub(super) time: Timestamp,
    /// Whether `next` has to be written with this transaction.
    pub(super) dirty: bool,
}

/// The connection, and what only the writer may decide on.
pub(crate) struct LogState {
    pub(super) conn: Connection,
    pub(super) shards: Vec<ShardEnd>,
    /// The newest epoch of each group that was joined since the start.
    pub(super) epochs: HashMap<Arc<str>, Epoch>,
    commits: Arc<Commits>,
    mark: OpenMark,
}

impl LogState {
    pub(crate) fn load(conn: Connection, mark: OpenMark) -> Result<(Self, Arc<Commits>), Fault> {
        let mut shards = Vec::new();
        {
            let mut statement = conn.prepare("SELECT n, next FROM shard ORDER BY n")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (shard, next): (u16, i64) = (row.get(0)?, row.get(1)?);
                shards.push(ShardEnd {
                    next: next.cast_unsigned(),
                    time: last_time(&conn, Shard(shard))?,
                    dirty: false,
                });
            }
        }
        let next: Vec<u64> = shards.iter().map(|shard| shard.next).collect();
        let commits = Arc::new(Commits::new(&next));
        let state =
            Self { conn, shards, epochs: HashMap::new(), commits: Arc::clone(&commits), mark };
        Ok((state, commits))
    }
}

impl State for LogState {
    fn conn(&self) -> &Connection {
        &self.conn
    }

    fn close(&mut self) -> Result<(), SetError> {
        self.mark.clear(&self.conn)
    }

    fn before_commit(&mut self) -> Result<(), Fault> {
        let mut statement = self.conn.prepare_cached(SET_NEXT)?;
        for (number, shard) in (0u16..).zip(&mut self.shards) {
            if shard.dirty {
                statement.execute(params![number, shard.next.cast_signed()])?;
                shard.dirty = false;
            }
        }
        Ok(())
    }

    fn committed(&mut self) {
        let next: Vec<u64> = self.shards.iter().map(|shard| shard.next).collect();
        self.commits.publish(&next);
    }

    fn rolled_back(&mut self) {
        // The positions stay used: after a COMMIT that failed nobody knows whether they are.
        for shard in &mut self.shards {
            shard.dirty = true;
        }
    }
}

fn last_time(conn: &Connection, shard: Shard) -> Result<Timestamp, Fault> {
    let (from, to) = super::read::bounds_of(shard);
    let found = conn.query_row(LAST_TIME, [from, to], |row| row.get(0)).optional()?;
    Ok(found.map_or(Timestamp::ZERO, Timestamp::from_millis))
}

/// Makes the shards that are missing. Those that are there stay, whatever was asked for.
pub(crate) fn ensure_shards(dir: &Path, conn: &Connection, asked: u16) -> Result<(), OpenError> {
    let fault = |error: rusqlite::Error| OpenError::from_fault(&KIND.path(dir), &error.into());
    let found: u16 =
        conn.query_row("SELECT count(*) FROM shard", [], |row| row.get(0)).map_err(fault)?;
    if asked < found {
        return Err(OpenError::FewerShards { dir: dir.to_owned(), found, asked });
    }
    let mut sql = String::from("BEGIN IMMEDIATE;");
    for shard in found..asked {
        sql.push_str(&format!("INSERT INTO shard VALUES ({shard}, 0, 0);"));
    }
    sql.push_str("COMMIT;");
    if found < asked {
        conn.execute_batch(&sql).map_err(fault)?;
    }
    Ok(())
}

/// The rowid of a record.
pub(super) fn seq_of(shard: Shard, position: u64) -> i64 {
    let position = Position(position);
    LogPosition { shard, position }.packed()
}
