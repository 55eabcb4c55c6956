//! What to read next of a list of dead letters, and which row comes next: newest first over buckets that may overlap, with bounded work.
//!
//! # Theory of operation
//!
//! Rows of a bucket come newest first. Buckets of one width follow each other in time; those of different widths overlap: an hour that outgrew its bucket
//! has rows in its minutes too. So a bucket is opened once the newest row in hand is older than its end, and the newest of the heads of the open ones comes
//! next: at most one bucket of each width has rows in hand. A day's buckets are asked for in the same way, when the newest row in hand is older than the
//! day's end.
//!
//! A call reads [`DEAD_LETTERS_READ_MAX`] rows and names [`BUCKETS_MAX`] buckets at most. What was given before that lies above one key, whatever bucket it
//! came from, so the next call goes on below it; rows in hand are read again. At least the rows of one read are passed, since three of them never use a
//! call up.
//!
//! Rows of one letter and time come together: of a put that was repeated one may lie in a second bucket, and a key between them would skip it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use domain::limits::DEAD_LETTERS_READ_MAX;
use domain::{DeadLetterId, Timestamp};
use ports::DeadLetterKey;

use crate::bucket::{Bucket, Width, day, day_before};

/// Buckets that one call names: each is a read at least, so that sparse lists are bounded too.
const BUCKETS_MAX: usize = 128;
/// Fewest rows that one read asks for.
const READ_MIN: usize = 50;
/// Most rows that one read asks for. Three such reads leave something of [`DEAD_LETTERS_READ_MAX`].
const READ_MAX: usize = 1_000;

/// A place in a list: what follows it is older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) time: Timestamp,
    pub(super) letter: DeadLetterId,
    pub(super) version: i32,
}

impl Place {
    const fn key(self) -> DeadLetterKey {
        (self.time, self.letter)
    }
}

/// A row, and where it was found.
pub(super) struct Found<R> {
    pub(super) bucket: Bucket,
    pub(super) place: Place,
    pub(super) row: R,
}

/// What to do next.
pub(super) enum Step<R> {
    /// Read the buckets of a day that start at or before `latest`, latest start first and wider ones of one start first, at most `limit`;
    /// then [`Walk::take_buckets`].
    ReadBuckets { day: Timestamp, latest: Timestamp, limit: usize },
    /// Read the newest rows of a bucket strictly before a place, at most `limit`; then [`Walk::take_rows`].
    ReadRows { bucket: Bucket, before: Place, limit: usize },
    /// Every row of one letter and time, the highest version of each bucket first.
    Letter(Vec<Found<R>>),
    /// One call reads no more; the list goes on strictly before this key.
    Enough(DeadLetterKey),
    /// There is no more.
    End,
}

/// One call's way down a list.
pub(super) struct Walk<R> {
    oldest: Timestamp,
    before: Place,
    /// Every bucket that holds this time or a later one is known.
    known_from: Timestamp,
    next_day: Timestamp,
    buckets_left: usize,
    rows_left: usize,
    /// Rows that the first read of a bucket asks for.
    first_read: usize,
    /// The one with the latest end last.
    unopened: Vec<Bucket>,
    open: Vec<Open<R>>,
    letter: Vec<Found<R>>,
    passed: Option<DeadLetterKey>,
}

/// A bucket that is being read.
struct Open<R> {
    bucket: Bucket,
    before: Place,
    rows: VecDeque<(Place, R)>,
    /// Rows that its next read asks for; 0 when it holds no more.
    read: usize,
}

impl<R> Open<R> {
    fn head(&self) -> Option<DeadLetterKey> {
        self.rows.front().map(|(place, _)| place.key())
    }

    fn is_due(&self) -> bool {
        self.rows.is_empty() && self.read > 0
    }
}

impl<R> Walk<R> {
    /// Begins strictly before `before` and ends with the rows of `oldest`; `wanted` letters are likely to be enough.
    pub(super) fn new(oldest: Timestamp, before: Place, wanted: usize) -> Self {
        Self {
            oldest,
            before,
            known_from: Timestamp::MAX,
            next_day: day(before.time),
            buckets_left: BUCKETS_MAX,
            rows_left: DEAD_LETTERS_READ_MAX,
            // One more says that the last one has no further row.
            first_read: wanted.saturating_add(1).clamp(READ_MIN, READ_MAX),
            unopened: Vec::new(),
            open: Vec::new(),
            letter: Vec::new(),
            passed: None,
        }
    }

