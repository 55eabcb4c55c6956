//! The registry of a lane's backlog: which stretches of time hold rows, so that a page asks for those alone.

use std::collections::{BTreeSet, VecDeque};

use domain::{BacklogKey, LaneKey, Timestamp};
use scylla::response::PagingState;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::{odd, time};
use crate::bucket::{Bucket, Place, Placer, Width};
use crate::cql::{Cql, NewRow, Statement, gather};
use crate::error::OpenError;

const TABLE: &str = "backlog_buckets";
const REGISTER: &str =
    "INSERT INTO backlog_buckets (endpoint, shard, bucket_start, bucket_width) VALUES (?, ?, ?, ?)";
const AT: &str = "SELECT bucket_start, bucket_width FROM backlog_buckets WHERE endpoint = ? AND shard = ? AND bucket_start = ?";
const BETWEEN: &str = "SELECT bucket_start, bucket_width FROM backlog_buckets
    WHERE endpoint = ? AND shard = ? AND bucket_start >= ? AND bucket_start <= ?";

/// Rows of the registry that one read brings: a page of the backlog seldom spans more buckets, and an hour may have thousands.
const PAGE_BUCKETS: i32 = 64;

pub(super) struct LaneBuckets {
    register: Statement,
    at: Statement,
    between: Statement,
    placer: Placer<LaneKey>,
}

impl LaneBuckets {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            register: cql.prepare(TABLE, REGISTER).await?,
            at: cql.prepare(TABLE, AT).await?,
            between: cql.prepare(TABLE, BETWEEN).await?.in_pages_of(PAGE_BUCKETS),
            placer: Placer::new(),
        })
    }

    /// Chooses the bucket of a row.
    pub(super) fn place(&self, lane: LaneKey, due: Timestamp) -> Place {
        self.placer.place(lane, due)
    }

    /// Makes a bucket known; rows in it may be acknowledged afterwards.
    pub(super) async fn register(
        &self,
        cql: &Cql,
        lane: LaneKey,
        bucket: Bucket,
    ) -> ports::Result<()> {
        let (endpoint, shard) = columns(lane);
        let values = (endpoint, shard, time(bucket.start), bucket.width.seconds());
        cql.write(&self.register, NewRow { values, bytes: 32 }).await?;
        self.placer.registered(lane, bucket);
        Ok(())
    }

    /// The buckets that may hold rows with keys in `(after, upto]`, by their starts.
    pub(super) async fn between<'a>(
        &'a self,
        cql: &'a Cql,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
    ) -> ports::Result<Buckets<'a>> {
        let (endpoint, shard) = columns(lane);
        // What starts before the second of `after` and ends behind it can only be its hour and its minute.
        let [hour, minute, from] = [Width::Hour, Width::Minute, Width::Second]
            .map(|width| Bucket::of(after.due, width).start);
        let starts = BTreeSet::from([hour, minute]).into_iter().filter(|start| *start < from);
        let at = |start| cql.read(&self.at, (endpoint, shard, time(start)));
        let found: Vec<Vec<_>> = gather(starts.map(at)).await?;
        let mut ready = buckets(found.into_iter().flatten())?;
        ready.retain(|bucket| bucket.end() > after.due);
        let key = (endpoint, shard, time(from), time(upto.due));
        Ok(Buckets { cql, between: &self.between, key, ready, more: Some(PagingState::start()) })
    }
}

/// Buckets of a lane, brought a page at a time as they are asked for.
pub(super) struct Buckets<'a> {
    cql: &'a Cql,
    between: &'a Statement,
    key: (Uuid, i32, CqlTimestamp, CqlTimestamp),
    ready: VecDeque<Bucket>,
    more: Option<PagingState>,
}

impl Buckets<'_> {
    /// The next one. It starts no earlier than those before it.
    pub(super) async fn next(&mut self) -> ports::Result<Option<Bucket>> {
        while self.ready.is_empty() {
            let Some(at) = self.more.take() else { return Ok(None) };
            let (found, more) = self.cql.read_page(self.between, self.key, at).await?;
            self.ready = buckets(found)?;
            self.more = more;
        }
        Ok(self.ready.pop_front())
    }
}

fn columns(lane: LaneKey) -> (Uuid, i32) {
    (lane.endpoint.uuid(), i32::from(lane.shard.0))
}

fn buckets(rows: impl IntoIterator<Item = (CqlTimestamp, i32)>) -> ports::Result<VecDeque<Bucket>> {
    let bucket = |(start, width): (CqlTimestamp, i32)| {
        Bucket::of_columns(start.0, width).ok_or_else(|| odd(TABLE))
    };
    rows.into_iter().map(bucket).collect()
}
