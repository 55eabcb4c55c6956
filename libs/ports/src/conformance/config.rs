//! `ConfigStore`.

use domain::{DisableReason, EndpointId, EndpointState, Revision, SubscriptionId, Timestamp};

use super::sample::{endpoint, subscription, tenant, uid};
use super::{StoreFixture, StoreUnderTest};
use crate::{Applied, EndpointConfig, Expect, StateChange, Tenant, TenantConfig};

/// Runs every contract of `ConfigStore`.
pub async fn config_store_suite(fixture: &impl StoreFixture) {
    cs_1_changes_are_durable_and_raise_the_revision(fixture).await;
    cs_2_an_unexpected_revision_changes_nothing(fixture).await;
    cs_3_load_gives_one_consistent_state(fixture).await;
    cs_4_existing_and_missing_things_are_told(fixture).await;
    cs_5_deleting_an_endpoint_takes_its_subscriptions(fixture).await;
    cs_6_the_state_changes_only_from_the_one_named(fixture).await;
    tenants_are_listed_in_order(fixture).await;
}

fn made(name: &str) -> Tenant {
    Tenant {
        id: tenant(name),
        display_name: format!("Tenant {name}"),
        create_time: Timestamp::from_millis(5),
    }
}

/// A store with one tenant.
async fn with_tenant(fixture: &impl StoreFixture) -> Box<dyn StoreUnderTest> {
    let test = fixture.fresh().await;
    let created = test.stores().config.create_tenant(&made("acme")).await;
    assert!(matches!(created, Ok(Applied::Done(_))), "{created:?}");
    test
}

async fn put(test: &dyn StoreUnderTest, config: &EndpointConfig, expect: Expect) -> Applied {
    let subscriptions = [subscription("acme", config.endpoint.id.as_str(), "s1")];
    let put = test.stores().config;
    put.put_endpoint(config, &subscriptions, expect).await.expect("put_endpoint")
}

fn done(applied: Applied) -> Revision {
    match applied {
        Applied::Done(revision) => revision,
        other @ (Applied::Conflict | Applied::Exists | Applied::NotFound) => {
            panic!("expected a change, not {other:?}")
        }
    }
}

async fn load(test: &dyn StoreUnderTest) -> TenantConfig {
    let loaded = test.stores().config.load(&tenant("acme")).await.expect("load");
    let config = loaded.expect("the tenant is there");
    let revision = test.stores().config.revision(&tenant("acme")).await;
    assert_eq!(revision.expect("revision"), Some(config.revision));
    config
}

fn endpoint_id(name: &str) -> EndpointId {
    EndpointId::parse(name).expect("a valid endpoint id")
}

/// CS-1: a change that answers `Done` is durable, seen by every later read, and raises the tenant's revision.
pub async fn cs_1_changes_are_durable_and_raise_the_revision(fixture: &impl StoreFixture) {
    let mut test = with_tenant(fixture).await;
    let config = endpoint("acme", "orders", 1);
    let before = load(&*test).await.revision;
    let revision = done(put(&*test, &config, Expect::Absent).await);
    assert!(revision > before);
    test.restart().await;
    let loaded = load(&*test).await;
    assert_eq!(loaded.revision, revision);
    let mut expected = config.clone();
    expected.endpoint.revision = revision;
    assert_eq!(loaded.endpoints, [expected]);
    let mut expected = subscription("acme", "orders", "s1");
    expected.revision = revision;
    assert_eq!(loaded.subscriptions, [expected]);

    let mut changed = endpoint("acme", "orders", 2);
    changed.endpoint.url = "https://example.com/other".to_owned();
    changed.endpoint.state = EndpointState::Paused;
    let next = done(put(&*test, &changed, Expect::Present).await);
    assert!(next > revision);
    let loaded = load(&*test).await;
    let stored = loaded.endpoints.first().expect("one endpoint");
    assert_eq!(stored.endpoint.url, changed.endpoint.url);
    assert_eq!(stored.endpoint.revision, next);
    assert_eq!(stored.endpoint.uid, uid(1), "the uid is given at create only");
    assert_eq!(stored.endpoint.state, EndpointState::Active, "and so is the state");
    assert_eq!(loaded.subscriptions.len(), 1, "and so are subscriptions");
}

