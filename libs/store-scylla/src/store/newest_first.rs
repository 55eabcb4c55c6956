//! Reading a list newest first over its buckets, with bounded work.

use std::cmp::Reverse;
use std::future::Future;

use domain::{EndpointUid, Timestamp};

use super::registry::Registry;
use crate::bucket::{Bucket, day, day_before};
use crate::cql::Cql;

/// A row of a list with the key that orders it.
pub(super) trait Keyed {
    type Key: Ord + Copy;
    fn key(&self) -> Self::Key;
}

/// The newest rows at or after `oldest` and strictly before a key whose time is `before`, at most `limit`, newest first.
///
/// `read(bucket)` gives the newest rows of one bucket that are wanted, at most `limit`, newest first.
/// Buckets of one width follow each other in time, those of different widths may overlap: the rows of an hour that outgrew its bucket lie in its minutes too.
/// So buckets are read by their ends, latest first, and what was found settles once no bucket left can hold anything newer.
pub(super) async fn newest_first<T, F>(
    (cql, registry): (&Cql, &Registry),
    endpoint: EndpointUid,
    (oldest, before): (Timestamp, Timestamp),
    limit: usize,
    read: impl Fn(Bucket) -> F,
    time_of: impl Fn(&T) -> Timestamp,
) -> ports::Result<Vec<T>>
where
    T: Keyed,
    F: Future<Output = ports::Result<Vec<T>>>,
{
    let mut found: Vec<T> = Vec::new();
    let mut today = day(before);
    while today >= day(oldest) {
        for bucket in registry.of_day(cql, endpoint, today).await? {
            if bucket.start > before || bucket.end() <= oldest {
                continue;
            }
            // Full, and the oldest of them is not older than anything in what is left: done.
            if found.len() >= limit && found.last().is_some_and(|row| time_of(row) >= bucket.end())
            {
                return Ok(found);
            }
            found.extend(read(bucket).await?);
            found.sort_by_key(|row| Reverse(row.key()));
            found.dedup_by_key(|row| row.key());
            found.truncate(limit);
        }
        if found.len() >= limit {
            break;
        }
        today = day_before(today);
    }
    Ok(found)
}
