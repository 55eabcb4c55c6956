use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use ports::Rng as _;
use testkit::SeededRng;

use super::*;

/// Half an hour before midnight, so that lists go over the border of days.
const START: Timestamp =
    Timestamp::from_millis(1_700_000_000_000 / 86_400_000 * 86_400_000 - 1_800_000);

/// The rows of one list.
#[derive(Default)]
struct List {
    rows: BTreeMap<RegistryKey, BTreeSet<Reverse<Place>>>,
    /// How many rows each has.
    keys: BTreeMap<Reverse<DeadLetterKey>, usize>,
}

/// Latest start first, wider ones of one start first: the order of the registry.
type RegistryKey = (Reverse<Timestamp>, Reverse<Width>);

impl List {
    fn put(&mut self, width: Width, place: Place) {
        let bucket = Bucket::of(place.time, width);
        let rows = self.rows.entry((Reverse(bucket.start), Reverse(width))).or_default();
        if rows.insert(Reverse(place)) {
            *self.keys.entry(Reverse(place.key())).or_default() += 1;
        }
    }

    fn buckets(&self, of: Timestamp, latest: Timestamp, limit: usize) -> Vec<Bucket> {
        let all = self.rows.keys().map(|(start, width)| Bucket { start: start.0, width: width.0 });
        let of_day = all.filter(|bucket| day(bucket.start) == of && bucket.start <= latest);
        of_day.take(limit).collect()
    }

    fn read(&self, bucket: Bucket, before: Place, limit: usize) -> Vec<(Place, ())> {
        let rows = self.rows.get(&(Reverse(bucket.start), Reverse(bucket.width)));
        let after = (Bound::Excluded(Reverse(before)), Bound::Unbounded);
        let rows = rows.into_iter().flat_map(|rows| rows.range(after));
        rows.take(limit).map(|row| (row.0, ())).collect()
    }
}

/// What one call did.
struct Call {
    letters: Vec<DeadLetterKey>,
    next: Option<DeadLetterKey>,
    rows: usize,
    reads: usize,
}

fn call(list: &List, oldest: Timestamp, before: Place, wanted: usize) -> Call {
    let mut walk = Walk::new(oldest, before, wanted);
    let mut call = Call { letters: Vec::new(), next: None, rows: 0, reads: 0 };
    loop {
        if call.letters.len() == wanted {
            return Call { next: walk.passed(), ..call };
        }
        match walk.next() {
            Step::ReadBuckets { day, latest, limit } => {
                walk.take_buckets(list.buckets(day, latest, limit));
            }
            Step::ReadRows { bucket, before, limit } => {
                let rows = list.read(bucket, before, limit);
                call.rows += rows.len();
                call.reads += 1;
                walk.take_rows(rows);
            }
            Step::Letter(found) => {
                let keys: BTreeSet<DeadLetterKey> = found.iter().map(|f| f.place.key()).collect();
                assert_eq!(keys.len(), 1, "one letter and time");
                let key = found[0].place.key();
                assert_eq!(Some(&found.len()), list.keys.get(&Reverse(key)), "with all its rows");
                call.letters.push(key);
            }
            Step::Enough(next) => return Call { next: Some(next), ..call },
            Step::End => return call,
        }
    }
}

/// Every call down a list.
fn calls(list: &List, oldest: Timestamp, wanted: usize) -> Vec<Call> {
    let mut before = place(START + Duration::from_secs(24 * 3_600), 0, 0);
    let mut calls = Vec::new();
    loop {
        let call = call(list, oldest, before, wanted);
        let next = call.next;
        calls.push(call);
        let Some((time, letter)) = next else { return calls };
        let place = Place { time, letter, version: i32::MIN };
        assert!(place < before, "each call goes on");
        before = place;
    }
}

fn place(time: Timestamp, letter: u64, version: i32) -> Place {
    let id = u128::from(letter).to_be_bytes();
    Place { time, letter: DeadLetterId::from_slice(&id).expect("16 bytes"), version }
}

/// Rows over two hours around midnight. Some have a double in another bucket, or an older version of the same moment.
fn some_list(rng: &SeededRng, rows: u64, widths: &[Width]) -> List {
    let mut list = List::default();
    let width = || widths[rng.next_u64() as usize % widths.len()];
    for letter in 0..rows {
        let time = START + Duration::from_millis(rng.next_u64() % 7_200_000 / 50 * 50);
        let place = place(time, letter % 997, 2);
        list.put(width(), place);
        match rng.next_u64() % 10 {
            0 => list.put(width(), place),
            1 => list.put(width(), Place { version: 1, ..place }),
            _ => {}
        }
    }
    list
}

#[test]
fn all_calls_together_give_every_letter_once_whatever_bucket_it_lies_in() {
    use Width::{Hour, Minute, Second};
    for (seed, widths) in
        [&[Hour][..], &[Minute], &[Hour, Minute], &[Hour, Minute, Second, Second], &[Second]]
            .iter()
            .enumerate()
    {
        let rng = SeededRng::new(seed as u64);
        for rows in [0, 1, 700, 12_000] {
            let list = some_list(&rng, rows, widths);
            for (oldest, wanted) in
                [(START, 50), (START, usize::MAX), (START + Duration::from_secs(3_000), 1_001)]
            {
                let keys = list.keys.keys().map(|key| key.0);
                let expected: Vec<_> = keys.filter(|(time, _)| *time >= oldest).collect();
                let calls = calls(&list, oldest, wanted);
                let given: Vec<_> = calls.iter().flat_map(|call| call.letters.clone()).collect();
                assert_eq!(given, expected, "{widths:?} {rows} {wanted}");
                for call in calls {
                    assert!(call.rows <= DEAD_LETTERS_READ_MAX, "{} rows", call.rows);
                    assert!(call.reads <= BUCKETS_MAX + 3 + DEAD_LETTERS_READ_MAX / READ_MIN);
                }
            }
        }
    }
}

#[test]
fn a_page_of_one_bucket_costs_one_read() {
    let mut list = List::default();
    for letter in 0..10_000 {
        list.put(Width::Hour, place(START + Duration::from_millis(letter), letter, 1));
    }
    let all = calls(&list, START, 51);
    let first = &all[0];
    assert_eq!((first.letters.len(), first.rows, first.reads), (51, 52, 1));
}

#[test]
fn a_long_list_is_walked_without_reading_most_of_it_twice() {
    let list = some_list(&SeededRng::new(10), 60_000, &[Width::Hour, Width::Minute]);
    let calls = calls(&list, START, usize::MAX);
    let rows: usize = calls.iter().map(|call| call.rows).sum();
    let stored: usize = list.rows.values().map(BTreeSet::len).sum();
    assert!(rows < 2 * stored, "{rows} rows read of {stored}, in {} calls", calls.len());
}