/// CS-2: a change that expects another revision answers `Conflict` and changes nothing; of two at once one wins.
pub async fn cs_2_an_unexpected_revision_changes_nothing(fixture: &impl StoreFixture) {
    let test = with_tenant(fixture).await;
    let config = endpoint("acme", "orders", 1);
    let revision = done(put(&*test, &config, Expect::Absent).await);
    let before = load(&*test).await;
    let wrong = Expect::At(Revision(revision.0 + 7));
    assert_eq!(put(&*test, &config, wrong).await, Applied::Conflict);
    let store = test.stores().config;
    let id = endpoint_id("orders");
    let deleted = store.delete_endpoint(&tenant("acme"), &id, wrong).await;
    assert_eq!(deleted.expect("delete_endpoint"), Applied::Conflict);
    assert_eq!(load(&*test).await, before);
    let (one, two) = tokio::join!(
        put(&*test, &config, Expect::At(revision)),
        put(&*test, &config, Expect::At(revision))
    );
    let won = [one, two].iter().filter(|applied| matches!(applied, Applied::Done(_))).count();
    assert_eq!(won, 1, "{one:?} {two:?}");
    let name = SubscriptionId::parse("s1").expect("valid");
    let names = (&tenant("acme"), &id, &name);
    let conflict = store.put_subscription(names, None, wrong).await;
    assert_eq!(conflict.expect("put_subscription"), Applied::Conflict);
}

/// CS-3: `load` gives everything of one revision while changes go on.
pub async fn cs_3_load_gives_one_consistent_state(fixture: &impl StoreFixture) {
    let test = with_tenant(fixture).await;
    let write = async {
        for n in 0..40 {
            put(&*test, &endpoint("acme", &format!("e{n:02}"), n), Expect::Absent).await;
        }
    };
    let read = async {
        for _ in 0..40 {
            let loaded = test.stores().config.load(&tenant("acme")).await.expect("load");
            let loaded = loaded.expect("the tenant is there");
            let newest = loaded.endpoints.iter().map(|e| e.endpoint.revision).max();
            assert!(
                newest <= Some(loaded.revision) || newest.is_none(),
                "nothing newer than its revision"
            );
            assert_eq!(loaded.endpoints.len(), loaded.subscriptions.len(), "both of one change");
        }
    };
    tokio::join!(write, read);
    let loaded = load(&*test).await;
    let ids: Vec<&str> = loaded.endpoints.iter().map(|e| e.endpoint.id.as_str()).collect();
    assert!(ids.is_sorted(), "in the order of their ids: {ids:?}");
    assert_eq!(ids.len(), 40);
}

/// CS-4: creating what exists answers `Exists`, changing what does not `NotFound`; neither changes anything.
pub async fn cs_4_existing_and_missing_things_are_told(fixture: &impl StoreFixture) {
    let test = with_tenant(fixture).await;
    let store = test.stores().config;
    let config = endpoint("acme", "orders", 1);
    done(put(&*test, &config, Expect::Absent).await);
    let before = load(&*test).await;
    let acme = tenant("acme");
    let exists = store.create_tenant(&made("acme")).await.expect("create_tenant");
    assert_eq!(exists, Applied::Exists);
    assert_eq!(put(&*test, &config, Expect::Absent).await, Applied::Exists);
    let missing = endpoint("acme", "missing", 2);
    for expect in [Expect::Present, Expect::At(Revision(1))] {
        assert_eq!(put(&*test, &missing, expect).await, Applied::NotFound);
    }
    let (here, gone) = (endpoint_id("orders"), endpoint_id("missing"));
    let deleted = store.delete_endpoint(&acme, &gone, Expect::Present).await;
    assert_eq!(deleted.expect("delete_endpoint"), Applied::NotFound);
    let nobody = endpoint("nobody", "orders", 3);
    let refused = store.put_endpoint(&nobody, &[], Expect::Absent).await;
    assert_eq!(refused.expect("put_endpoint"), Applied::NotFound);
    let (s1, s2) = (subscription("acme", "orders", "s1"), subscription("acme", "orders", "s2"));
    let put = async |endpoint, id, to, expect| {
        let applied = store.put_subscription((&acme, endpoint, id), to, expect).await;
        applied.expect("put_subscription")
    };
    assert_eq!(put(&here, &s1.id, Some(&s1), Expect::Absent).await, Applied::Exists);
    assert_eq!(put(&here, &s2.id, Some(&s2), Expect::Present).await, Applied::NotFound);
    assert_eq!(put(&here, &s2.id, None, Expect::Present).await, Applied::NotFound);
    assert_eq!(put(&gone, &s2.id, Some(&s2), Expect::Absent).await, Applied::NotFound);
    assert_eq!(load(&*test).await, before);
    assert_eq!(store.load(&tenant("nobody")).await.expect("load"), None);
    assert_eq!(store.revision(&tenant("nobody")).await.expect("revision"), None);
    done(put(&here, &s2.id, Some(&s2), Expect::Absent).await);
    done(put(&here, &s1.id, None, Expect::Present).await);
    let left: Vec<SubscriptionId> =
        load(&*test).await.subscriptions.into_iter().map(|s| s.id).collect();
    assert_eq!(left, [s2.id]);
}

