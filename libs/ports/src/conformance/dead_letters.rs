//! `DeadLetterStore`.

use std::time::Duration;

use domain::limits::DEAD_LETTER_RETENTION;
use domain::{DeadLetter, DeadLetterReason, Resolution, Timestamp};

use super::dead_letter_lists::{
    ds_2_lists_come_newest_first_and_filtered, ds_6_a_page_reads_a_bounded_number_of_rows,
    ds_7_all_pages_give_each_dead_letter_once,
};
use super::sample::{dead_letter, run, tenant};
use super::{StoreFixture, StoreUnderTest};
use crate::{DeadLetterFilter, Taken};

/// Runs every contract of `DeadLetterStore`.
pub async fn dead_letter_store_suite(fixture: &impl StoreFixture) {
    ds_1_a_dead_letter_is_durable_and_replaced_by_a_newer_run(fixture).await;
    ds_1_putting_a_run_again_changes_nothing(fixture).await;
    ds_2_lists_come_newest_first_and_filtered(fixture).await;
    ds_3_one_redrive_at_a_time(fixture).await;
    ds_4_only_the_newest_redrive_resolves(fixture).await;
    ds_5_tenants_and_expired_ones_are_hidden(fixture).await;
    ds_6_a_page_reads_a_bounded_number_of_rows(fixture).await;
    ds_7_all_pages_give_each_dead_letter_once(fixture).await;
}

/// A store with one dead letter.
async fn with_letter(fixture: &impl StoreFixture) -> (Box<dyn StoreUnderTest>, DeadLetter) {
    let test = fixture.fresh().await;
    let letter = dead_letter(1, "evt_1", 0, test.now());
    let put = test.stores().dead_letters;
    put.put(std::slice::from_ref(&letter)).await.expect("put");
    (test, letter)
}

async fn state(
    test: &dyn StoreUnderTest,
    letter: &DeadLetter,
) -> Option<(DeadLetter, Option<Resolution>)> {
    let letters = test.stores().dead_letters;
    let got = letters.get(&letter.tenant, letter.endpoint, letter.id).await.expect("get");
    let page = letters.list(letter.endpoint, &DeadLetterFilter::default(), None, 10).await;
    let listed = page.expect("list").letters.into_iter().find(|(listed, _)| listed.id == letter.id);
    assert_eq!(got, listed, "get and list agree");
    got
}

async fn begin(test: &dyn StoreUnderTest, letter: &DeadLetter, number: u64) -> Taken {
    let letters = test.stores().dead_letters;
    let taken = letters.begin_redrive(&letter.tenant, letter.endpoint, letter.id, run(number));
    taken.await.expect("begin_redrive")
}

/// DS-1: `put` is durable; the end of a newer run replaces the dead letter and takes back what became of it.
pub async fn ds_1_a_dead_letter_is_durable_and_replaced_by_a_newer_run(
    fixture: &impl StoreFixture,
) {
    let (mut test, letter) = with_letter(fixture).await;
    test.restart().await;
    assert_eq!(state(&*test, &letter).await, Some((letter.clone(), None)));
    begin(&*test, &letter, 1).await;
    let failed = DeadLetter {
        reason: DeadLetterReason::Rejected,
        attempts: 9,
        time: test.now() + Duration::from_secs(60),
        ..dead_letter(1, "evt_1", 1, test.now())
    };
    let letters = test.stores().dead_letters;
    letters.put(std::slice::from_ref(&failed)).await.expect("put");
    assert_eq!(state(&*test, &letter).await, Some((failed, None)));
}

/// DS-1: putting again a dead letter whose run was already put changes nothing, however late it comes.
pub async fn ds_1_putting_a_run_again_changes_nothing(fixture: &impl StoreFixture) {
    let (test, letter) = with_letter(fixture).await;
    let letters = test.stores().dead_letters;
    begin(&*test, &letter, 1).await;
    letters.put(std::slice::from_ref(&letter)).await.expect("put again");
    let redriving = Some(Resolution::Redriving(run(1)));
    assert_eq!(state(&*test, &letter).await, Some((letter.clone(), redriving)));
    let failed = dead_letter(1, "evt_1", 1, test.now() + Duration::from_secs(60));
    letters.put(&[failed.clone(), letter.clone()]).await.expect("put");
    assert_eq!(state(&*test, &letter).await, Some((failed, None)));
}

