//! Reading: by position, by range, by time.

use domain::record::Trust;
use domain::{LogPosition, Position, Shard, Timestamp};
use ports::{Bounds, LogRecord};
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::state::seq_of;
use crate::error::Fault;
use crate::head::decode_head;

/// A read ends when it has so many records or bytes.
pub(super) const PAGE_RECORDS: usize = 500;
const PAGE_BYTES: usize = 1024 * 1024;

pub(super) const ONE: &str = "SELECT seq, ts, head, value FROM rec WHERE seq = ?1";
pub(super) const RANGE: &str =
    "SELECT seq, ts, head, value FROM rec WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
pub(super) const FIRST_TIME: &str =
    "SELECT seq, ts FROM rec WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT 1";
pub(super) const BOUNDS: &str = "SELECT low, next FROM shard WHERE n = ?1";

/// The rowids of a shard: `[from, to)`.
pub(super) fn bounds_of(shard: Shard) -> (i64, i64) {
    (seq_of(shard, 0), seq_of(Shard(shard.0 + 1), 0))
}

pub(super) fn one(conn: &Connection, at: LogPosition) -> Result<Option<LogRecord>, Fault> {
    if !at.is_in_log() {
        return Ok(None);
    }
    let mut statement = conn.prepare_cached(ONE)?;
    let mut rows = statement.query([at.packed()])?;
    rows.next()?.map(record).transpose()
}

/// The records of `[from, to)` up to a page's size, and whether there are more.
pub(super) fn range(
    conn: &Connection,
    shard: Shard,
    from: u64,
    to: u64,
    limit: usize,
) -> Result<(Vec<LogRecord>, bool), Fault> {
    let (low, end) = bounds_of(shard);
    let first = low.saturating_add(i64::try_from(from).unwrap_or(i64::MAX)).min(end);
    let last = low.saturating_add(i64::try_from(to).unwrap_or(i64::MAX)).min(end);
    let limit = limit.min(PAGE_RECORDS);
    // One more than wanted tells whether there is more.
    let fetch = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut statement = conn.prepare_cached(RANGE)?;
    let mut rows = statement.query([first, last, fetch])?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record = record(row)?;
        bytes += record.record.size();
        let fits = records.len() < limit && (records.is_empty() || bytes <= PAGE_BYTES);
        if !fits {
            return Ok((records, true));
        }
        records.push(record);
    }
    Ok((records, false))
}

/// A page for a consumer, and the lowest position that is left, both of one moment.
pub(super) fn page(
    conn: &Connection,
    shard: Shard,
    from: u64,
) -> Result<(Vec<LogRecord>, u64), Fault> {
    let snapshot = conn.unchecked_transaction()?;
    let low = bounds(&snapshot, shard)?.low.0;
    let records = if low > from {
        Vec::new()
    } else {
        range(&snapshot, shard, from, u64::MAX, PAGE_RECORDS)?.0
    };
    snapshot.commit()?;
    Ok((records, low))
}

pub(super) fn bounds(conn: &Connection, shard: Shard) -> Result<Bounds, Fault> {
    let mut statement = conn.prepare_cached(BOUNDS)?;
    let found = statement
        .query_row([shard.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let (low, next) = found.ok_or(Fault::Bug("a shard that does not exist"))?;
    Ok(Bounds { low: Position(low.cast_unsigned()), next: Position(next.cast_unsigned()) })
}

/// Times of a shard never go back: halves the range of positions until the first one at or after `time` is found.
pub(super) fn position_at(
    conn: &Connection,
    shard: Shard,
    time: Timestamp,
    next: u64,
) -> Result<u64, Fault> {
    let snapshot = conn.unchecked_transaction()?;
    let bounds = bounds(&snapshot, shard)?;
    let (mut low, mut high) = (bounds.low.0, bounds.next.0.max(next));
    let mut statement = snapshot.prepare_cached(FIRST_TIME)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let range = [seq_of(shard, middle), seq_of(shard, high)];
        let found: Option<(i64, i64)> =
            statement.query_row(range, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, at)) if Timestamp::from_millis(at) < time => {
                low = LogPosition::from_packed(seq).position.0 + 1;
            }
            _ => high = middle,
        }
    }
    drop(statement);
    snapshot.commit()?;
    Ok(low)
}

fn record(row: &Row<'_>) -> Result<LogRecord, Fault> {
    let head = row.get_ref(2)?.as_blob().map_err(conversion)?;
    let value = row.get_ref(3)?.as_blob_or_null().map_err(conversion)?;
    Ok(LogRecord {
        at: LogPosition::from_packed(row.get(0)?),
        time: Timestamp::from_millis(row.get(1)?),
        trust: Trust::AnyTenant,
        record: decode_head(head, value)?,
    })
}

fn conversion(_: rusqlite::types::FromSqlError) -> Fault {
    codec::Damaged("log record").into()
}
