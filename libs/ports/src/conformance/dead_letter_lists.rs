//! The lists of `DeadLetterStore`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use domain::limits::DEAD_LETTERS_READ_MAX;
use domain::{DeadLetter, DeadLetterId, DeadLetterReason, Timestamp};

use super::StoreFixture;
use super::sample::{dead_letter, run, uid};
use crate::{DeadLetterFilter, DeadLetterKey, DeadLetterPage, DeadLetterStore, Taken};

/// Dead letters that are put at once.
const PUT_AT_ONCE: usize = 500;

/// DS-2: lists give what is not resolved, newest first, strictly before the key, filtered, at most `limit`.
pub async fn ds_2_lists_come_newest_first_and_filtered(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let letters = &*test.stores().dead_letters;
    let now = test.now();
    let time = |n: u64| now + Duration::from_secs(n / 2);
    let put: Vec<DeadLetter> = (0..10)
        .map(|n| DeadLetter {
            reason: if n % 3 == 0 { DeadLetterReason::Expired } else { DeadLetterReason::Rejected },
            ..dead_letter(1, &format!("evt_{n}"), 0, time(n))
        })
        .collect();
    letters.put(&put).await.expect("put");
    letters.put(&[dead_letter(2, "evt_1", 0, now)]).await.expect("put");
    let mut expected = newest_first(put);
    let all = DeadLetterFilter::default();
    assert_eq!(walk(letters, &all, None, 3).await, expected);
    let after = expected.first().map(key);
    let rest = walk(letters, &all, after, 3).await;
    assert_eq!(Some(rest.as_slice()), expected.get(1..), "strictly before the key");
    let filter = DeadLetterFilter {
        reason: Some(DeadLetterReason::Rejected),
        since: Some(time(2)),
        until: Some(time(8)),
    };
    expected.retain(|letter| {
        letter.reason == DeadLetterReason::Rejected
            && letter.time >= time(2)
            && letter.time < time(8)
    });
    let listed = walk(letters, &filter, None, 100).await;
    assert_eq!(listed, expected, "`since` is within, `until` is not");
}

