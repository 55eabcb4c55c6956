use std::time::Duration;

use domain::limits::DEAD_LETTERS_READ_MAX;
use domain::{
    DeadLetter, DeadLetterId, DeadLetterReason, EventId, EventRef, LogPosition, OutcomeKind,
    Position, RunId, Shard,
};

use super::world::{World, name, page, tenant};
use crate::app::{DeadLetterQuery, EndpointScope, Error};

/// A dead letter of an endpoint, so many seconds old.
async fn letter(world: &World, endpoint: &str, seconds: usize) -> DeadLetter {
    let uid = world.uid(endpoint).await;
    let event = EventRef {
        tenant: tenant(),
        id: EventId::parse(&format!("evt_{endpoint}_{seconds}")).expect("valid"),
        at: LogPosition { shard: Shard(1), position: Position(seconds as u64) },
    };
    DeadLetter {
        id: DeadLetterId::of(uid, &event),
        tenant: tenant(),
        endpoint: uid,
        url: "https://example.com/hook".to_owned(),
        event,
        event_type: "payment.completed".to_owned(),
        reason: DeadLetterReason::Rejected,
        last_outcome: Some(OutcomeKind::Answered(400)),
        attempts: 1,
        run: RunId::LOG,
        time: world.now() - Duration::from_secs(seconds as u64),
    }
}

async fn put(world: &World, letters: &[DeadLetter]) {
    world.app.deps.dead_letters.put(letters).await.expect("kept");
}

async fn resolve(world: &World, letter: &DeadLetter) {
    let store = &world.app.deps.dead_letters;
    let run = RunId::from_uuid(uuid::Uuid::from_u128(7));
    let begun = store.begin_redrive(&letter.tenant, letter.endpoint, letter.id, run).await;
    begun.expect("begun");
    store.resolve(letter.endpoint, letter.id, run).await.expect("resolved");
}

fn all() -> EndpointScope {
    EndpointScope { tenant: tenant(), endpoint: None }
}

fn one(endpoint: &str) -> EndpointScope {
    EndpointScope { tenant: tenant(), endpoint: Some(name(endpoint).endpoint) }
}

/// The letters of every page.
async fn pages(world: &World, scope: &EndpointScope, size: i32) -> Vec<Vec<DeadLetter>> {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let query = DeadLetterQuery::default();
        let part = world.app.list_dead_letters(scope, query, &page(size, &token)).await;
        let part = part.expect("a page");
        pages.push(part.items.into_iter().map(|view| view.letter).collect());
        token = part.next;
        if token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_are_short_where_much_is_resolved_and_go_on() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let resolved = 2 * DEAD_LETTERS_READ_MAX + 10;
    let mut live = Vec::new();
    for seconds in 0..resolved {
        let letter = letter(&world, "shop", seconds).await;
        put(&world, std::slice::from_ref(&letter)).await;
        if seconds == 3 || seconds == resolved - 1 {
            live.push(letter);
        } else {
            resolve(&world, &letter).await;
        }
    }
    let pages = pages(&world, &one("shop"), 50).await;
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 0, 1], "one call reads so much and no more");
    assert_eq!(pages.concat(), live);
}

#[tokio::test]
async fn the_list_of_all_endpoints_is_in_order_although_one_of_them_is_read_in_parts() {
    let world = World::new().await;
    let mut live = Vec::new();
    // More endpoints than are asked at once; the dead letters of the first are resolved, but the last.
    for endpoint in 0..20 {
        let id = format!("e{endpoint}");
        world.endpoint(&id, "*").await;
        for n in 0..5 {
            live.push(letter(&world, &id, 1 + endpoint + n * 1_500).await);
        }
    }
    put(&world, &live).await;
    for seconds in 0..DEAD_LETTERS_READ_MAX + 2_000 {
        let gone = letter(&world, "e0", seconds + 20_000).await;
        let gone = DeadLetter { time: world.now() - Duration::from_secs(seconds as u64), ..gone };
        put(&world, std::slice::from_ref(&gone)).await;
        resolve(&world, &gone).await;
    }
    live.push(letter(&world, "e0", 30_000).await);
    put(&world, &live).await;
    live.sort_by_key(|letter| std::cmp::Reverse((letter.time, letter.id)));
    for size in [1, 7, 100, 1_000] {
        let pages = pages(&world, &all(), size).await;
        assert_eq!(pages.concat(), live, "pages of {size}");
    }
}

#[tokio::test]
async fn no_page_follows_one_that_holds_the_last_ones() {
    let world = World::new().await;
    for id in ["a", "b"] {
        world.endpoint(id, "*").await;
        put(&world, &[letter(&world, id, 1).await, letter(&world, id, 2).await]).await;
    }
    assert_eq!(pages(&world, &all(), 2).await.len(), 2);
    assert_eq!(pages(&world, &one("a"), 2).await.len(), 1);
}

#[tokio::test]
async fn a_token_of_dead_letters_is_for_its_own_list_alone() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    put(&world, &[letter(&world, "shop", 1).await, letter(&world, "shop", 2).await]).await;
    let query = DeadLetterQuery::default();
    let list = async |scope: EndpointScope, query, token: &str| {
        world.app.list_dead_letters(&scope, query, &page(1, token)).await
    };
    let token = list(all(), query, "").await.expect("a page").next;
    let rejected = DeadLetterQuery { reason: Some(DeadLetterReason::Rejected), ..query };
    let (cut, other) = (&token[1..], token.replace(&token[..1], "?"));
    for refused in [
        list(one("shop"), query, &token).await,
        list(all(), rejected, &token).await,
        list(all(), query, cut).await,
        list(all(), query, &other).await,
    ] {
        let Err(Error::Invalid(faults)) = refused else { panic!("{refused:?}") };
        assert_eq!(faults[0].field, "page_token");
        assert!(faults[0].description.contains("take the one that the page before gave"));
    }
    assert_eq!(list(all(), query, &token).await.expect("its own").items.len(), 1);
}
