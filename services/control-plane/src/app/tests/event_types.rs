use std::time::Duration;

use domain::{ApiVersion, ContentType, EventType};

use super::world::{World, draft, page, publish, request, tenant, with_id};
use crate::app::{CreateEventType, Error, EventTypeDraft, EventTypeName, PublishDraft, Violation};

const INTEGER: &str = r#"{"type":"integer"}"#;

fn version(text: &str) -> ApiVersion {
    ApiVersion::parse(text).expect("valid")
}

fn type_name(text: &str) -> EventTypeName {
    EventTypeName { tenant: tenant(), event_type: EventType::parse(text).expect("valid") }
}

/// A type whose data is an integer in the default version.
fn integers(validate: bool) -> EventTypeDraft {
    EventTypeDraft {
        description: "use payment.settled".to_owned(),
        deprecated: false,
        validate,
        schemas: [(version("2026-01-01"), INTEGER.into())].into(),
    }
}

fn create(text: &str, draft: EventTypeDraft) -> CreateEventType {
    CreateEventType { name: type_name(text), draft, request: None, validate_only: false }
}

async fn update(world: &World, to: EventTypeDraft) {
    let name = type_name("payment.completed");
    let change = |_| Ok(to.clone());
    world.app.update_event_type(&name, change, "", (None, false)).await.expect("updated");
}

async fn refused(world: &World, drafts: Vec<PublishDraft>) -> Vec<Violation> {
    let before = world.records().await;
    let refused = world.publish(drafts).await.expect_err("refused");
    assert_eq!(world.records().await, before, "nothing was appended");
    let Error::SchemaViolation(faults) = refused else { panic!("{refused}") };
    faults
}

#[tokio::test]
async fn data_that_does_not_conform_refuses_the_whole_batch() {
    let world = World::new().await;
    let made = world.app.create_event_type(create("payment.completed", integers(true))).await;
    made.expect("registered");
    assert!(world.publish(vec![draft("1"), draft("2")]).await.is_ok());
    let other = PublishDraft { api_version: Some(version("2027-01-01")), ..draft("1") };
    let text = PublishDraft {
        content_type: ContentType::parse("text/plain").expect("valid"),
        ..draft("1")
    };
    let batch = vec![draft("1"), draft("\"hush\""), other, text, draft("{}")];
    let faults = refused(&world, batch).await;
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let expected =
        ["events[1].data", "events[2].api_version", "events[3].content_type", "events[4].data"];
    assert_eq!(fields, expected);
    assert!(faults[0].description.contains("integer"), "{faults:?}");
    assert!(!faults[0].description.contains("hush"), "{faults:?}");
    assert!(faults[1].description.contains("allowed are 2026-01-01"), "{faults:?}");
    let unregistered =
        PublishDraft { event_type: EventType::parse("order.made").expect("valid"), ..draft("{}") };
    assert!(world.publish(vec![unregistered]).await.is_ok(), "as good as any other");
}

