use std::pin::Pin;
use std::time::Duration;

use domain::{
    AttemptId, Disposition, EndpointId, EventId, EventPattern, EventRef, EventType, LogPosition,
    Observation, OutcomeKind, Position, Shard, TenantId, Timestamp, Trigger,
};
use futures::{FutureExt as _, Stream, StreamExt as _};
use ports::Observations as _;

use super::world::{World, draft, page, publish, tenant, with_id};
use crate::app::{
    EndpointScope, Error, PublishDraft, WatchDeliveries, WatchEvents, WatchedAttempt, WatchedEvent,
};

type Events = Pin<Box<dyn Stream<Item = Result<WatchedEvent, Error>>>>;
type Attempts = Pin<Box<dyn Stream<Item = Result<WatchedAttempt, Error>>>>;

const MINUTE: Duration = Duration::from_secs(60);

fn all(token: &str) -> WatchEvents {
    WatchEvents { tenant: tenant(), event_types: Vec::new(), token: token.to_owned() }
}

async fn events(world: &World, call: WatchEvents) -> Events {
    Box::pin(world.app.watch_events(call).await.expect("a stream"))
}

/// Lets the clock run until there is a message.
async fn next<T>(
    world: &World,
    stream: &mut Pin<Box<dyn Stream<Item = Result<T, Error>>>>,
) -> Option<T> {
    loop {
        tokio::select! {
            biased;
            message = stream.next() => return message.transpose().expect("no failure"),
            () = tokio::task::yield_now() => {
                if let Some(time) = world.clock.next_wake() {
                    world.clock.advance_to(time);
                }
            }
        }
    }
}

fn id(message: Option<&WatchedEvent>) -> String {
    let event = message.and_then(|message| message.event.as_ref());
    event.map_or_else(String::new, |event| event.id.to_string())
}

fn typed(id: &str, event_type: &str) -> PublishDraft {
    let event_type = EventType::parse(event_type).expect("valid");
    PublishDraft { event_type, ..with_id(id, "1") }
}

#[tokio::test]
async fn events_are_told_from_now_on_once_each_and_in_the_order_of_their_key() {
    let world = World::new().await;
    world.publish(vec![with_id("before", "1")]).await.expect("published");
    let mut stream = events(&world, all("")).await;
    for n in 0..50 {
        let keyed =
            PublishDraft { ordering_key: Some("k".into()), ..with_id(&format!("k{n}"), "1") };
        world.publish(vec![keyed, with_id(&format!("s{n}"), "1")]).await.expect("published");
    }
    let mut told = Vec::new();
    for _ in 0..100 {
        told.push(id(next(&world, &mut stream).await.as_ref()));
    }
    let keyed: Vec<_> = told.iter().filter(|id| id.starts_with('k')).cloned().collect();
    assert_eq!(keyed, (0..50).map(|n| format!("k{n}")).collect::<Vec<_>>());
    told.sort();
    told.dedup();
    assert_eq!((told.len(), told.contains(&"before".to_owned())), (100, false));
}

#[tokio::test]
async fn a_token_goes_on_behind_its_event_wherever_the_others_were() {
    let world = World::new().await;
    let mut stream = events(&world, all("")).await;
    let ids: Vec<String> = (0..30).map(|n| format!("e{n}")).collect();
    for id in &ids {
        world.publish(vec![with_id(id, "1")]).await.expect("published");
    }
    let mut told = Vec::new();
    let mut token = String::new();
    for _ in 0..7 {
        let message = next(&world, &mut stream).await.expect("a message");
        told.push(id(Some(&message)));
        token = message.token;
    }
    drop(stream);
    let mut stream = events(&world, all(&token)).await;
    for _ in 7..30 {
        told.push(id(next(&world, &mut stream).await.as_ref()));
    }
    told.sort_by_key(|id| id.get(1..).and_then(|n| n.parse::<u32>().ok()));
    assert_eq!(told, ids);
}

#[tokio::test]
async fn a_stream_ends_after_a_minute_and_the_next_one_misses_nothing() {
    let world = World::new().await;
    let mut stream = events(&world, all("")).await;
    let began = world.now();
    let last = next(&world, &mut stream).await.expect("the last word");
    assert!(last.event.is_none());
    assert!(world.now().since(began) >= MINUTE);
    assert!(next(&world, &mut stream).await.is_none(), "it has ended");
    world.publish(vec![with_id("between", "1")]).await.expect("published");
    let mut stream = events(&world, all(&last.token)).await;
    assert_eq!(id(next(&world, &mut stream).await.as_ref()), "between");
}