/// DS-6: a call goes past no more rows that its filter leaves out than it may read, and says where to go on.
pub async fn ds_6_a_page_reads_a_bounded_number_of_rows(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let letters = &*test.stores().dead_letters;
    let count = DEAD_LETTERS_READ_MAX + 500;
    // Few of the wanted kind, at both ends; over three days.
    let is_wanted = |n: usize| n < 2 || n >= count - 3;
    let put: Vec<DeadLetter> = (0..count)
        .map(|n| DeadLetter {
            reason: if is_wanted(n) {
                DeadLetterReason::Expired
            } else {
                DeadLetterReason::Rejected
            },
            ..dead_letter(1, &format!("evt_{n}"), 0, before(test.now(), 50 * n as u64))
        })
        .collect();
    put_all(letters, &put).await;
    let filter = DeadLetterFilter { reason: Some(DeadLetterReason::Expired), ..Default::default() };
    let mut found = Vec::new();
    let mut from = None;
    loop {
        let page = page(letters, &filter, from, 50).await;
        found.extend(page.letters.into_iter().map(|(letter, _)| letter));
        let passed = put.iter().map(key).filter(|key| {
            from.is_none_or(|from| *key < from) && page.next.is_none_or(|next| *key >= next)
        });
        assert!(passed.count() <= DEAD_LETTERS_READ_MAX, "one call goes past so many");
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let mut expected = newest_first(put);
    expected.retain(|letter| letter.reason == DeadLetterReason::Expired);
    assert_eq!(found, expected);
}

/// DS-7: all pages together give each dead letter that stays as it is once, however many are resolved between them, and none twice.
pub async fn ds_7_all_pages_give_each_dead_letter_once(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let letters = &*test.stores().dead_letters;
    // Three at a time ended in the same moment.
    let time = |n: u64| before(test.now(), 2_000 * (n / 3));
    let put: Vec<DeadLetter> =
        (0..150).map(|n| dead_letter(1, &format!("evt_{n}"), 0, time(n))).collect();
    put_all(letters, &put).await;
    let (mut live, mut resolved) = (Vec::new(), Vec::new());
    for (n, letter) in put.into_iter().enumerate() {
        if n % 15 == 1 { live.push(letter) } else { resolved.push(letter) }
    }
    for (n, letter) in resolved.iter().enumerate() {
        resolve(letters, letter, n as u64 + 1).await;
    }
    let live = newest_first(live);
    let all = DeadLetterFilter::default();
    for limit in [1, 5, 1_000] {
        assert_eq!(walk(letters, &all, None, limit).await, live, "pages of {limit}");
    }
    one_that_ends_anew_is_not_given_twice(letters, &live, test.now()).await;
}

/// Between two pages, one that was given and one that was not end anew, as after a redrive that failed.
async fn one_that_ends_anew_is_not_given_twice(
    letters: &dyn DeadLetterStore,
    live: &[DeadLetter],
    now: Timestamp,
) {
    let later = now + Duration::from_secs(1);
    let all = DeadLetterFilter::default();
    let first = page(letters, &all, None, 3).await;
    let (Some(given), Some(waiting)) = (live.first(), live.last()) else { panic!("some are live") };
    let anew = |letter: &DeadLetter| DeadLetter { run: run(9_999), time: later, ..letter.clone() };
    letters.put(&[anew(given), anew(waiting)]).await.expect("put");
    let rest = walk(letters, &all, first.next, 3).await;
    let listed: Vec<DeadLetter> =
        first.letters.into_iter().map(|(letter, _)| letter).chain(rest).collect();
    let ids: BTreeSet<DeadLetterId> = listed.iter().map(|letter| letter.id).collect();
    assert_eq!(ids.len(), listed.len(), "none is given twice");
    let moved = [given.id, waiting.id];
    for letter in live.iter().filter(|letter| !moved.contains(&letter.id)) {
        assert!(listed.contains(letter), "{letter:?} stayed as it was");
    }
    let (given, waiting) = (anew(given), anew(waiting));
    let again = walk(letters, &all, None, 3).await;
    assert_eq!(again.get(..2), Some(&*newest_first(vec![given, waiting])), "both at the front");
    assert_eq!(again.len(), live.len());
}

async fn put_all(letters: &dyn DeadLetterStore, put: &[DeadLetter]) {
    for some in put.chunks(PUT_AT_ONCE) {
        letters.put(some).await.expect("put");
    }
}

async fn resolve(letters: &dyn DeadLetterStore, letter: &DeadLetter, number: u64) {
    let taken = letters.begin_redrive(&letter.tenant, letter.endpoint, letter.id, run(number));
    assert!(matches!(taken.await.expect("begin_redrive"), Taken::Ours(_)));
    letters.resolve(letter.endpoint, letter.id, run(number)).await.expect("resolve");
}

async fn page(
    letters: &dyn DeadLetterStore,
    filter: &DeadLetterFilter,
    before: Option<DeadLetterKey>,
    limit: usize,
) -> DeadLetterPage {
    let page = letters.list(uid(1), filter, before, limit).await.expect("list");
    assert!(page.letters.len() <= limit, "at most `limit`");
    if let (Some(before), Some(next)) = (before, page.next) {
        assert!(next < before, "it goes on");
    }
    page
}

/// What the pages hold, to the end.
async fn walk(
    letters: &dyn DeadLetterStore,
    filter: &DeadLetterFilter,
    mut before: Option<DeadLetterKey>,
    limit: usize,
) -> Vec<DeadLetter> {
    let mut found = Vec::new();
    loop {
        let page = page(letters, filter, before, limit).await;
        found.extend(page.letters.into_iter().map(|(letter, _)| letter));
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

fn newest_first(mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
    letters.sort_by_key(|letter| Reverse(key(letter)));
    letters
}

fn key(letter: &DeadLetter) -> DeadLetterKey {
    (letter.time, letter.id)
}

fn before(time: Timestamp, seconds: u64) -> Timestamp {
    time - Duration::from_secs(seconds)
}
