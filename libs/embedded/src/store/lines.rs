//! Lines, and what is held in them.

use async_trait::async_trait;
use domain::{EndpointUid, Epoch, HeldRow, LaneKey, Line, LineRow, Position, Shard};
use ports::LineStore;
use rusqlite::{Connection, Row, params};

use super::{Store, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

/// Rows that one transaction forgets.
const FORGET_SLICE: usize = 2_000;

const HOLD: &str = "INSERT INTO held(endpoint, shard, line, position, body)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT(endpoint, shard, line, position) DO NOTHING";
const READ: &str = "SELECT body FROM held
    WHERE endpoint = ?1 AND shard = ?2 AND line = ?3 AND position >= ?4 AND position < ?5
    ORDER BY position LIMIT ?6";
const SAVE: &str = "INSERT INTO lines(shard, endpoint, line, epoch, body)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT(shard, endpoint, line) DO UPDATE SET epoch = excluded.epoch, body = excluded.body
    WHERE excluded.epoch >= lines.epoch";
const CLOSE: &str =
    "DELETE FROM lines WHERE shard = ?1 AND endpoint = ?2 AND line = ?3 AND epoch <= ?4";
/// What has had its turn.
const TRIM: &str = "DELETE FROM held
    WHERE endpoint = ?1 AND shard = ?2 AND line = ?3 AND position < ?4";
const OF_SHARD: &str = "SELECT endpoint, line, epoch, body FROM lines
    WHERE shard = ?1 AND (endpoint, line) > (?2, ?3) ORDER BY endpoint, line LIMIT ?4";
const FORGET_LINES: &str = "DELETE FROM lines WHERE shard = ?1 AND endpoint = ?2";
/// The last key of a slice: what lies at or before it goes.
const FORGET_END: &str = "SELECT line, position FROM held
    WHERE endpoint = ?1 AND shard = ?2 ORDER BY line, position LIMIT 1 OFFSET ?3";
const FORGET_TO: &str = "DELETE FROM held
    WHERE endpoint = ?1 AND shard = ?2 AND (line, position) <= (?3, ?4)";
const FORGET_ALL: &str = "DELETE FROM held WHERE endpoint = ?1 AND shard = ?2";

/// Every statement, for the test of their plans.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 10] =
    [HOLD, READ, SAVE, CLOSE, TRIM, OF_SHARD, FORGET_LINES, FORGET_END, FORGET_TO, FORGET_ALL];

#[async_trait]
impl LineStore for Store {
    async fn hold(&self, rows: &[(LaneKey, Line, HeldRow)]) -> ports::Result<()> {
        let row = |(lane, line, row): &(LaneKey, Line, HeldRow)| {
            (*lane, *line, column(row.event.at.position), codec::encode_held(row))
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        let cost = Cost::rows(rows.len());
        let hold = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(HOLD)?;
            for (lane, line, position, body) in &rows {
                statement.execute(params![
                    lane.endpoint.as_bytes(),
                    lane.shard.0,
                    line.as_bytes(),
                    position,
                    body
                ])?;
            }
            Ok(())
        };
        self.write(cost, hold).await
    }

    async fn read(
        &self,
        lane: LaneKey,
        line: Line,
        from: Position,
        before: Option<Position>,
        limit: usize,
    ) -> ports::Result<Vec<HeldRow>> {
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(READ)?;
            let mut found = statement.query(params![
                lane.endpoint.as_bytes(),
                lane.shard.0,
                line.as_bytes(),
                column(from),
                before.map_or(i64::MAX, column),
                sql_limit(limit)
            ])?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let body = row.get_ref(0)?.as_blob().map_err(|_| odd("held row"))?;
                rows.push(codec::decode_held(body)?);
            }
            Ok(rows)
        };
        self.read(read).await
    }

    async fn save(&self, lines: &[LineRow]) -> ports::Result<()> {
        let lines: Vec<(LineRow, Vec<u8>)> =
            lines.iter().map(|line| (line.clone(), codec::encode_line(line))).collect();
        let cost = Cost::rows(lines.len());
        let save = move |conn: &Connection| {
            for (line, body) in &lines {
                save_one(conn, line, body)?;
            }
            Ok(())
        };
        self.write(cost, save).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<(EndpointUid, Line)>,
        limit: usize,
    ) -> ports::Result<Vec<LineRow>> {
        let of_shard = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(OF_SHARD)?;
            // Empty blobs sort before every key.
            let (endpoint, line) = match after {
                Some((endpoint, line)) => (endpoint.as_bytes().to_vec(), line.as_bytes().to_vec()),
                None => (Vec::new(), Vec::new()),
            };
            let mut found = statement.query(params![shard.0, endpoint, line, sql_limit(limit)])?;
            let mut lines = Vec::new();
            while let Some(row) = found.next()? {
                lines.push(line_of(shard, row)?);
            }
            Ok(lines)
        };
        self.read(of_shard).await
    }

    async fn forget(&self, lane: LaneKey) -> ports::Result<()> {
        let cost = Cost::rows(FORGET_SLICE);
        while self.write(cost, move |conn| forget_slice(conn, lane)).await? {}
        Ok(())
    }
}

fn save_one(conn: &Connection, line: &LineRow, body: &[u8]) -> Result<(), Fault> {
    let (lane, epoch) = (line.lane, line.epoch.0);
    let key = (lane.shard.0, lane.endpoint.as_bytes(), line.line.as_bytes());
    let (changed, upto) = if line.is_open {
        let mut save = conn.prepare_cached(SAVE)?;
        (save.execute(params![key.0, key.1, key.2, epoch, body])?, line.from)
    } else {
        let mut close = conn.prepare_cached(CLOSE)?;
        (close.execute(params![key.0, key.1, key.2, epoch])?, Position(i64::MAX.cast_unsigned()))
    };
    if changed > 0 {
        conn.prepare_cached(TRIM)?.execute(params![key.1, key.0, key.2, column(upto)])?;
    }
    Ok(())
}

/// Forgets a part of a lane's lines. Returns whether there is more.
fn forget_slice(conn: &Connection, lane: LaneKey) -> Result<bool, Fault> {
    let (shard, endpoint) = (lane.shard.0, lane.endpoint.as_bytes());
    conn.prepare_cached(FORGET_LINES)?.execute(params![shard, endpoint])?;
    let mut end = conn.prepare_cached(FORGET_END)?;
    let mut found = end.query(params![endpoint, shard, sql_limit(FORGET_SLICE)])?;
    let Some(row) = found.next()? else {
        conn.prepare_cached(FORGET_ALL)?.execute(params![endpoint, shard])?;
        return Ok(false);
    };
    let (line, position): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
    conn.prepare_cached(FORGET_TO)?.execute(params![endpoint, shard, line, position])?;
    Ok(true)
}

fn column(position: Position) -> i64 {
    position.0.cast_signed()
}

fn line_of(shard: Shard, row: &Row<'_>) -> Result<LineRow, Fault> {
    let blob = |column| row.get_ref(column)?.as_blob().map_err(|_| odd("line"));
    let endpoint = EndpointUid::from_slice(blob(0)?).ok_or_else(|| odd("line"))?;
    let line = Line::from_slice(blob(1)?).ok_or_else(|| odd("line"))?;
    let epoch = Epoch(row.get(2)?);
    Ok(codec::decode_line(LaneKey { shard, endpoint }, line, epoch, blob(3)?)?)
}
