//! Reading a list newest first over its buckets, where every row is shown: as much work as a page has rows.

use std::cmp::Reverse;
use std::future::Future;

use domain::{EndpointUid, Timestamp};

use super::registry::Registry;
use crate::bucket::{Bucket, day, day_before};
use crate::cql::Cql;

/// The newest rows at or after `oldest` and strictly before a key whose time is `before`, at most `limit`, newest first.
///
/// `read(bucket)` gives the newest rows of one bucket that are wanted, at most `limit`, newest first.
/// Buckets of one width follow each other in time, those of different widths may overlap: the rows of an hour that outgrew its bucket lie in its minutes too.
/// So buckets are read by their ends, latest first, and what was found settles once no bucket left can hold anything newer.
pub(super) async fn newest_first<T, K: Ord, F>(
    (cql, registry): (&Cql, &Registry),
    endpoint: EndpointUid,
    (oldest, before): (Timestamp, Timestamp),
    limit: usize,
    read: impl Fn(Bucket) -> F,
    key: impl Fn(&T) -> (Timestamp, K),
) -> ports::Result<Vec<T>>
where
    F: Future<Output = ports::Result<Vec<T>>>,
{
    let mut found: Vec<T> = Vec::new();
    let mut today = day(before);
    while today >= day(oldest) {
        let mut buckets =
            registry.newest_of_day(cql, endpoint, (today, before), usize::MAX).await?;
        buckets.sort_by_key(|bucket| Reverse((bucket.end(), bucket.start)));
        for bucket in buckets.into_iter().filter(|bucket| bucket.end() > oldest) {
            // Full, and the oldest of them is not older than anything in what is left: done.
            if found.len() >= limit && found.last().is_some_and(|row| key(row).0 >= bucket.end()) {
                return Ok(found);
            }
            found.extend(read(bucket).await?);
            found.sort_by_key(|row| Reverse(key(row)));
            found.dedup_by_key(|row| key(row));
            found.truncate(limit);
        }
        if found.len() >= limit {
            break;
        }
        today = day_before(today);
    }
    Ok(found)
}
