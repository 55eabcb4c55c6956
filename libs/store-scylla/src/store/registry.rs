//! Registries: which time buckets of an endpoint's list hold rows, by day, so that a list skips the empty ones.

use domain::{EndpointUid, Timestamp};

use super::{odd, time, time_of};
use crate::bucket::{Bucket, Placer, day};
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

/// The buckets of one kind of list.
pub(super) struct Registry {
    table: &'static str,
    placer: Placer<EndpointUid>,
    put: Statement,
    list: Statement,
}

/// Where rows of one endpoint go.
pub(super) type ListPlace = (EndpointUid, Bucket);

impl Registry {
    pub(super) async fn prepare(cql: &Cql, table: &'static str) -> Result<Self, OpenError> {
        let put = format!(
            "INSERT INTO {table} (endpoint, day, bucket_start, bucket_width) VALUES (?, ?, ?, ?)"
        );
        let list = format!(
            "SELECT bucket_start, bucket_width FROM {table} WHERE endpoint = ? AND day = ?"
        );
        Ok(Self {
            table,
            placer: Placer::new(),
            put: cql.prepare(table, &put).await?,
            list: cql.prepare(table, &list).await?,
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

    /// The buckets of an endpoint that start on a day, latest end first.
    pub(super) async fn of_day(
        &self,
        cql: &Cql,
        endpoint: EndpointUid,
        day: Timestamp,
    ) -> ports::Result<Vec<Bucket>> {
        let rows: Vec<(scylla::value::CqlTimestamp, i32)> =
            cql.read(&self.list, (endpoint.uuid(), time(day))).await?;
        let bucket = |(start, width)| {
            Bucket::of_columns(time_of(start).as_millis(), width).ok_or_else(|| odd(self.table))
        };
        let mut buckets = rows.into_iter().map(bucket).collect::<ports::Result<Vec<_>>>()?;
        buckets.sort_by_key(|bucket| std::cmp::Reverse((bucket.end(), bucket.start)));
        Ok(buckets)
    }
}
