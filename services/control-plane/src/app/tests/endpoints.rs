use domain::{CommandKind, DisableReason, EndpointState};
use ports::StateChange;

use super::world::{SHARDS, World, create, name, page, request, subscription, tenant};
use crate::app::{CreateSubscription, EndpointDraft, Error, StateVerb};

const NOTHING: (Option<&crate::app::RequestId>, bool) = (None, false);

#[tokio::test]
async fn an_endpoint_is_made_with_its_subscriptions_and_its_secret() {
    let world = World::new().await;
    let made = world.app.create_endpoint(create(None, &["payment.*"])).await.expect("made");
    let endpoint = &made.view.endpoint;
    assert!(endpoint.id.as_str().starts_with("ep-"), "{}", endpoint.id);
    assert_eq!(endpoint.state, EndpointState::Active);
    assert!(made.secret.expect("shown").secret.expose().starts_with("whsec_"));
    assert_eq!(made.subscriptions.len(), 1);
    let read = world.app.get_endpoint(&name(endpoint.id.as_str())).await.expect("there");
    assert_eq!(&read.endpoint, endpoint);
    assert_eq!(read.secrets.len(), 1);
}

#[tokio::test]
async fn a_taken_id_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let first = world.endpoint("shop", "*").await.view.endpoint;
    let error = world.app.create_endpoint(create(Some("shop"), &["a.b"])).await;
    assert!(matches!(error, Err(Error::AlreadyExists(_))));
    assert_eq!(world.app.get_endpoint(&name("shop")).await.expect("there").endpoint, first);
}

#[tokio::test]
async fn a_repeated_create_gives_the_same_answer_with_the_same_secret() {
    let world = World::new().await;
    let call = || {
        let mut call = create(None, &["*"]);
        call.request = request(1, 1);
        call
    };
    let first = world.app.create_endpoint(call()).await.expect("made");
    let again = world.app.create_endpoint(call()).await.expect("the same");
    assert_eq!(first.view, again.view);
    assert_eq!(first.subscriptions, again.subscriptions);
    let text =
        |made: crate::app::CreatedEndpoint| made.secret.expect("shown").secret.expose().to_owned();
    assert_eq!(text(first), text(again));
    let mut other = call();
    other.request = request(1, 2);
    let error = world.app.create_endpoint(other).await.expect_err("reused");
    assert!(matches!(error, Error::RequestIdReused));
    let all = world.app.list_endpoints(&tenant(), &page(0, "")).await.expect("a list");
    assert_eq!(all.items.len(), 1);
}

#[tokio::test]
async fn validate_only_makes_nothing() {
    let world = World::new().await;
    let mut call = create(Some("shop"), &["*"]);
    call.validate_only = true;
    let made = world.app.create_endpoint(call).await.expect("valid");
    assert!(made.secret.is_none());
    assert!(world.app.get_endpoint(&name("shop")).await.is_err());
}

#[tokio::test]
async fn updates_respect_the_etag_and_probe_after_a_new_url() {
    let world = World::new().await;
    let made = world.endpoint("shop", "*").await.view.endpoint;
    let etag = crate::app::etag_of(made.revision);
    let rename = |draft: EndpointDraft| {
        let display_name = "Shop".to_owned();
        Ok(EndpointDraft { display_name, ..draft })
    };
    let shop = name("shop");
    let updated = world.app.update_endpoint(&shop, rename, &etag, NOTHING).await.expect("changed");
    assert_eq!(updated.endpoint.display_name, "Shop");
    assert!(world.commands().await.is_empty());
    let error = world.app.update_endpoint(&shop, rename, &etag, NOTHING).await;
    assert!(matches!(error, Err(Error::EtagMismatch(_))));
    let moved = |draft: EndpointDraft| {
        let url = "https://example.com/new".to_owned();
        Ok(EndpointDraft { url, ..draft })
    };
    let updated = world.app.update_endpoint(&shop, moved, "", NOTHING).await.expect("moved");
    assert_eq!(updated.endpoint.url, "https://example.com/new");
    let probes = world.commands().await;
    assert_eq!(probes.len(), usize::from(SHARDS));
    assert!(probes.iter().all(|command| command.kind == CommandKind::Probe));
}

#[tokio::test]
async fn a_change_that_changes_nothing_writes_nothing() {
    let world = World::new().await;
    let made = world.endpoint("shop", "*").await;
    world.clock.advance(std::time::Duration::from_secs(1));
    let shop = name("shop");
    let same = world.app.update_endpoint(&shop, Ok, "", NOTHING).await.expect("ok");
    assert_eq!(same.endpoint, made.view.endpoint);
    assert_eq!(world.app.get_endpoint(&shop).await.expect("there").endpoint, made.view.endpoint);
    let stale = world.app.update_endpoint(&shop, Ok, "1000", NOTHING).await;
    assert!(matches!(stale, Err(Error::EtagMismatch(_))));
    let sub = crate::app::name_of_subscription(&made.subscriptions[0]);
    let before = world.app.get_subscription(&sub).await.expect("there");
    let same = world.app.update_subscription(&sub, Ok, "", NOTHING).await.expect("ok");
    assert_eq!(same, before);
    assert_eq!(world.app.get_subscription(&sub).await.expect("there"), before);
    assert!(world.commands().await.is_empty());
}

