//! Registries: which time buckets of an endpoint's list hold rows, by day, so that a list skips the empty ones.

use domain::{EndpointUid, Timestamp};
use scylla::value::CqlTimestamp;

use super::{cql_limit, odd, time, time_of};
use crate::bucket::{Bucket, Placer, day};
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

/// The buckets of one kind of list.
pub(super) struct Registry {
    table: &'static str,
    placer: Placer<EndpointUid>,
    put: Statement,
    newest: Statement,
}

/// Where rows of one endpoint go.
pub(super) type ListPlace = (EndpointUid, Bucket);

impl Registry {
    pub(super) async fn prepare(cql: &Cql, table: &'static str) -> Result<Self, OpenError> {
        let put = format!(
            "INSERT INTO {table} (endpoint, day, bucket_start, bucket_width) VALUES (?, ?, ?, ?)"
        );
        let newest = format!(
            "SELECT bucket_start, bucket_width FROM {table} WHERE endpoint = ? AND day = ? AND bucket_start <= ? LIMIT ?"
        );
        Ok(Self {
            table,
            placer: Placer::new(),
            put: cql.prepare(table, &put).await?,
            newest: cql.prepare(table, &newest).await?,
        })
    }

    /// Chooses the bucket of a row.
    pub(super) fn place(&self, endpoint: EndpointUid, at: Timestamp) -> (ListPlace, bool) {
        let place = self.placer.place(endpoint, at);
        ((endpoint, place.bucket), place.is_registered)
    }

    /// Makes buckets known; rows in them may be acknowledged afterwards.
    pub(super) async fn register(
        &self,
        cql: &Cql,
        new: impl IntoIterator<Item = ListPlace>,
    ) -> ports::Result<()> {
        let put = |(endpoint, bucket): ListPlace| async move {
            let start = time(bucket.start);
            let values = (endpoint.uuid(), time(day(bucket.start)), start, bucket.width.seconds());
            cql.write(&self.put, NewRow { values, bytes: 36 }).await?;
            self.placer.registered(endpoint, bucket);
            Ok(())
        };
        all(new.into_iter().map(put)).await
    }

    /// The buckets of an endpoint that start on a day, at or before `latest`, at most `limit`: latest start first, and wider ones of one start first.
    pub(super) async fn newest_of_day(
        &self,
        cql: &Cql,
        endpoint: EndpointUid,
        (day, latest): (Timestamp, Timestamp),
        limit: usize,
    ) -> ports::Result<Vec<Bucket>> {
        let key = (endpoint.uuid(), time(day), time(latest), cql_limit(limit));
        let rows: Vec<(CqlTimestamp, i32)> = cql.read(&self.newest, key).await?;
        let bucket = |(start, width): (CqlTimestamp, i32)| {
            Bucket::of_columns(time_of(start).as_millis(), width).ok_or_else(|| odd(self.table))
        };
        rows.into_iter().map(bucket).collect()
    }
}
