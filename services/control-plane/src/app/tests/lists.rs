use std::time::Duration;

use super::world::{World, draft, name, page, tenant};
use crate::app::{Error, TimeRange};

fn token_fault<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Invalid(faults)) => assert_eq!(faults[0].field, "page_token"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pages_of_endpoints_join_to_the_whole_list_newest_first() {
    let world = World::new().await;
    for id in ["a", "b", "c", "d", "e"] {
        world.endpoint(id, "*").await;
        world.clock.advance(Duration::from_millis(u64::from(id == "c")));
    }
    let (mut token, mut ids, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let part = world.app.list_endpoints(&tenant(), &page(2, &token)).await.expect("a page");
        ids.extend(part.items.iter().map(|view| view.endpoint.id.to_string()));
        (token, pages) = (part.next, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((ids.join(""), pages), ("edcba".to_owned(), 3));
}

#[tokio::test]
async fn tokens_that_are_malformed_or_of_another_list_are_refused() {
    let world = World::new().await;
    for id in ["a", "b"] {
        world.endpoint(id, "*").await;
    }
    let first = world.app.list_endpoints(&tenant(), &page(1, "")).await.expect("a page");
    let other = ports::Tenant {
        id: domain::TenantId::parse("other").expect("valid"),
        display_name: String::new(),
        create_time: world.now(),
    };
    world.app.deps.config.create_tenant(&other).await.expect("a tenant");
    token_fault(world.app.list_endpoints(&other.id, &page(1, &first.next)).await);
    token_fault(world.app.list_subscriptions(&name("a"), &page(1, &first.next)).await);
    let flipped = first.next.replacen(|c: char| c != 'A', "A", 1);
    for token in ["x", "====", "AAAA", &"A".repeat(10_000), flipped.as_str()] {
        token_fault(world.app.list_endpoints(&tenant(), &page(1, token)).await);
    }
    assert!(world.app.list_endpoints(&tenant(), &page(1, &first.next)).await.is_ok());
}

#[tokio::test]
async fn events_of_all_shards_are_listed_newest_first() {
    let world = World::new().await;
    let mut published = Vec::new();
    for _ in 0..300 {
        let result = world.publish(vec![draft("1")]).await.expect("ok").remove(0);
        published.push(result.id.to_string());
        world.clock.advance(Duration::from_millis(1));
    }
    published.reverse();
    let (mut token, mut ids) = (String::new(), Vec::new());
    loop {
        let range = TimeRange::default();
        let part =
            world.app.list_events(&tenant(), range, &page(70, &token)).await.expect("a page");
        ids.extend(part.items.iter().map(|event| event.at.id.to_string()));
        token = part.next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, published);
}

#[tokio::test]
async fn events_are_listed_by_time_and_token_of_that_filter_alone() {
    let world = World::new().await;
    for _ in 0..10 {
        world.publish(vec![draft("1")]).await.expect("ok");
        world.clock.advance(Duration::from_secs(1));
    }
    let now = world.now();
    let range = TimeRange {
        start: Some(now - Duration::from_secs(8)),
        end: Some(now - Duration::from_secs(3)),
    };
    let all = world.app.list_events(&tenant(), range, &page(0, "")).await.expect("a page");
    assert_eq!(all.items.len(), 5);
    let part = world.app.list_events(&tenant(), range, &page(2, "")).await.expect("a page");
    let other = TimeRange::default();
    token_fault(world.app.list_events(&tenant(), other, &page(2, &part.next)).await);
}

#[test]
fn page_sizes_are_coerced_and_negative_ones_refused() {
    assert_eq!(page(0, "").size, 50);
    assert_eq!(page(5_000, "").size, 1_000);
    assert!(crate::app::PageRequest::parse(-1, String::new()).is_err());
}
