use domain::EventId;
use testkit::Fault;

use super::world::{World, draft, name, publish, tenant, with_id, with_key};
use crate::app::{Error, EventName};

#[tokio::test]
async fn published_events_are_in_the_log_with_ids_of_ours() {
    let world = World::new().await;
    let results = world.publish(vec![draft("1"), draft("2")]).await.expect("ok");
    assert_eq!(world.records().await, 2);
    for result in &results {
        assert!(!result.duplicate && result.failure.is_none());
        let time = result.id.embedded_time_ms();
        assert_eq!(time, Some(world.now().as_millis()));
    }
    assert_ne!(results[0].id, results[1].id);
}

#[tokio::test]
async fn the_same_key_and_body_is_the_same_event() {
    let world = World::new().await;
    for (first, again) in [
        (with_id("order-1", "1"), with_id("order-1", "1")),
        (with_key("k", "1"), with_key("k", "1")),
    ] {
        let before = world.records().await;
        let first = world.publish(vec![first]).await.expect("ok").remove(0);
        let again = world.publish(vec![again]).await.expect("ok").remove(0);
        assert!(!first.duplicate && again.duplicate);
        assert_eq!(first.id, again.id);
        assert_eq!(world.records().await, before + 1);
    }
}

#[tokio::test]
async fn the_same_key_with_another_body_is_an_error_and_appends_nothing() {
    let world = World::new().await;
    world.publish(vec![with_key("k", "1")]).await.expect("ok");
    let before = world.records().await;
    let batch = vec![draft("3"), with_key("k", "2")];
    let error = world.publish(batch).await.expect_err("reused");
    let Error::IdempotencyKeyReused { field, key } = &error else {
        panic!("{error}");
    };
    assert_eq!((field.as_str(), key.as_str()), ("events[1].idempotency_key", "k"));
    let error = world.publish(vec![with_id("k", "2")]).await.expect_err("reused");
    assert!(error.to_string().contains("events[0].id"), "{error}");
    assert_eq!(world.records().await, before);
}

#[tokio::test]
async fn a_batch_may_repeat_itself_but_not_contradict_itself() {
    let world = World::new().await;
    let same = vec![with_key("k", "1"), draft("2"), with_key("k", "1")];
    let results = world.publish(same).await.expect("ok");
    let duplicates: Vec<bool> = results.iter().map(|result| result.duplicate).collect();
    assert_eq!(duplicates, [false, false, true]);
    assert_eq!(results[0].id, results[2].id);
    assert_eq!(world.records().await, 2);

    let other = vec![with_key("j", "1"), with_key("j", "2")];
    let error = world.publish(other).await.expect_err("contradiction");
    assert!(
        matches!(error, Error::IdempotencyKeyReused { field, .. } if field.starts_with("events[1]"))
    );
    assert_eq!(world.records().await, 2);
}

#[tokio::test]
async fn a_failed_append_comes_with_its_event_and_can_be_repeated() {
    let world = World::new().await;
    world.log.faults().fail_writes(1, Fault::Unavailable);
    let batch = vec![with_key("k", "1"), with_key("k", "1")];
    let results = world.publish(batch.clone()).await.expect("answered");
    for result in &results {
        let failure = result.failure.as_ref().expect("not durable");
        assert_eq!(failure.kind, ports::ErrorKind::Unavailable);
    }
    let again = world.publish(batch).await.expect("answered");
    assert_eq!((again[0].duplicate, &again[0].failure), (false, &None));
    assert_eq!(again[0].id, results[0].id, "the id is derived from the key");
}

#[tokio::test]
async fn a_key_that_could_not_be_kept_makes_the_publisher_repeat() {
    let world = World::new().await;
    world.store.faults().fail_writes(1, Fault::Unavailable);
    let results = world.publish(vec![draft("0"), with_key("k", "1")]).await.expect("answered");
    assert!(results[0].failure.is_none(), "it has no key to keep");
    assert!(results[1].failure.is_some());
    let again = world.publish(vec![with_key("k", "1")]).await.expect("answered").remove(0);
    assert!(again.failure.is_none());
    assert_eq!(again.id, results[1].id);
}

#[tokio::test]
async fn keys_of_one_tenant_are_not_seen_by_another() {
    let world = World::new().await;
    let other = ports::Tenant {
        id: domain::TenantId::parse("other").expect("valid"),
        display_name: String::new(),
        create_time: world.now(),
    };
    world.app.deps.config.create_tenant(&other).await.expect("a tenant");
    world.publish(vec![with_key("k", "1")]).await.expect("ok");
    let mut call = publish(vec![with_key("k", "2")]);
    call.tenant = other.id;
    let results = world.app.publish(call).await.expect("ok");
    assert!(!results[0].duplicate);
}

#[tokio::test]
async fn an_unknown_tenant_gets_nothing() {
    let world = World::new().await;
    let mut call = publish(vec![draft("1")]);
    call.tenant = domain::TenantId::parse("nobody").expect("valid");
    let error = world.app.publish(call).await.expect_err("unknown");
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    assert_eq!(world.records().await, 0);
}

#[tokio::test]
async fn validate_only_appends_nothing_and_remembers_nothing() {
    let world = World::new().await;
    let mut call = publish(vec![with_key("k", "1")]);
    call.validate_only = true;
    world.app.publish(call).await.expect("ok");
    assert_eq!(world.records().await, 0);
    let results = world.publish(vec![with_key("k", "2")]).await.expect("ok");
    assert!(!results[0].duplicate);
}

#[tokio::test]
async fn events_carry_the_revision_of_the_last_change() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let revision = world.app.tenant(&tenant()).await.expect("a tenant").revision;
    let id = world.publish(vec![draft("1")]).await.expect("ok").remove(0).id;
    let event = find(&world, &id).await.expect("found");
    assert_eq!(event.event.revision, Some(revision));
    assert_eq!(
        world.app.endpoint_config(&name("shop")).await.expect("it").endpoint.revision,
        revision
    );
}

#[tokio::test]
async fn events_are_found_before_their_first_attempt() {
    let world = World::new().await;
    let mut keyed = with_key("key of mine".replace(' ', "-").as_str(), "3");
    keyed.ordering_key = Some("somewhere else".into());
    let mut both = with_id("mine-2", "4");
    both.idempotency_key = Some("another".into());
    let mut ordered = draft("5");
    ordered.ordering_key = Some("elsewhere".into());
    let drafts = vec![draft("1"), with_id("mine", "2"), keyed, both, ordered];
    let results = world.publish(drafts.clone()).await.expect("ok");
    for (draft, result) in drafts.iter().zip(results) {
        let event = find(&world, &result.id).await.expect("found");
        assert_eq!(event.event.data, draft.data);
    }
    let nobody = EventId::parse("nobody").expect("valid");
    assert!(matches!(find(&world, &nobody).await, Err(Error::NotFound(_))));
}

async fn find(world: &World, id: &EventId) -> Result<ports::StoredEvent, Error> {
    let name = EventName { tenant: tenant(), event: id.clone() };
    world.app.event(&name).await
}
