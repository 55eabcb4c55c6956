//! Removing records: by age, never above the slowest group unless the file has outgrown its hard limit.

use domain::{Shard, Timestamp};
use rusqlite::{OptionalExtension as _, params};

use super::state::{LogState, seq_of};
use super::{Log, read};
use crate::error::Fault;
use crate::writer::Cost;

/// Rows that one transaction removes (`embedded.md` §3).
const SLICE: i64 = 5_000;
/// Slices of one shard in one call; the rest is left to the next call.
const SLICES_MAX: usize = 200;
/// Pages given back to the file system at once.
const VACUUM_PAGES: u32 = 2_000;

pub(super) const SLOWEST: &str = "SELECT min(start) FROM pos WHERE shard = ?1";
pub(super) const CUT: &str =
    "SELECT seq FROM rec WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT 1 OFFSET ?3";
pub(super) const DELETE: &str = "DELETE FROM rec WHERE seq >= ?1 AND seq < ?2";
pub(super) const SET_LOW: &str = "UPDATE shard SET low = ?2 WHERE n = ?1";

/// What a pass of retention did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trimmed {
    /// Records removed.
    pub(crate) records: u64,
    /// Of these, records that a group had not acked yet.
    pub(crate) lost: u64,
}

/// How far one slice went.
struct Slice {
    trimmed: Trimmed,
    more: bool,
}

impl Log {
    /// Removes what is older than `cutoff`, and beyond `bytes_max` the oldest records whatever their age.
    pub(crate) async fn trim(
        &self,
        cutoff: Timestamp,
        bytes_max: Option<u64>,
    ) -> ports::Result<Trimmed> {
        let mut sum = Trimmed::default();
        let shards = || (0u16..).map(Shard).take(self.inner.commits.next.len());
        for shard in shards() {
            let next = self.inner.commits.next(shard.0.into());
            let aged = self
                .inner
                .readers
                .read(move |conn| read::position_at(conn, shard, cutoff, next))
                .await?;
            for _ in 0..SLICES_MAX {
                let slice = self.slice(move |state| state.trim_slice(shard, aged, false));
                if !sum.add(slice.await?) {
                    break;
                }
            }
        }
        let Some(max) = bytes_max else {
            return self.finish(sum).await;
        };
        // A slice of each shard in turn, so that none loses all of its records to the others.
        for _ in 0..SLICES_MAX {
            let mut more = false;
            for shard in shards() {
                let slice = self.slice(move |state| {
                    let over = state.bytes_used()? > max;
                    state.trim_slice(shard, 0, over)
                });
                more |= sum.add(slice.await?);
            }
            if !more {
                break;
            }
        }
        self.finish(sum).await
    }

    async fn slice(
        &self,
        run: impl FnOnce(&mut LogState) -> Result<Slice, Fault> + Send + 'static,
    ) -> ports::Result<Slice> {
        let cost = Cost::rows(usize::try_from(SLICE).unwrap_or(0));
        self.inner.write(cost, run).await
    }

    async fn finish(&self, sum: Trimmed) -> ports::Result<Trimmed> {
        if sum.lost > 0 {
            tracing::error!(
                records = sum.lost,
                "log.db outgrew its limit: records were removed that had not been delivered"
            );
        }
        self.inner.writer.alone(|state| crate::file::compact(&state.conn, VACUUM_PAGES)).await?;
        Ok(sum)
    }
}

impl Trimmed {
    /// Adds a slice; whether there is more to remove.
    fn add(&mut self, slice: Slice) -> bool {
        self.records += slice.trimmed.records;
        self.lost += slice.trimmed.lost;
        slice.more
    }
}

impl LogState {
    /// Bytes of the file that hold something.
    fn bytes_used(&self) -> Result<u64, Fault> {
        let number =
            |sql| -> Result<i64, Fault> { Ok(self.conn.query_row(sql, [], |row| row.get(0))?) };
        let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
        Ok((pages * super::KIND.page_size).cast_unsigned())
    }

    /// Removes one slice below `aged`, or, when the file is `over` its limit, the oldest slice there is.
    fn trim_slice(&mut self, shard: Shard, aged: u64, over: bool) -> Result<Slice, Fault> {
        let bounds = read::bounds(&self.conn, shard)?;
        let slowest: Option<i64> =
            self.conn.prepare_cached(SLOWEST)?.query_row([shard.0], |row| row.get(0))?;
        let slowest = slowest.map_or(u64::MAX, i64::cast_unsigned);
        let target = if over { bounds.next.0 } else { aged.min(slowest) };
        let none = Slice { trimmed: Trimmed::default(), more: false };
        if target <= bounds.low.0 {
            return Ok(none);
        }
        let from = seq_of(shard, bounds.low.0);
        let to = seq_of(shard, target);
        let cut: Option<i64> = self
            .conn
            .prepare_cached(CUT)?
            .query_row([from, to, SLICE], |row| row.get(0))
            .optional()?;
        let end = cut.unwrap_or(to);
        let removed = self.conn.prepare_cached(DELETE)?.execute([from, end])? as u64;
        let low = domain::LogPosition::from_packed(end).position.0;
        self.conn.prepare_cached(SET_LOW)?.execute(params![shard.0, low.cast_signed()])?;
        let unread = low.saturating_sub(slowest.max(bounds.low.0));
        Ok(Slice {
            trimmed: Trimmed { records: removed, lost: unread.min(removed) },
            more: cut.is_some(),
        })
    }
}