#[tokio::test]
async fn a_change_counts_for_the_next_event() {
    let world = World::new().await;
    assert!(world.publish(vec![draft("{}")]).await.is_ok(), "not registered");
    let made = world.app.create_event_type(create("payment.completed", integers(true))).await;
    let first = made.expect("registered").entry;
    refused(&world, vec![draft("{}")]).await;
    let mut objects = integers(true);
    objects.schemas = [(version("2026-01-01"), r#"{"type":"object"}"#.into())].into();
    update(&world, objects).await;
    assert!(world.publish(vec![draft("{}")]).await.is_ok());
    refused(&world, vec![draft("1")]).await;
    // Other changes of the tenant leave it alone.
    world.endpoint("shop", "*").await;
    refused(&world, vec![draft("1")]).await;
    update(&world, integers(false)).await;
    assert!(world.publish(vec![draft("{}")]).await.is_ok(), "checks are opt-in");
    update(&world, integers(true)).await;
    refused(&world, vec![draft("{}")]).await;
    world.app.delete_event_type(&type_name("payment.completed"), "", None).await.expect("deleted");
    assert!(world.publish(vec![draft("{}")]).await.is_ok());
    world.clock.advance(Duration::from_millis(1));
    let again = world.app.create_event_type(create("payment.completed", integers(true))).await;
    let again = again.expect("registered").entry;
    assert_ne!(crate::app::uid_of_type(&again), crate::app::uid_of_type(&first));
}

#[tokio::test]
async fn what_was_published_before_stays_published() {
    let world = World::new().await;
    world.publish(vec![with_id("order-1", "{}")]).await.expect("ok");
    let made = world.app.create_event_type(create("payment.completed", integers(true))).await;
    made.expect("registered");
    let again = world.publish(vec![with_id("order-1", "{}")]).await.expect("ok").remove(0);
    assert!(again.duplicate, "repeating a call is safe");
    let mut call = publish(vec![draft("{}")]);
    call.validate_only = true;
    let error = world.app.publish(call).await.expect_err("asks the schemas too");
    assert!(matches!(error, Error::SchemaViolation(_)), "{error}");
}

#[tokio::test]
async fn a_deprecated_type_warns_and_nothing_fails() {
    let world = World::new().await;
    let deprecated = EventTypeDraft { deprecated: true, ..integers(false) };
    let made = world.app.create_event_type(create("payment.completed", deprecated)).await;
    made.expect("registered");
    let result = world.publish(vec![with_id("a", "{}")]).await.expect("ok").remove(0);
    let warning = "payment.completed is deprecated: use payment.settled";
    assert_eq!(result.warning.as_deref(), Some(warning));
    assert!(result.failure.is_none());
    let again = world.publish(vec![with_id("a", "{}")]).await.expect("ok").remove(0);
    assert_eq!(again.warning.as_deref(), Some(warning), "also a duplicate");
    update(&world, integers(false)).await;
    assert_eq!(world.publish(vec![draft("{}")]).await.expect("ok").remove(0).warning, None);
}

#[tokio::test]
async fn a_schema_that_is_none_changes_nothing() {
    let world = World::new().await;
    let mut bad = integers(false);
    bad.schemas.insert(version("v2"), "{".into());
    bad.schemas.insert(version("v3"), r#"{"$ref":"https://example.com/a"}"#.into());
    let error = world.app.create_event_type(create("payment.completed", bad.clone())).await;
    let Err(Error::Invalid(faults)) = error else { panic!("{error:?}") };
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["event_type.schemas[\"v2\"]", "event_type.schemas[\"v3\"]"]);
    let name = type_name("payment.completed");
    assert!(matches!(world.app.get_event_type(&name).await, Err(Error::NotFound(_))));
    let made = world.app.create_event_type(create("payment.completed", integers(true))).await;
    let made = made.expect("registered");
    let change = |_| Ok(bad.clone());
    let error = world.app.update_event_type(&name, change, "", (None, false)).await;
    assert!(matches!(error, Err(Error::Invalid(_))), "{error:?}");
    assert_eq!(world.app.get_event_type(&name).await.expect("there"), made);
}

#[tokio::test]
async fn a_create_that_is_repeated_with_its_request_id_is_done_once() {
    let world = World::new().await;
    let call = || CreateEventType {
        request: request(7, 1),
        ..create("payment.completed", integers(true))
    };
    let made = world.app.create_event_type(call()).await.expect("registered");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.app.create_event_type(call()).await.expect("the same"), made);
    let again = world.app.create_event_type(create("payment.completed", integers(true))).await;
    assert!(matches!(again, Err(Error::AlreadyExists(_))), "{again:?}");
    let stale = world.app.delete_event_type(&type_name("payment.completed"), "\"0\"", None).await;
    assert!(matches!(stale, Err(Error::EtagMismatch(_))), "{stale:?}");
}

#[tokio::test]
async fn pages_of_types_join_to_the_whole_list_newest_first() {
    let world = World::new().await;
    for text in ["a.a", "a.b", "a.c", "a.d", "a.e"] {
        world.app.create_event_type(create(text, integers(false))).await.expect("registered");
        world.clock.advance(Duration::from_millis(u64::from(text == "a.c")));
    }
    let (mut token, mut types, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let part = world.app.list_event_types(&tenant(), &page(2, &token)).await.expect("a page");
        types.extend(part.items.iter().map(|entry| entry.event_type.to_string()));
        (token, pages) = (part.next, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((types.join(" "), pages), ("a.e a.d a.c a.b a.a".to_owned(), 3));
}

#[tokio::test]
async fn the_bytes_of_a_tenants_schemas_are_bounded() {
    let world = World::new().await;
    let large: std::sync::Arc<str> = format!("{{\"title\":\"{}\"}}", "x".repeat(65_000)).into();
    let full = EventTypeDraft {
        schemas: (0..32).map(|n| (version(&format!("v{n}")), large.clone())).collect(),
        ..integers(false)
    };
    let mut taken = 0;
    let refused = loop {
        match world.app.create_event_type(create(&format!("a.t{taken}"), full.clone())).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(taken, 32, "64 MiB");
    assert!(matches!(refused, Error::QuotaExceeded { of: "bytes of schemas", .. }), "{refused}");
    let name = type_name("a.t0");
    let change = |_| Ok(integers(false));
    let less = world.app.update_event_type(&name, change, "", (None, false)).await;
    less.expect("less is always taken");
    let again = world.app.create_event_type(create("a.last", integers(false))).await;
    again.expect("there is room again");
}
