//! Lanes.

use async_trait::async_trait;
use domain::{BacklogKey, EndpointUid, Epoch, LaneKey, LaneRow, Seq, Shard, Timestamp};
use ports::LaneStore;
use rusqlite::{Connection, Row, params};

use super::{Store, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

pub(super) const SAVE: &str = "INSERT INTO lanes(shard, endpoint, epoch, cursor_due, cursor_seq, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT(shard, endpoint) DO UPDATE SET epoch = excluded.epoch, cursor_due = excluded.cursor_due,
      cursor_seq = excluded.cursor_seq, body = excluded.body
    WHERE excluded.epoch >= lanes.epoch";
pub(super) const OF_SHARD: &str = "SELECT endpoint, epoch, cursor_due, cursor_seq, body FROM lanes
    WHERE shard = ?1 AND endpoint > ?2 ORDER BY endpoint LIMIT ?3";
/// The next shard by the key, past the many lanes of the one before.
pub(super) const NEXT_SHARD: &str = "SELECT min(shard) FROM lanes WHERE shard >= ?1";
pub(super) const GET: &str = "SELECT endpoint, epoch, cursor_due, cursor_seq, body FROM lanes
    WHERE shard = ?1 AND endpoint = ?2";
pub(super) const REMOVE: &str =
    "DELETE FROM lanes WHERE shard = ?1 AND endpoint = ?2 AND epoch <= ?3";

#[async_trait]
impl LaneStore for Store {
    async fn save(&self, lanes: &[LaneRow]) -> ports::Result<()> {
        struct Row {
            key: LaneKey,
            epoch: Epoch,
            cursor: BacklogKey,
            body: Vec<u8>,
        }
        let row = |lane: &LaneRow| Row {
            key: lane.key,
            epoch: lane.epoch,
            cursor: lane.cursor,
            body: codec::encode_lane(lane),
        };
        let rows: Vec<Row> = lanes.iter().map(row).collect();
        let cost = Cost::rows(rows.len());
        let save = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(SAVE)?;
            for row in &rows {
                statement.execute(params![
                    row.key.shard.0,
                    row.key.endpoint.as_bytes(),
                    row.epoch.0,
                    row.cursor.due.as_millis(),
                    row.cursor.seq.0.cast_signed(),
                    row.body
                ])?;
            }
            Ok(())
        };
        self.write(cost, save).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<EndpointUid>,
        limit: usize,
    ) -> ports::Result<Vec<LaneRow>> {
        self.read(move |conn| of_shard(conn, shard, after, limit)).await
    }

    async fn get(&self, lane: LaneKey) -> ports::Result<Option<LaneRow>> {
        let get = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(GET)?;
            let mut rows = statement.query(params![lane.shard.0, lane.endpoint.as_bytes()])?;
            rows.next()?.map(|row| lane_of(lane.shard, row)).transpose()
        };
        self.read(get).await
    }

    async fn remove(&self, lane: LaneKey, epoch: Epoch) -> ports::Result<()> {
        let remove = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(REMOVE)?;
            statement.execute(params![lane.shard.0, lane.endpoint.as_bytes(), epoch.0])?;
            Ok(())
        };
        self.write(Cost::ONE, remove).await
    }
}

/// The first shard from `from` on that has lanes.
pub(super) fn next_shard(conn: &Connection, from: Shard) -> Result<Option<Shard>, Fault> {
    let mut statement = conn.prepare_cached(NEXT_SHARD)?;
    let shard: Option<u16> = statement.query_row([from.0], |row| row.get(0))?;
    Ok(shard.map(Shard))
}

pub(super) fn of_shard(
    conn: &Connection,
    shard: Shard,
    after: Option<EndpointUid>,
    limit: usize,
) -> Result<Vec<LaneRow>, Fault> {
    let mut statement = conn.prepare_cached(OF_SHARD)?;
    // An empty blob sorts before every uid.
    let after = after.map(|uid| uid.as_bytes().to_vec()).unwrap_or_default();
    let mut rows = statement.query(params![shard.0, after, sql_limit(limit)])?;
    let mut lanes = Vec::new();
    while let Some(row) = rows.next()? {
        lanes.push(lane_of(shard, row)?);
    }
    Ok(lanes)
}

fn lane_of(shard: Shard, row: &Row<'_>) -> Result<LaneRow, Fault> {
    let blob = |column| row.get_ref(column)?.as_blob().map_err(|_| odd("lane"));
    let endpoint = EndpointUid::from_slice(blob(0)?).ok_or_else(|| odd("lane"))?;
    let cursor = BacklogKey {
        due: Timestamp::from_millis(row.get(2)?),
        seq: Seq(row.get::<_, i64>(3)?.cast_unsigned()),
    };
    let key = LaneKey { shard, endpoint };
    let epoch = Epoch(row.get(1)?);
    Ok(codec::decode_lane(key, epoch, cursor, blob(4)?)?)
}
