//! Stretches of time that one partition holds, and the choice among them: partitions stay bounded whatever the rate of an endpoint.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::Timestamp;

/// Rows that one writer puts into a bucket before it goes on in narrower ones (`architecture.md` §3).
pub(crate) const BUCKET_ROWS: u32 = 50_000;
/// Buckets that a writer remembers. Beyond it forgets those with few rows, which costs a row of the registry each; where nearly all have many, all of them.
const REMEMBERED_MAX: usize = 65_536;
/// Rows above which a bucket's count is worth keeping.
const MANY_ROWS: u32 = 500;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How long a bucket is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Width {
    Second,
    Minute,
    Hour,
}

impl Width {
    pub(crate) const fn seconds(self) -> i32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    const fn of_seconds(seconds: i32) -> Option<Self> {
        match seconds {
            1 => Some(Self::Second),
            60 => Some(Self::Minute),
            3_600 => Some(Self::Hour),
            _ => None,
        }
    }

    const fn ms(self) -> i64 {
        self.seconds() as i64 * 1_000
    }
}

/// A stretch of time: whole hours, minutes or seconds of UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Bucket {
    pub(crate) start: Timestamp,
    pub(crate) width: Width,
}

impl Bucket {
    /// The bucket of this width that a time lies in.
    pub(crate) fn of(time: Timestamp, width: Width) -> Self {
        Self { start: floor(time, width.ms()), width }
    }

    /// Reads the two columns; `None` for a width that is none.
    pub(crate) fn of_columns(start_ms: i64, width_seconds: i32) -> Option<Self> {
        let width = Width::of_seconds(width_seconds)?;
        Some(Self { start: Timestamp::from_millis(start_ms), width })
    }

    /// The first moment after it.
    pub(crate) fn end(self) -> Timestamp {
        Timestamp::from_millis(self.start.as_millis().saturating_add(self.width.ms()))
    }
}

/// The hour that a time lies in: no bucket that holds it starts earlier.
pub(crate) fn hour(time: Timestamp) -> Timestamp {
    floor(time, HOUR_MS)
}

/// The day that a time lies in.
pub(crate) fn day(time: Timestamp) -> Timestamp {
    floor(time, DAY_MS)
}

/// The day before one.
pub(crate) fn day_before(day: Timestamp) -> Timestamp {
    Timestamp::from_millis(day.as_millis() - DAY_MS)
}

fn floor(time: Timestamp, ms: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().div_euclid(ms).saturating_mul(ms))
}

/// Chooses the bucket of each row that this process writes, by key (an endpoint, a lane), and knows which are registered.
///
/// Counts are this writer's alone and begin anew with the process: what is bounded is what one writer adds.
pub(crate) struct Placer<K>(Mutex<HashMap<(K, Bucket), Entry>>);

#[derive(Default)]
struct Entry {
    rows: u32,
    is_registered: bool,
}

/// Where a row goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) bucket: Bucket,
    /// Whether the bucket's row in the registry is durable already; otherwise it has to be before the row is acknowledged.
    pub(crate) is_registered: bool,
}

impl<K: Copy + Eq + Hash> Placer<K> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Chooses the widest bucket that is not full yet. A row that is placed again may come to lie in a second one: readers drop doubles by key.
    pub(crate) fn place(&self, key: K, time: Timestamp) -> Place {
        let mut entries = self.lock();
        if entries.len() > REMEMBERED_MAX {
            entries.retain(|_, entry| entry.rows >= MANY_ROWS);
            if entries.len() > REMEMBERED_MAX / 2 {
                entries.clear();
            }
        }
        for width in [Width::Hour, Width::Minute] {
            let bucket = Bucket::of(time, width);
            let entry = entries.entry((key, bucket)).or_default();
            if entry.rows < BUCKET_ROWS {
                entry.rows += 1;
                return Place { bucket, is_registered: entry.is_registered };
            }
        }
        let bucket = Bucket::of(time, Width::Second);
        let entry = entries.entry((key, bucket)).or_default();
        Place { bucket, is_registered: entry.is_registered }
    }

    /// Notes that a bucket's row in the registry is durable.
    pub(crate) fn registered(&self, key: K, bucket: Bucket) {
        self.lock().entry((key, bucket)).or_default().is_registered = true;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(K, Bucket), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp::from_millis(1_700_003_661_500);

    #[test]
    fn buckets_become_narrower_where_many_rows_fall() {
        let placer = Placer::new();
        let mut seen = Vec::new();
        for _ in 0..2 * BUCKET_ROWS + 10 {
            let width = placer.place(1, TIME).bucket.width;
            if seen.last() != Some(&width) {
                seen.push(width);
            }
        }
        assert_eq!(seen, [Width::Hour, Width::Minute, Width::Second]);
        let other_minute = Timestamp::from_millis(TIME.as_millis() + 60_000);
        assert_eq!(placer.place(1, other_minute).bucket.width, Width::Minute);
        assert_eq!(placer.place(2, TIME).bucket.width, Width::Hour, "keys are apart");
    }

    #[test]
    fn a_bucket_is_registered_only_once_that_is_said() {
        let placer = Placer::new();
        let first = placer.place(1, TIME);
        assert!(!first.is_registered);
        assert!(!placer.place(1, TIME).is_registered, "its row may still be on its way");
        placer.registered(1, first.bucket);
        assert!(placer.place(1, TIME).is_registered);
    }

    #[test]
    fn a_bucket_holds_its_times_and_round_trips() {
        for width in [Width::Hour, Width::Minute, Width::Second] {
            let bucket = Bucket::of(TIME, width);
            assert!(bucket.start <= TIME && TIME < bucket.end());
            assert!(bucket.start >= hour(TIME));
            let read = Bucket::of_columns(bucket.start.as_millis(), width.seconds());
            assert_eq!(read, Some(bucket));
        }
        assert_eq!(Bucket::of_columns(0, 7), None);
        assert!(day(TIME) <= hour(TIME) && day_before(day(TIME)) < day(TIME));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let placer = Placer::new();
        for key in 0..3 * REMEMBERED_MAX {
            placer.place(key, TIME);
        }
        assert!(placer.lock().len() <= REMEMBERED_MAX + 2);
        // A busy bucket's count outlives a crowd of idle ones.
        for _ in 0..BUCKET_ROWS {
            placer.place(7, TIME);
        }
        for key in 0..2 * REMEMBERED_MAX {
            placer.place(1_000_000 + key, TIME);
        }
        assert_eq!(placer.place(7, TIME).bucket.width, Width::Minute);
    }
}
