//! `EventStore`.

use std::time::Duration;

use domain::limits::ATTEMPT_RETENTION;
use domain::{Fact, RunId, Timestamp};

use super::StoreFixture;
use super::sample::{
    attempt, attempt_id, event_id, event_ref, mark, run, stored_event, tenant, uid,
};

/// Runs every contract of `EventStore`.
pub async fn event_store_suite(fixture: &impl StoreFixture) {
    es_1_what_was_written_is_there_after_a_restart(fixture).await;
    es_1_writing_the_same_again_changes_nothing(fixture).await;
    es_2_load_gives_the_event_and_the_facts_of_one_delivery(fixture).await;
    es_3_facts_of_an_event_come_oldest_first(fixture).await;
    es_4_attempts_of_an_endpoint_come_newest_first(fixture).await;
    es_5_tenants_do_not_see_each_others_events(fixture).await;
    es_6_old_facts_are_hidden_at_once(fixture).await;
    es_6_bodies_are_kept_as_long_as_anything_may_wait(fixture).await;
}

/// ES-1: `put_events` and `record` are durable when they return.
pub async fn es_1_what_was_written_is_there_after_a_restart(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let now = test.now();
    let event = event_ref("acme", "evt_1", 5);
    let stored = stored_event(&event, "hello");
    let facts = [attempt(&event, uid(1), 1, now), mark(&event, uid(1), 2, now)];
    {
        let stores = test.stores();
        stores.events.put_events(std::slice::from_ref(&stored)).await.expect("put");
        stores.events.record(&facts).await.expect("record");
    }
    test.restart().await;
    let loaded = test.stores().events.load(&event, uid(1)).await.expect("load");
    assert_eq!(loaded.event, Some(stored.event));
    assert_eq!(sorted(loaded.facts), facts);
}

/// ES-1: writing the same row again changes nothing.
pub async fn es_1_writing_the_same_again_changes_nothing(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (events, now) = (test.stores().events, test.now());
    let event = event_ref("acme", "evt_1", 5);
    let fact = attempt(&event, uid(1), 1, now);
    for _ in 0..2 {
        events.put_events(&[stored_event(&event, "hello")]).await.expect("put");
        events.record(&[fact.clone(), fact.clone()]).await.expect("record");
    }
    let loaded = events.load(&event, uid(1)).await.expect("load");
    assert_eq!(loaded.facts, std::slice::from_ref(&fact));
    let listed = events.attempts_of_endpoint(uid(1), None, 10).await;
    assert_eq!(listed.expect("list"), [fact]);
}

/// ES-2: `load` gives the event as it was put and the facts of that delivery; another endpoint's, another place's are not among them.
pub async fn es_2_load_gives_the_event_and_the_facts_of_one_delivery(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (events, now) = (test.stores().events, test.now());
    let event = event_ref("acme", "evt_1", 5);
    let again = event_ref("acme", "evt_1", 6);
    let mine = attempt(&event, uid(1), 1, now);
    let of_run = Fact { run: run(9), ..attempt(&event, uid(1), 2, now) };
    let others = [attempt(&event, uid(2), 3, now), attempt(&again, uid(1), 4, now)];
    events.record(&[mine.clone(), of_run.clone()]).await.expect("record");
    events.record(&others).await.expect("record");
    let loaded = events.load(&event, uid(1)).await.expect("load");
    assert_eq!(loaded.event, None, "the event was not put");
    assert_eq!(sorted(loaded.facts), [mine, of_run]);
    let (old, new) = (stored_event(&event, "old"), stored_event(&again, "new"));
    events.put_events(&[new.clone(), old.clone()]).await.expect("put");
    let loaded = events.load(&event, uid(1)).await.expect("load");
    assert_eq!(loaded.event, Some(old.event), "by place, not by id alone");
    let found = events.find(&event.tenant, &event.id).await.expect("find");
    assert_eq!(found, Some(new), "of an id that was used twice, the newest");
}

/// ES-3: `facts` gives all facts of an event id, of every place and endpoint, oldest first, at most `limit`.
pub async fn es_3_facts_of_an_event_come_oldest_first(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (events, now) = (test.stores().events, test.now());
    let (event, again) = (event_ref("acme", "evt_1", 5), event_ref("acme", "evt_1", 6));
    let later = |seconds| now + Duration::from_secs(seconds);
    let facts = [
        attempt(&event, uid(1), 1, now),
        attempt(&again, uid(2), 2, later(1)),
        mark(&event, uid(2), 3, later(2)),
        attempt(&event, uid(1), 4, later(3)),
    ];
    let mut shuffled = facts.clone();
    shuffled.reverse();
    events.record(&shuffled).await.expect("record");
    let other = attempt(&event_ref("acme", "evt_2", 7), uid(1), 5, now);
    events.record(&[other]).await.expect("record");
    let found = events.facts(&event.tenant, &event.id, 100).await.expect("facts");
    assert_eq!(found, facts);
    let found = events.facts(&event.tenant, &event.id, 2).await.expect("facts");
    assert_eq!(Some(found.as_slice()), facts.get(..2));
}