    /// The key of the last letter that was given: everything from there on was.
    pub(super) const fn passed(&self) -> Option<DeadLetterKey> {
        self.passed
    }

    pub(super) fn next(&mut self) -> Step<R> {
        loop {
            if let Some(step) = self.read_on() {
                return step;
            }
            let head = self.open.iter().filter_map(Open::head).max();
            let current = self.letter.first().map(|found| found.place.key());
            match (head, current) {
                (Some(head), Some(current)) if head == current => self.collect(head),
                (_, Some(current)) => {
                    self.passed = Some(current);
                    return Step::Letter(std::mem::take(&mut self.letter));
                }
                (head, None) => {
                    if self.open_next(head) {
                        continue;
                    }
                    if let Some(step) = self.more_buckets(head) {
                        return step;
                    }
                    let Some(head) = head else { return Step::End };
                    self.collect(head);
                }
            }
        }
    }

    /// Reads on in an open bucket whose rows are used up: it may hold the next one.
    fn read_on(&self) -> Option<Step<R>> {
        let empty = self.open.iter().find(|open| open.is_due())?;
        if self.rows_left == 0 {
            return Some(Step::Enough(self.passed.unwrap_or(self.before.key())));
        }
        let limit = empty.read.min(self.rows_left);
        Some(Step::ReadRows { bucket: empty.bucket, before: empty.before, limit })
    }

    /// Opens the next bucket if it may hold something newer than the head.
    fn open_next(&mut self, head: Option<DeadLetterKey>) -> bool {
        let opened = self
            .unopened
            .pop_if(|bucket| head.is_none_or(|(time, _)| time < bucket.end()))
            .map(|bucket| Open {
                bucket,
                before: self.before,
                rows: VecDeque::new(),
                read: self.first_read,
            });
        let is_opened = opened.is_some();
        self.open.extend(opened);
        is_opened
    }

    /// Asks for the buckets of the next day if one may hold something newer than the head.
    fn more_buckets(&self, head: Option<DeadLetterKey>) -> Option<Step<R>> {
        let is_known = head.is_some_and(|(time, _)| time >= self.known_from);
        if is_known || self.known_from <= self.oldest {
            return None;
        }
        if self.buckets_left == 0 {
            // Nothing sorts before an empty id of its time.
            return Some(Step::Enough((self.known_from, DeadLetterId::MIN)));
        }
        let (day, latest) = (self.next_day, self.before.time);
        Some(Step::ReadBuckets { day, latest, limit: self.buckets_left })
    }

    fn collect(&mut self, key: DeadLetterKey) {
        for open in &mut self.open {
            while open.head() == Some(key)
                && let Some((place, row)) = open.rows.pop_front()
            {
                self.letter.push(Found { bucket: open.bucket, place, row });
            }
        }
        self.open.retain(|open| open.is_due() || !open.rows.is_empty());
    }

    /// Takes what the last step asked for.
    pub(super) fn take_buckets(&mut self, mut found: Vec<Bucket>) {
        let read = found.len();
        self.known_from = self.next_day;
        self.next_day = day_before(self.next_day);
        if read >= self.buckets_left
            && let Some(last) = found.last()
        {
            // Not all were read. What reaches into the time that is known begins there or before, and may be missing: an empty one costs a read.
            self.known_from = last.start;
            let start = last.start;
            let reach = [Width::Hour, Width::Minute, Width::Second].map(|w| Bucket::of(start, w));
            found.retain(|bucket| !reach.contains(bucket));
            found.extend(reach);
        }
        self.buckets_left = self.buckets_left.saturating_sub(read);
        self.unopened.extend(found.into_iter().filter(|bucket| bucket.end() > self.oldest));
        self.unopened.sort_unstable_by_key(|bucket| (bucket.end(), bucket.start));
    }

    /// Takes what the last step asked for.
    pub(super) fn take_rows(&mut self, rows: Vec<(Place, R)>) {
        let Some(open) = self.open.iter_mut().find(|open| open.is_due()) else {
            return;
        };
        let is_last = rows.len() < open.read.min(self.rows_left)
            || rows.last().is_some_and(|(place, _)| place.time < self.oldest);
        self.rows_left = self.rows_left.saturating_sub(rows.len());
        open.before = rows.last().map_or(open.before, |(place, _)| *place);
        open.read = if is_last { 0 } else { (open.read * 2).min(READ_MAX) };
        open.rows = rows.into_iter().filter(|(place, _)| place.time >= self.oldest).collect();
        self.open.retain(|open| open.is_due() || !open.rows.is_empty());
    }
}