#[tokio::test]
async fn only_events_of_the_tenant_and_of_the_types_are_told() {
    let world = World::new().await;
    let other = ports::Tenant {
        id: TenantId::parse("other").expect("valid"),
        display_name: String::new(),
        create_time: world.now(),
    };
    world.app.deps.config.create_tenant(&other).await.expect("a tenant");
    let wanted = EventPattern::parse("payment.*").expect("valid");
    let call = WatchEvents { event_types: vec![wanted], ..all("") };
    let mut stream = events(&world, call.clone()).await;
    let mut theirs = publish(vec![typed("theirs", "payment.made")]);
    theirs.tenant = other.id.clone();
    world.app.publish(theirs).await.expect("published");
    let ours = vec![typed("not", "order.made"), typed("ours", "payment.made")];
    world.publish(ours).await.expect("published");
    let message = next(&world, &mut stream).await.expect("a message");
    assert_eq!(id(Some(&message)), "ours");

    for call in [
        WatchEvents { event_types: Vec::new(), token: message.token.clone(), ..call.clone() },
        WatchEvents { tenant: other.id.clone(), token: message.token.clone(), ..call.clone() },
        WatchEvents { token: "x".to_owned(), ..call },
    ] {
        match world.app.watch_events(call).await.map(drop) {
            Err(Error::Invalid(faults)) => assert_eq!(faults[0].field, "resume_token"),
            unlike => panic!("{unlike:?}"),
        }
    }
    let nobody = TenantId::parse("nobody").expect("valid");
    let none = world.app.watch_events(WatchEvents { tenant: nobody, ..all("") }).await.map(drop);
    assert!(matches!(none, Err(Error::NotFound(_))), "{none:?}");
}

#[tokio::test]
async fn what_is_no_event_is_passed_over() {
    let world = World::new().await;
    let mut stream = events(&world, all("")).await;
    let poison = domain::record::Record {
        key: None,
        headers: vec![("content-type".to_owned(), Some("application/json".into()))],
        value: Some("{".into()),
    };
    world.app.deps.log.append(vec![poison]).await.remove(0).expect("appended");
    world.publish(vec![with_id("good", "1")]).await.expect("published");
    assert_eq!(id(next(&world, &mut stream).await.as_ref()), "good");
}

#[tokio::test]
async fn too_many_watchers_are_refused_until_one_leaves() {
    let world = World::new().await;
    let mut streams = Vec::new();
    let refused = loop {
        match world.app.watch_events(all("")).await {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::TooManyWatchers(32)), "{refused:?}");
    streams.pop();
    assert!(world.app.watch_events(all("")).await.is_ok());
}

fn attempt(endpoint: &str, event_type: &str, of: &TenantId) -> Observation {
    Observation {
        event: EventRef {
            tenant: of.clone(),
            id: EventId::parse("e").expect("valid"),
            at: LogPosition { shard: Shard(0), position: Position(1) },
        },
        event_type: EventType::parse(event_type).expect("valid"),
        endpoint: EndpointId::parse(endpoint).expect("valid"),
        attempt: AttemptId::from_uuid(uuid::Uuid::from_u128(1)),
        time: Timestamp::from_millis(1),
        number: 1,
        trigger: Trigger::Event,
        outcome: OutcomeKind::Answered(200),
        duration: Duration::from_millis(3),
        disposition: Disposition::Delivered,
    }
}

async fn attempts(world: &World, endpoint: Option<&str>, types: &[&str]) -> Attempts {
    let endpoint = endpoint.map(|id| EndpointId::parse(id).expect("valid"));
    let pattern = |text: &&str| EventPattern::parse(text).expect("valid");
    let call = WatchDeliveries {
        scope: EndpointScope { tenant: tenant(), endpoint },
        event_types: types.iter().map(pattern).collect(),
    };
    Box::pin(world.app.watch_deliveries(call).await.expect("a stream"))
}

#[tokio::test]
async fn attempts_are_told_to_those_who_asked_for_them() {
    let world = World::new().await;
    world.endpoint("a", "*").await;
    let mut of_a = attempts(&world, Some("a"), &[]).await;
    let mut payments = attempts(&world, None, &["payment.*"]).await;
    let other = TenantId::parse("other").expect("valid");
    world.observations.tell(attempt("a", "payment.made", &other));
    world.observations.tell(attempt("b", "payment.made", &tenant()));
    world.observations.tell(attempt("a", "order.made", &tenant()));
    let seen = next(&world, &mut of_a).await.expect("an attempt");
    assert_eq!(seen.attempt.event_type.as_str(), "order.made");
    let seen = next(&world, &mut payments).await.expect("an attempt");
    assert_eq!((seen.attempt.endpoint.as_str(), seen.missed), ("b", 0));
    assert!(next(&world, &mut payments).await.is_none(), "it ends after a minute");
    let missing = EndpointScope {
        tenant: tenant(),
        endpoint: Some(EndpointId::parse("missing").expect("valid")),
    };
    let call = WatchDeliveries { scope: missing, event_types: Vec::new() };
    let none = world.app.watch_deliveries(call).await.map(drop);
    assert!(matches!(none, Err(Error::NotFound(_))), "{none:?}");
}

#[tokio::test]
async fn who_reads_attempts_too_slowly_is_told_how_many_were_left_out() {
    let world = World::new().await;
    let mut stream = attempts(&world, None, &[]).await;
    for _ in 0..1_500 {
        world.observations.tell(attempt("a", "payment.made", &tenant()));
    }
    let first = stream.next().now_or_never().flatten().expect("at once").expect("no failure");
    assert!(first.missed > 0, "{first:?}");
    let second = stream.next().now_or_never().flatten().expect("at once").expect("no failure");
    assert_eq!(second.missed, 0);
    // Whoever watches holds up nobody.
    world.publish(vec![draft("1")]).await.expect("published");
    let listed = world.app.list_events(&tenant(), Default::default(), &page(10, "")).await;
    assert_eq!(listed.expect("a page").items.len(), 1);
}
