//! Lanes: each owner overwrites its own row, whose key holds its epoch; readers take the highest.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{BacklogKey, EndpointUid, Epoch, LaneKey, LaneRow, Seq, Shard};
use ports::LaneStore;
use scylla::response::PagingState;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{Store, odd, time, time_of, undecodable};
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

const TABLE: &str = "lanes";
const SAVE: &str = "INSERT INTO lanes (shard, endpoint, epoch, cursor_due, cursor_seq, body) VALUES (?, ?, ?, ?, ?, ?)";
const OF_SHARD: &str = "SELECT endpoint, epoch, cursor_due, cursor_seq, body FROM lanes WHERE shard = ? AND endpoint > ?";
const FIRST_OF_SHARD: &str =
    "SELECT endpoint, epoch, cursor_due, cursor_seq, body FROM lanes WHERE shard = ?";
const SHARDS: &str = "SELECT DISTINCT shard FROM lanes";
const GET: &str = "SELECT endpoint, epoch, cursor_due, cursor_seq, body FROM lanes WHERE shard = ? AND endpoint = ? LIMIT 1";
const REMOVE: &str = "DELETE FROM lanes WHERE shard = ? AND endpoint = ? AND epoch <= ?";
const REMOVE_OLDER: &str = "DELETE FROM lanes WHERE shard = ? AND endpoint = ? AND epoch < ?";

/// Rows of former owners that a lane may keep; beyond it they are removed when the shard is taken over.
const OLD_EPOCHS_MAX: usize = 4;

pub(super) struct Statements {
    save: Statement,
    of_shard: Statement,
    first_of_shard: Statement,
    shards: Statement,
    get: Statement,
    remove: Statement,
    remove_older: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            save: cql.prepare(TABLE, SAVE).await?,
            of_shard: cql.prepare(TABLE, OF_SHARD).await?,
            first_of_shard: cql.prepare(TABLE, FIRST_OF_SHARD).await?,
            shards: cql.prepare(TABLE, SHARDS).await?,
            get: cql.prepare(TABLE, GET).await?,
            remove: cql.prepare(TABLE, REMOVE).await?,
            remove_older: cql.prepare(TABLE, REMOVE_OLDER).await?,
        })
    }
}

type Row = (Uuid, i32, CqlTimestamp, i64, Vec<u8>);

impl Store {
    /// The shards that have lanes, in order: a look over the whole table, for `postrider doctor`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn shards_with_lanes(&self) -> ports::Result<Vec<Shard>> {
        let rows: Vec<(i32,)> = self.cql.read(&self.lanes.shards, ()).await?;
        let shard = |(shard,): (i32,)| u16::try_from(shard).map(Shard).map_err(|_| odd(TABLE));
        let mut shards = rows.into_iter().map(shard).collect::<ports::Result<Vec<_>>>()?;
        shards.sort();
        Ok(shards)
    }
}

#[async_trait]
impl LaneStore for Store {
    async fn save(&self, lanes: &[LaneRow]) -> ports::Result<()> {
        // Of two rows of one lane the last one wins: written together they would have one timestamp.
        let newest: BTreeMap<(LaneKey, Epoch), &LaneRow> =
            lanes.iter().map(|lane| ((lane.key, lane.epoch), lane)).collect();
        let row = |lane: &LaneRow| {
            let body = codec::encode_lane(lane);
            let bytes = body.len() + 48;
            let values = (
                i32::from(lane.key.shard.0),
                lane.key.endpoint.uuid(),
                lane.epoch.0.cast_signed(),
                time(lane.cursor.due),
                lane.cursor.seq.0.cast_signed(),
                body,
            );
            NewRow { values, bytes }
        };
        let mut shards: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for lane in newest.into_values() {
            shards.entry(lane.key.shard).or_default().push(row(lane));
        }
        all(shards.into_values().map(|rows| self.cql.write_partition(&self.lanes.save, rows))).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<EndpointUid>,
        limit: usize,
    ) -> ports::Result<Vec<LaneRow>> {
        let mut lanes: Vec<LaneRow> = Vec::new();
        let mut older: BTreeMap<EndpointUid, (Epoch, usize)> = BTreeMap::new();
        let mut at = PagingState::start();
        'pages: loop {
            let shard_column = i32::from(shard.0);
            let read = match after {
                Some(uid) => {
                    self.cql
                        .read_page::<Row>(&self.lanes.of_shard, (shard_column, uid.uuid()), at)
                        .await
                }
                None => {
                    self.cql.read_page::<Row>(&self.lanes.first_of_shard, (shard_column,), at).await
                }
            };
            let (rows, more) = read?;
            for row in rows {
                let lane = lane(shard, row)?;
                match lanes.last() {
                    // The first row of an endpoint is its newest epoch's.
                    Some(newest) if newest.key == lane.key => {
                        older.entry(lane.key.endpoint).or_insert((newest.epoch, 0)).1 += 1;
                    }
                    _ if lanes.len() == limit => break 'pages,
                    _ => lanes.push(lane),
                }
            }
            match more {
                Some(state) => at = state,
                None => break,
            }
        }
        self.forget_older(shard, older).await;
        Ok(lanes)
    }

    async fn get(&self, lane_key: LaneKey) -> ports::Result<Option<LaneRow>> {
        let key = (i32::from(lane_key.shard.0), lane_key.endpoint.uuid());
        let rows: Vec<Row> = self.cql.read(&self.lanes.get, key).await?;
        rows.into_iter().next().map(|row| lane(lane_key.shard, row)).transpose()
    }

    async fn remove(&self, lane: LaneKey, epoch: Epoch) -> ports::Result<()> {
        let values = (i32::from(lane.shard.0), lane.endpoint.uuid(), epoch.0.cast_signed());
        self.cql.write(&self.lanes.remove, NewRow { values, bytes: 24 }).await
    }
}

impl Store {
    /// Removes rows of owners long gone. Nothing depends on it.
    async fn forget_older(&self, shard: Shard, older: BTreeMap<EndpointUid, (Epoch, usize)>) {
        let many = older.into_iter().filter(|(_, (_, rows))| *rows > OLD_EPOCHS_MAX);
        let forget = |(endpoint, (newest, _)): (EndpointUid, (Epoch, usize))| {
            let values = (i32::from(shard.0), endpoint.uuid(), newest.0.cast_signed());
            self.cql.write(&self.lanes.remove_older, NewRow { values, bytes: 24 })
        };
        if let Err(error) = all(many.map(forget)).await {
            tracing::debug!(shard = shard.0, %error, "rows of former owners stay until the next take-over");
        }
    }
}

fn lane(shard: Shard, (endpoint, epoch, due, seq, body): Row) -> ports::Result<LaneRow> {
    let key = LaneKey { shard, endpoint: EndpointUid::from_uuid(endpoint) };
    let epoch = u32::try_from(epoch).map_err(|_| odd(TABLE))?;
    let cursor = BacklogKey { due: time_of(due), seq: Seq(seq.cast_unsigned()) };
    codec::decode_lane(key, Epoch(epoch), cursor, &body).map_err(undecodable(TABLE))
}
