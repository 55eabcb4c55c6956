//! `IdempotencyStore`.

use std::time::Duration;

use domain::Timestamp;
use domain::limits::IDEMPOTENCY_TTL;

use super::StoreFixture;
use super::sample::{at, event_id, tenant};
use crate::IdempotencyRow;

/// Runs every contract of `IdempotencyStore`.
pub async fn idempotency_store_suite(fixture: &impl StoreFixture) {
    id_1_the_first_row_of_a_key_stays(fixture).await;
    id_2_rows_come_in_the_order_of_the_keys_for_a_day(fixture).await;
    id_3_tenants_do_not_see_each_others_keys(fixture).await;
}

fn row(number: u8, time: Timestamp) -> IdempotencyRow {
    IdempotencyRow {
        event: event_id(&format!("evt_{number}")),
        at: at(1, number.into()),
        body_hash: [number; 32],
        time,
    }
}

/// ID-1: `put` is durable when it returns; of two rows for one key the first one stays.
pub async fn id_1_the_first_row_of_a_key_stays(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let (acme, now) = (tenant("acme"), test.now());
    let first = row(1, now);
    {
        let store = test.stores().idempotency;
        store.put(&acme, &[("k", first.clone()), ("k", row(2, now))]).await.expect("put");
        store.put(&acme, &[("k", row(3, now))]).await.expect("put");
    }
    test.restart().await;
    let found = test.stores().idempotency.get(&acme, &["k"]).await;
    assert_eq!(found.expect("get"), [Some(first)]);
}

/// ID-2: `get` gives rows of the last 24 h in the order of the keys; a key that has expired can be used anew.
pub async fn id_2_rows_come_in_the_order_of_the_keys_for_a_day(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (acme, now) = (tenant("acme"), test.now());
    let store = test.stores().idempotency;
    let young = row(2, now + Duration::from_secs(60));
    store.put(&acme, &[("a", row(1, now)), ("b", young.clone())]).await.expect("put");
    let found = store.get(&acme, &["b", "missing", "a"]).await.expect("get");
    assert_eq!(found, [Some(young.clone()), None, Some(row(1, now))]);
    test.advance(IDEMPOTENCY_TTL);
    let found = store.get(&acme, &["b", "a"]).await.expect("get");
    assert_eq!(found, [Some(young.clone()), None]);
    let anew = row(3, test.now());
    store.put(&acme, &[("a", anew.clone()), ("b", anew.clone())]).await.expect("put");
    test.maintain().await;
    let found = store.get(&acme, &["a", "b"]).await.expect("get");
    assert_eq!(found, [Some(anew), Some(young)]);
}

/// ID-3: tenants do not see each other's keys.
pub async fn id_3_tenants_do_not_see_each_others_keys(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let store = test.stores().idempotency;
    let mine = row(1, test.now());
    store.put(&tenant("acme"), &[("k", mine.clone())]).await.expect("put");
    let theirs = row(2, test.now());
    let other = tenant("other");
    assert_eq!(store.get(&other, &["k"]).await.expect("get"), [None]);
    store.put(&other, &[("k", theirs.clone())]).await.expect("put");
    assert_eq!(store.get(&other, &["k"]).await.expect("get"), [Some(theirs)]);
    let found = store.get(&tenant("acme"), &["k"]).await.expect("get");
    assert_eq!(found, [Some(mine)]);
}
