//! Lists of dead letters, a page at a time.

use std::time::Duration;

use domain::limits::DEAD_LETTER_RETENTION;
use domain::{DeadLetter, DeadLetterId, DeadLetterReason, EndpointUid, Resolution, Timestamp};
use ports::{DeadLetterFilter, DeadLetterKey, DeadLetterPage};
use scylla::value::CqlTimestamp;

use super::dead_letters::TABLE;
use super::walk::{Found, Place, Step, Walk};
use super::{Store, cql_limit, odd, time, time_of};
use crate::bucket::Bucket;
use crate::cql::gather;

pub(super) const LIST: &str = "SELECT time, letter, version, reason, gone FROM dead_letters
    WHERE endpoint = ? AND bucket_start = ? AND bucket_width = ? AND (time, letter, version) < (?, ?, ?) LIMIT ?";

/// How far ahead of ours the clock of a worker that made a dead letter may be; nothing newer is listed.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(1);

impl Store {
    /// Walks down the list until there are enough rows or the call has read its part, then asks by id which of them count and what became of the letters.
    pub(super) async fn page_of_dead_letters(
        &self,
        endpoint: EndpointUid,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> ports::Result<DeadLetterPage> {
        let wanted = Wanted::new(self.now(), filter);
        let mut walk = Walk::new(wanted.oldest, wanted.place(before), limit);
        let mut found = Vec::new();
        let next = loop {
            if found.len() >= limit {
                break walk.passed();
            }
            match walk.next() {
                Step::ReadBuckets { day, latest, limit } => {
                    let buckets = &self.dead_letters.buckets;
                    let read = buckets.newest_of_day(&self.cql, endpoint, (day, latest), limit);
                    walk.take_buckets(read.await?);
                }
                Step::ReadRows { bucket, before, limit } => {
                    walk.take_rows(self.list_rows(endpoint, bucket, before, limit).await?);
                }
                Step::Letter(rows) => found.extend(rows.into_iter().filter(|row| wanted.has(row))),
                Step::Enough(key) => break Some(key),
                Step::End => break None,
            }
        };
        let letters = gather(found.into_iter().map(|row| self.if_it_counts(endpoint, row))).await?;
        Ok(DeadLetterPage { letters: letters.into_iter().flatten().collect(), next })
    }

    async fn list_rows(
        &self,
        endpoint: EndpointUid,
        bucket: Bucket,
        before: Place,
        limit: usize,
    ) -> ports::Result<Vec<(Place, Row)>> {
        let key = (
            endpoint.uuid(),
            time(bucket.start),
            bucket.width.seconds(),
            time(before.time),
            before.letter.as_bytes().to_vec(),
            before.version,
            cql_limit(limit),
        );
        let rows: Vec<Columns> = self.cql.read(&self.dead_letters.list, key).await?;
        rows.into_iter().map(row_of).collect()
    }

    /// The letter of a row, if that row is the one of its current end and it is not resolved.
    async fn if_it_counts(
        &self,
        endpoint: EndpointUid,
        row: Found<Row>,
    ) -> ports::Result<Option<(DeadLetter, Option<Resolution>)>> {
        let place = row.place;
        let history = self.runs.read(&self.cql, endpoint, place.letter).await?;
        let current = history.current().filter(|end| {
            (end.version, end.letter.time, end.bucket) == (place.version, place.time, row.bucket)
        });
        Ok(current.and_then(|end| match history.resolution(end) {
            Some(Resolution::Resolved) => None,
            state @ (Some(Resolution::Redriving(_)) | None) => Some((end.letter.clone(), state)),
        }))
    }
}

type Columns = (CqlTimestamp, Vec<u8>, i32, Option<i8>, Option<bool>);

/// What a list knows of an end beside its place.
struct Row {
    /// `None` when only the mark that it is gone is left.
    reason: Option<i8>,
    is_gone: bool,
}

fn row_of((at, letter, version, reason, gone): Columns) -> ports::Result<(Place, Row)> {
    let letter = DeadLetterId::from_slice(&letter).ok_or_else(|| odd(TABLE))?;
    let place = Place { time: time_of(at), letter, version };
    Ok((place, Row { reason, is_gone: gone == Some(true) }))
}

/// What a list shows.
#[derive(Clone, Copy)]
struct Wanted {
    oldest: Timestamp,
    newest: Place,
    reason: Option<i8>,
}

impl Wanted {
    fn new(now: Timestamp, filter: &DeadLetterFilter) -> Self {
        // Those that expire at this moment are hidden: the oldest that is shown is a millisecond newer.
        let young = now - DEAD_LETTER_RETENTION + MOMENT;
        let ahead = now + CLOCKS_DIFFER_MAX + MOMENT;
        // `until` is left out as a whole.
        let end = filter.until.map_or(ahead, |until| until.min(ahead));
        let code = |reason: DeadLetterReason| codec::reason_code(reason).cast_signed();
        Self {
            oldest: filter.since.map_or(young, |since| since.max(young)),
            newest: before_all_of((end, DeadLetterId::MIN)),
            reason: filter.reason.map(code),
        }
    }

    /// Where a page begins.
    fn place(&self, before: Option<DeadLetterKey>) -> Place {
        before.map_or(self.newest, |key| before_all_of(key).min(self.newest))
    }

    fn has(&self, found: &Found<Row>) -> bool {
        let row = &found.row;
        let is_wanted = self.reason.is_none_or(|wanted| row.reason == Some(wanted));
        row.reason.is_some() && !row.is_gone && is_wanted
    }
}

/// Older than each row of a key, whatever its version.
const fn before_all_of((time, letter): DeadLetterKey) -> Place {
    Place { time, letter, version: i32::MIN }
}