#[tokio::test]
async fn states_change_by_the_rules() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let resume = StateVerb::Resume { catch_up: true };
    assert_eq!(go(&world, StateVerb::Pause).await, Ok(EndpointState::Paused));
    assert_eq!(go(&world, StateVerb::Pause).await, Ok(EndpointState::Paused));
    assert_eq!(go(&world, resume).await, Ok(EndpointState::Active));
    assert!(world.commands().await.is_empty(), "a paused endpoint skipped nothing");
    let by_hand = EndpointState::Disabled(DisableReason::ByHand);
    assert_eq!(go(&world, StateVerb::Disable).await, Ok(by_hand));
    assert!(go(&world, StateVerb::Pause).await.expect_err("refused").contains("resume"));
    assert_eq!(go(&world, resume).await, Ok(EndpointState::Active));
    let commands = world.commands().await;
    assert_eq!(commands.len(), usize::from(SHARDS));
    let kind = CommandKind::Resume { catch_up: true };
    assert!(commands.iter().all(|command| command.kind == kind));
}

#[tokio::test]
async fn a_failing_endpoint_can_be_disabled_by_hand() {
    let world = World::new().await;
    world.endpoint("shop", "*").await;
    let change = StateChange {
        from: EndpointState::Active,
        to: EndpointState::Disabled(DisableReason::Failing),
        time: world.now(),
    };
    let uid = world.uid("shop").await;
    world.app.deps.config.set_state(&tenant(), uid, change).await.expect("failing");
    let by_hand = EndpointState::Disabled(DisableReason::ByHand);
    assert_eq!(go(&world, StateVerb::Disable).await, Ok(by_hand));
}

async fn go(world: &World, verb: StateVerb) -> Result<EndpointState, String> {
    let view = world.app.change_state(&name("shop"), verb, "", None).await;
    view.map(|view| view.endpoint.state).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_deleted_endpoint_is_gone_with_its_subscriptions_and_a_new_one_is_another() {
    let world = World::new().await;
    let first = world.endpoint("shop", "*").await.view.endpoint;
    let shop = name("shop");
    let wrong = world.app.delete_endpoint(&shop, "1000", None).await;
    assert!(matches!(wrong, Err(Error::EtagMismatch(_))));
    let repeat = request(3, 3);
    world.app.delete_endpoint(&shop, "", repeat.as_ref()).await.expect("deleted");
    world.app.delete_endpoint(&shop, "", repeat.as_ref()).await.expect("the same answer");
    assert!(matches!(world.app.delete_endpoint(&shop, "", None).await, Err(Error::NotFound(_))));
    let told = world.commands().await.into_iter().map(|command| (command.endpoint, command.kind));
    let told: Vec<_> = told.collect();
    let expected = vec![(first.uid, domain::CommandKind::Probe); told.len()];
    assert_eq!((told.is_empty(), told), (false, expected), "a hint may be lost");
    assert!(world.app.tenant(&tenant()).await.expect("it").subscriptions.is_empty());
    assert_ne!(world.endpoint("shop", "*").await.view.endpoint.uid, first.uid);
}

#[tokio::test]
async fn subscriptions_are_made_changed_and_deleted() {
    let world = World::new().await;
    world.endpoint("shop", "a.b").await;
    let call = || CreateSubscription {
        endpoint: name("shop"),
        id: Some(domain::SubscriptionId::parse("second").expect("valid")),
        draft: subscription(&["payment.*"]),
        request: None,
        validate_only: false,
    };
    let made = world.app.create_subscription(call()).await.expect("made");
    assert!(matches!(world.app.create_subscription(call()).await, Err(Error::AlreadyExists(_))));
    let sub = crate::app::name_of_subscription(&made.subscription);
    assert_eq!(world.app.get_subscription(&sub).await.expect("there"), made);
    let change = |_| Ok(subscription(&["*"]));
    let changed = world.app.update_subscription(&sub, change, "", NOTHING).await.expect("changed");
    assert_eq!(changed.subscription.event_types, subscription(&["*"]).event_types);
    assert_eq!(changed.uid, made.uid);
    let stale = crate::app::etag_of(made.subscription.revision);
    let error = world.app.delete_subscription(&sub, &stale, None).await;
    assert!(matches!(error, Err(Error::EtagMismatch(_))));
    world.app.delete_subscription(&sub, "", None).await.expect("deleted");
    assert!(world.app.get_subscription(&sub).await.is_err());
    let nobody = CreateSubscription { endpoint: name("nobody"), ..call() };
    assert!(matches!(world.app.create_subscription(nobody).await, Err(Error::NotFound(_))));
}
