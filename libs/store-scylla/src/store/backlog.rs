//! What waits: append-only, read front to back from a cursor, never deleted.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use domain::{BacklogKey, BacklogRow, LaneKey, Seq, Timestamp};
use ports::{BacklogPage, BacklogStore};
use scylla::value::CqlTimestamp;

use super::lane_buckets::LaneBuckets;
use super::{Store, cql_limit, time, time_of, undecodable};
use crate::bucket::Bucket;
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

const TABLE: &str = "backlog";
const APPEND: &str = "INSERT INTO backlog (endpoint, shard, bucket_start, bucket_width, due, seq, body) VALUES (?, ?, ?, ?, ?, ?, ?)";
const PAGE: &str = "SELECT due, seq, body FROM backlog
    WHERE endpoint = ? AND shard = ? AND bucket_start = ? AND bucket_width = ? AND (due, seq) > (?, ?) AND (due, seq) <= (?, ?) LIMIT ?";
pub(super) struct Statements {
    append: Statement,
    page: Statement,
    buckets: LaneBuckets,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            append: cql.prepare(TABLE, APPEND).await?,
            page: cql.prepare(TABLE, PAGE).await?,
            buckets: LaneBuckets::prepare(cql).await?,
        })
    }
}

#[async_trait]
impl BacklogStore for Store {
    async fn append(&self, rows: &[(LaneKey, BacklogRow)]) -> ports::Result<()> {
        let mut partitions: HashMap<(LaneKey, Bucket), Vec<_>> = HashMap::new();
        let mut new: HashSet<(LaneKey, Bucket)> = HashSet::new();
        for (lane, row) in rows {
            let place = self.backlog.buckets.place(*lane, row.key.due);
            let partition = (*lane, place.bucket);
            if !place.is_registered {
                new.insert(partition);
            }
            partitions.entry(partition).or_default().push(new_row(*lane, place.bucket, row));
        }
        // A page that is read after the acknowledgement finds the bucket.
        let buckets = &self.backlog.buckets;
        all(new.into_iter().map(|(lane, bucket)| buckets.register(&self.cql, lane, bucket)))
            .await?;
        all(partitions
            .into_values()
            .map(|rows| self.cql.write_partition(&self.backlog.append, rows)))
        .await
    }

    async fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> ports::Result<BacklogPage> {
        // One more than wanted: its due time is the next one.
        let mut rows = self.first_rows(lane, after, upto, limit.saturating_add(1)).await?;
        if rows.len() > limit {
            let next_due = rows.get(limit).map(|row| row.key.due);
            rows.truncate(limit);
            return Ok(BacklogPage { rows, next_due });
        }
        let behind = self.first_rows(lane, upto.max(after), LAST, 1).await?;
        Ok(BacklogPage { rows, next_due: behind.first().map(|row| row.key.due) })
    }

    async fn trim(&self, _lane: LaneKey, _upto: BacklogKey) -> ports::Result<()> {
        // Whole windows expire; a row that is deleted would be a tombstone before the cursor.
        Ok(())
    }
}

/// Sorts after every row.
const LAST: BacklogKey = BacklogKey::end_of(Timestamp::MAX);

type Row = (uuid::Uuid, i32, CqlTimestamp, i32, CqlTimestamp, i64, Vec<u8>);

fn new_row(lane: LaneKey, bucket: Bucket, row: &BacklogRow) -> NewRow<Row> {
    let body = codec::encode_backlog(row);
    let bytes = body.len() + 48;
    let values = (
        lane.endpoint.uuid(),
        lane.shard.0.into(),
        time(bucket.start),
        bucket.width.seconds(),
        time(row.key.due),
        row.key.seq.0.cast_signed(),
        body,
    );
    NewRow { values, bytes }
}

impl Store {
    /// The first rows with keys in `(after, upto]`, in order, at most `limit`.
    ///
    /// Buckets are read by their starts. Where an hour outgrew its bucket, later rows of it lie in minutes and seconds that overlap the hour: once enough rows
    /// are found, a later bucket is asked only for keys below the last of them, so that rows are read once and not again with the next page.
    async fn first_rows(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> ports::Result<Vec<BacklogRow>> {
        let mut rows: Vec<BacklogRow> = Vec::new();
        let mut end = upto;
        if after >= upto {
            return Ok(rows);
        }
        let mut buckets = self.backlog.buckets.between(&self.cql, lane, after, upto).await?;
        while let Some(bucket) = buckets.next().await? {
            if bucket.start > end.due {
                break;
            }
            let found = self.rows_of(lane, bucket, (after, end), limit).await?;
            if found.is_empty() {
                continue;
            }
            rows.extend(found);
            rows.sort_unstable_by_key(|row| row.key);
            // A row whose append was repeated may lie in two buckets.
            rows.dedup_by_key(|row| row.key);
            rows.truncate(limit);
            if let Some(last) = rows.last().filter(|_| rows.len() == limit) {
                end = end.min(last.key);
            }
        }
        Ok(rows)
    }

    async fn rows_of(
        &self,
        lane: LaneKey,
        bucket: Bucket,
        (after, end): (BacklogKey, BacklogKey),
        limit: usize,
    ) -> ports::Result<Vec<BacklogRow>> {
        let values = (
            lane.endpoint.uuid(),
            i32::from(lane.shard.0),
            time(bucket.start),
            bucket.width.seconds(),
            time(after.due),
            after.seq.0.cast_signed(),
            time(end.due),
            end.seq.0.cast_signed(),
            cql_limit(limit),
        );
        let found: Vec<(CqlTimestamp, i64, Vec<u8>)> =
            self.cql.read(&self.backlog.page, values).await?;
        let row = |(due, seq, body): (CqlTimestamp, i64, Vec<u8>)| {
            let key = BacklogKey { due: time_of(due), seq: Seq(seq.cast_unsigned()) };
            codec::decode_backlog(key, &body).map_err(undecodable(TABLE))
        };
        found.into_iter().map(row).collect()
    }
}
