//! What waits.

use async_trait::async_trait;
use domain::{BacklogKey, BacklogRow, LaneKey, Seq, Timestamp, Trigger};
use ports::{BacklogPage, BacklogStore};
use rusqlite::{Connection, Row, params};

use super::{Store, events, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

/// Rows that one transaction trims.
pub(super) const TRIM_SLICE: usize = 2_000;

pub(super) const APPEND: &str = "INSERT INTO backlog(endpoint, shard, due, seq, body)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT(endpoint, shard, due, seq) DO NOTHING";
pub(super) const PAGE: &str = "SELECT due, seq, body FROM backlog
    WHERE endpoint = ?1 AND shard = ?2 AND (due, seq) > (?3, ?4) ORDER BY due, seq LIMIT ?5";
/// The last key of a slice: what lies at or before it goes.
pub(super) const TRIM_END: &str = "SELECT due, seq FROM backlog
    WHERE endpoint = ?1 AND shard = ?2 AND (due, seq) <= (?3, ?4) ORDER BY due, seq LIMIT 1 OFFSET ?5";
pub(super) const TRIM: &str =
    "DELETE FROM backlog WHERE endpoint = ?1 AND shard = ?2 AND (due, seq) <= (?3, ?4)";

#[async_trait]
impl BacklogStore for Store {
    async fn append(&self, rows: &[(LaneKey, BacklogRow)]) -> ports::Result<()> {
        let rows: Vec<(LaneKey, BacklogRow, Vec<u8>)> = rows
            .iter()
            .map(|(lane, row)| (*lane, row.clone(), codec::encode_backlog(row)))
            .collect();
        let cost = Cost::rows(rows.len());
        let append = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(APPEND)?;
            for (lane, row, body) in &rows {
                statement.execute(params![
                    lane.endpoint.as_bytes(),
                    lane.shard.0,
                    row.key.due.as_millis(),
                    row.key.seq.0.cast_signed(),
                    body
                ])?;
                // A run of the log is over before its body may go; one that began later must keep it longer.
                if row.trigger != Trigger::Event {
                    events::keep(conn, &row.event, row.first_due + events::KEEP_BODY)?;
                }
            }
            Ok(())
        };
        self.write(cost, append).await
    }

    async fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> ports::Result<BacklogPage> {
        self.read(move |conn| page(conn, lane, after, upto, limit)).await
    }

    async fn trim(&self, lane: LaneKey, upto: BacklogKey) -> ports::Result<()> {
        let cost = Cost::rows(TRIM_SLICE);
        while self.write(cost, move |conn| trim_slice(conn, lane, upto)).await?.more {}
        Ok(())
    }
}

fn page(
    conn: &Connection,
    lane: LaneKey,
    after: BacklogKey,
    upto: BacklogKey,
    limit: usize,
) -> Result<BacklogPage, Fault> {
    let mut statement = conn.prepare_cached(PAGE)?;
    // One more than wanted: its due time is the next one.
    let mut found = statement.query(params![
        lane.endpoint.as_bytes(),
        lane.shard.0,
        after.due.as_millis(),
        after.seq.0.cast_signed(),
        sql_limit(limit).saturating_add(1)
    ])?;
    let mut page = BacklogPage::default();
    while let Some(row) = found.next()? {
        let key = key_of(row)?;
        if page.rows.len() == limit || key > upto {
            page.next_due = Some(key.due);
            break;
        }
        let body = row.get_ref(2)?.as_blob().map_err(|_| odd("backlog row"))?;
        page.rows.push(codec::decode_backlog(key, body)?);
    }
    Ok(page)
}

pub(super) struct TrimmedSlice {
    pub(super) rows: u64,
    pub(super) more: bool,
}

/// Removes the first rows at or before `upto`.
pub(super) fn trim_slice(
    conn: &Connection,
    lane: LaneKey,
    upto: BacklogKey,
) -> Result<TrimmedSlice, Fault> {
    let mut end = conn.prepare_cached(TRIM_END)?;
    let mut found = end.query(params![
        lane.endpoint.as_bytes(),
        lane.shard.0,
        upto.due.as_millis(),
        upto.seq.0.cast_signed(),
        sql_limit(TRIM_SLICE)
    ])?;
    let cut = found.next()?.map(key_of).transpose()?;
    drop(found);
    let end = cut.unwrap_or(upto);
    let rows = conn.prepare_cached(TRIM)?.execute(params![
        lane.endpoint.as_bytes(),
        lane.shard.0,
        end.due.as_millis(),
        end.seq.0.cast_signed()
    ])?;
    Ok(TrimmedSlice { rows: rows as u64, more: cut.is_some() })
}

fn key_of(row: &Row<'_>) -> Result<BacklogKey, Fault> {
    Ok(BacklogKey {
        due: Timestamp::from_millis(row.get(0)?),
        seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
    })
}