/// DS-3: of two redrives one gets the dead letter; the same run again is ours again; one on its way is still listed.
pub async fn ds_3_one_redrive_at_a_time(fixture: &impl StoreFixture) {
    let (test, letter) = with_letter(fixture).await;
    let ours = || Taken::Ours(Box::new(letter.clone()));
    let (one, two) = tokio::join!(begin(&*test, &letter, 1), begin(&*test, &letter, 2));
    let winner = match (&one, &two) {
        (Taken::Ours(_), Taken::InProgress) => 1,
        (Taken::InProgress, Taken::Ours(_)) => 2,
        other => panic!("one of two redrives wins, not {other:?}"),
    };
    assert_eq!(begin(&*test, &letter, winner).await, ours());
    assert_eq!(begin(&*test, &letter, 3).await, Taken::InProgress);
    let redriving = Some(Resolution::Redriving(run(winner)));
    assert_eq!(state(&*test, &letter).await, Some((letter.clone(), redriving)));
    let failed = dead_letter(1, "evt_1", winner, test.now());
    let letters = test.stores().dead_letters;
    letters.put(std::slice::from_ref(&failed)).await.expect("put");
    let late = begin(&*test, &letter, winner).await;
    assert_eq!(late, Taken::Ours(Box::new(failed.clone())), "a late repeat");
    assert_eq!(state(&*test, &letter).await, Some((failed.clone(), None)), "and takes nothing");
    assert_eq!(begin(&*test, &letter, 3).await, Taken::Ours(Box::new(failed)));
    let unknown = dead_letter(1, "evt_2", 0, test.now());
    assert_eq!(begin(&*test, &unknown, 4).await, Taken::NotFound);
}

/// DS-4: `resolve` takes a dead letter out of lists, but only while the redrive of that run is the newest thing that happened to it.
pub async fn ds_4_only_the_newest_redrive_resolves(fixture: &impl StoreFixture) {
    let (test, letter) = with_letter(fixture).await;
    let letters = test.stores().dead_letters;
    let resolve = |number| letters.resolve(letter.endpoint, letter.id, run(number));
    resolve(1).await.expect("resolve");
    assert!(state(&*test, &letter).await.is_some(), "no redrive began");
    begin(&*test, &letter, 1).await;
    resolve(2).await.expect("resolve");
    assert!(state(&*test, &letter).await.is_some(), "another run");
    letters.put(&[dead_letter(1, "evt_1", 1, test.now())]).await.expect("put");
    resolve(1).await.expect("resolve");
    assert!(state(&*test, &letter).await.is_some(), "that run failed");
    begin(&*test, &letter, 3).await;
    resolve(3).await.expect("resolve");
    resolve(3).await.expect("resolve again");
    assert_eq!(state(&*test, &letter).await, None);
    assert_eq!(begin(&*test, &letter, 4).await, Taken::NotFound);
}

/// DS-5: nothing of one tenant is given for another; dead letters older than the retention are hidden at once.
pub async fn ds_5_tenants_and_expired_ones_are_hidden(fixture: &impl StoreFixture) {
    let (test, letter) = with_letter(fixture).await;
    let letters = test.stores().dead_letters;
    let other = tenant("other");
    let got = letters.get(&other, letter.endpoint, letter.id).await.expect("get");
    assert_eq!(got, None);
    let taken = letters.begin_redrive(&other, letter.endpoint, letter.id, run(1)).await;
    assert_eq!(taken.expect("begin_redrive"), Taken::NotFound);
    let young = dead_letter(1, "evt_2", 0, later(test.now()));
    letters.put(std::slice::from_ref(&young)).await.expect("put");
    test.advance(DEAD_LETTER_RETENTION);
    for maintained in [false, true] {
        if maintained {
            test.maintain().await;
        }
        assert_eq!(state(&*test, &letter).await, None, "maintained: {maintained}");
        assert_eq!(begin(&*test, &letter, 1).await, Taken::NotFound);
        assert_eq!(state(&*test, &young).await, Some((young.clone(), None)));
    }
}

fn later(time: Timestamp) -> Timestamp {
    time + Duration::from_secs(60)
}