/// ES-4: an endpoint's requests come newest first, strictly before the key, at most `limit`; marks are not requests.
pub async fn es_4_attempts_of_an_endpoint_come_newest_first(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (events, now) = (test.stores().events, test.now());
    let event = |n: u64| event_ref("acme", &format!("evt_{n}"), n);
    // Pairs share a time: the attempt's id decides between them.
    let time = |n: u64| now + Duration::from_secs(n / 2);
    let facts: Vec<Fact> = (0..10).map(|n| attempt(&event(n), uid(1), n, time(n))).collect();
    events.record(&facts).await.expect("record");
    let others = [attempt(&event(1), uid(2), 50, now), mark(&event(1), uid(1), 51, now)];
    events.record(&others).await.expect("record");
    let mut before: Option<(Timestamp, u128)> = None;
    let mut found: Vec<(Timestamp, u64)> = Vec::new();
    loop {
        let page = events.attempts_of_endpoint(uid(1), before, 3).await.expect("list");
        assert!(page.len() <= 3, "at most `limit`");
        let Some(last) = page.last() else { break };
        before = Some((last.time, last.id.uuid().as_u128()));
        found.extend(page.iter().map(|fact| (fact.time, fact.event.at.position.0)));
    }
    let expected: Vec<(Timestamp, u64)> = (0..10).rev().map(|n| (time(n), n)).collect();
    assert_eq!(found, expected);
}

/// ES-5: nothing of one tenant is given for another.
pub async fn es_5_tenants_do_not_see_each_others_events(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (events, now) = (test.stores().events, test.now());
    let (mine, theirs) = (event_ref("acme", "evt_1", 5), event_ref("other", "evt_1", 5));
    events.put_events(&[stored_event(&mine, "mine")]).await.expect("put");
    events.record(&[attempt(&mine, uid(1), 1, now)]).await.expect("record");
    let loaded = events.load(&theirs, uid(1)).await.expect("load");
    assert_eq!(loaded, crate::Loaded::default());
    let id = event_id("evt_1");
    assert_eq!(events.find(&tenant("other"), &id).await.expect("find"), None);
    let facts = events.facts(&tenant("other"), &id, 10).await.expect("facts");
    assert_eq!(facts, []);
}

/// ES-6: facts older than the retention are hidden at once, whether or not they were removed.
pub async fn es_6_old_facts_are_hidden_at_once(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let (events, now) = (test.stores().events, test.now());
    let event = event_ref("acme", "evt_1", 5);
    let young = Fact {
        id: attempt_id(2),
        run: RunId::LOG,
        ..attempt(&event, uid(1), 2, now + Duration::from_secs(60))
    };
    let old = attempt(&event, uid(1), 1, now);
    events.record(&[old, young.clone()]).await.expect("record");
    test.advance(ATTEMPT_RETENTION);
    for maintained in [false, true] {
        if maintained {
            test.maintain().await;
        }
        let what = format!("maintained: {maintained}");
        let loaded = events.load(&event, uid(1)).await.expect("load");
        assert_eq!(loaded.facts, std::slice::from_ref(&young), "{what}");
        let facts = events.facts(&event.tenant, &event.id, 10).await.expect("facts");
        assert_eq!(facts, std::slice::from_ref(&young), "{what}");
        let listed = events.attempts_of_endpoint(uid(1), None, 10).await;
        assert_eq!(listed.expect("list"), std::slice::from_ref(&young), "{what}");
    }
}

/// ES-6: bodies are kept for 17 days at least, and longer where a dead letter or a row that waits needs them.
pub async fn es_6_bodies_are_kept_as_long_as_anything_may_wait(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let stores = test.stores();
    let days = |n: u64| Duration::from_secs(n * 24 * 3_600);
    let letter = super::sample::dead_letter(1, "evt_dead", 0, test.now() + days(13));
    let (dead, plain) = (letter.event.clone(), event_ref("acme", "evt_1", 5));
    let bodies = [stored_event(&dead, "dead"), stored_event(&plain, "plain")];
    stores.events.put_events(&bodies).await.expect("put");
    test.advance(days(13));
    stores.dead_letters.put(&[letter]).await.expect("put");
    test.advance(days(3));
    test.maintain().await;
    let kept = stores.events.load(&plain, uid(1)).await.expect("load");
    assert!(kept.event.is_some(), "16 days after it was put");
    test.advance(days(25));
    test.maintain().await;
    let kept = stores.events.load(&dead, uid(1)).await.expect("load");
    assert!(kept.event.is_some(), "its dead letter is 28 days old");
}

fn sorted(mut facts: Vec<Fact>) -> Vec<Fact> {
    facts.sort_by_key(|fact| fact.id);
    facts
}