/// CS-5: deleting an endpoint removes its subscriptions and secrets; one of the same name inherits nothing.
pub async fn cs_5_deleting_an_endpoint_takes_its_subscriptions(fixture: &impl StoreFixture) {
    let test = with_tenant(fixture).await;
    let store = test.stores().config;
    for (number, name) in [(1, "orders"), (2, "other")] {
        done(put(&*test, &endpoint("acme", name, number), Expect::Absent).await);
    }
    let before = load(&*test).await.revision;
    let id = endpoint_id("orders");
    let deleted = store.delete_endpoint(&tenant("acme"), &id, Expect::Present).await;
    assert!(done(deleted.expect("delete_endpoint")) > before);
    let loaded = load(&*test).await;
    let left: Vec<&str> = loaded.endpoints.iter().map(|e| e.endpoint.id.as_str()).collect();
    assert_eq!(left, ["other"]);
    let left: Vec<&str> = loaded.subscriptions.iter().map(|s| s.endpoint.as_str()).collect();
    assert_eq!(left, ["other"]);
    let again = store.put_endpoint(&endpoint("acme", "orders", 3), &[], Expect::Absent).await;
    done(again.expect("put_endpoint"));
    let loaded = load(&*test).await;
    let orders = loaded.endpoints.first().expect("orders");
    assert_eq!((orders.endpoint.uid, loaded.subscriptions.len()), (uid(3), 1));
}

/// CS-6: `set_state` changes the state only from the one that `from` names, and only of the endpoint with that uid.
pub async fn cs_6_the_state_changes_only_from_the_one_named(fixture: &impl StoreFixture) {
    let test = with_tenant(fixture).await;
    let store = test.stores().config;
    let acme = tenant("acme");
    done(put(&*test, &endpoint("acme", "orders", 1), Expect::Absent).await);
    let disabled = EndpointState::Disabled(DisableReason::Answer(410));
    let change = |from, to| StateChange { from, to, time: Timestamp::from_millis(99) };
    let before = load(&*test).await;
    let wrong = change(EndpointState::Paused, disabled);
    let conflict = store.set_state(&acme, uid(1), wrong).await.expect("set_state");
    assert_eq!(conflict, Applied::Conflict);
    let right = change(EndpointState::Active, disabled);
    for (owner, number) in [("acme", 2), ("other", 1)] {
        let missing = store.set_state(&tenant(owner), uid(number), right).await;
        assert_eq!(missing.expect("set_state"), Applied::NotFound, "{owner} {number}");
    }
    assert_eq!(load(&*test).await, before);
    let set = store.set_state(&acme, uid(1), right).await.expect("set_state");
    let revision = done(set);
    assert!(revision > before.revision);
    let loaded = load(&*test).await;
    let stored = &loaded.endpoints.first().expect("one endpoint").endpoint;
    assert_eq!(stored.state, disabled);
    assert_eq!(stored.state_time, Timestamp::from_millis(99));
    let again = store.set_state(&acme, uid(1), right).await.expect("set_state");
    assert_eq!(again, Applied::Conflict);
}

/// Tenants are listed in the order of their ids, in pages.
pub async fn tenants_are_listed_in_order(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let store = test.stores().config;
    for name in ["d", "a", "c", "b"] {
        done(store.create_tenant(&made(name)).await.expect("create_tenant"));
    }
    let first = store.tenants(None, 3).await.expect("tenants");
    assert_eq!(first, [made("a"), made("b"), made("c")]);
    let after = first.last().map(|tenant| &tenant.id);
    let rest = store.tenants(after, 3).await.expect("tenants");
    assert_eq!(rest, [made("d")]);
}
