//! `EventTypeStore`.

use domain::{
    ApiVersion, EventType, RegisteredType, Revision, Schemas, TenantId, Timestamp, TypeEntry,
};

use super::sample::{endpoint, subscription, tenant};
use super::{StoreFixture, StoreUnderTest};
use crate::{Applied, Expect, Tenant};

/// Runs every contract of `EventTypeStore`.
pub async fn event_type_store_suite(fixture: &impl StoreFixture) {
    et_1_changes_are_durable_and_raise_the_revision(fixture).await;
    et_2_an_unexpected_revision_changes_nothing(fixture).await;
    et_3_existing_and_missing_types_are_told(fixture).await;
    et_4_lists_are_in_order_and_without_schemas(fixture).await;
    et_5_types_are_of_one_tenant_and_no_part_of_its_endpoints(fixture).await;
}

fn name(text: &str) -> EventType {
    EventType::parse(text).expect("a valid event type")
}

/// Schemas of the versions, the first one larger than a page of any store.
fn schemas(versions: &[&str]) -> Schemas {
    let schema = |(index, version): (usize, &&str)| {
        let title = if index == 0 { "t".repeat(60_000) } else { (*version).to_owned() };
        let version = ApiVersion::parse(version).expect("a valid version");
        (version, format!("{{\"title\":\"{title}\"}}").into())
    };
    versions.iter().enumerate().map(schema).collect()
}

fn registered(owner: &str, event_type: &str, versions: &[&str]) -> RegisteredType {
    let time = Timestamp::from_millis(1_700_000_000_000);
    let entry = TypeEntry {
        tenant: tenant(owner),
        event_type: name(event_type),
        description: "a payment went through".to_owned(),
        deprecated: true,
        validate: true,
        versions: [].into(),
        create_time: time,
        update_time: time,
        revision: Revision(0),
    };
    let mut registered = RegisteredType { entry, schemas: Schemas::new() };
    registered.set_schemas(schemas(versions));
    registered
}

/// A store with these tenants.
async fn with_tenants(fixture: &impl StoreFixture, ids: &[&str]) -> Box<dyn StoreUnderTest> {
    let test = fixture.fresh().await;
    for id in ids {
        let made = Tenant {
            id: tenant(id),
            display_name: String::new(),
            create_time: Timestamp::from_millis(5),
        };
        done(test.stores().config.create_tenant(&made).await.expect("create_tenant"));
    }
    test
}

async fn put(test: &dyn StoreUnderTest, registered: &RegisteredType, expect: Expect) -> Applied {
    let name = (&registered.entry.tenant, &registered.entry.event_type);
    test.stores().event_types.put(name, Some(registered), expect).await.expect("put")
}

async fn delete(test: &dyn StoreUnderTest, event_type: &str, expect: Expect) -> Applied {
    let name = (&tenant("acme"), &name(event_type));
    test.stores().event_types.put(name, None, expect).await.expect("put")
}

async fn get(test: &dyn StoreUnderTest, event_type: &str) -> Option<RegisteredType> {
    let types = test.stores().event_types;
    types.get(&tenant("acme"), &name(event_type)).await.expect("get")
}

async fn revision(test: &dyn StoreUnderTest, owner: &TenantId) -> Revision {
    let read = test.stores().config.revision(owner).await.expect("revision");
    read.expect("the tenant is there")
}

fn done(applied: Applied) -> Revision {
    match applied {
        Applied::Done(revision) => revision,
        other @ (Applied::Conflict | Applied::Exists | Applied::NotFound) => {
            panic!("expected a change, not {other:?}")
        }
    }
}

fn at(mut registered: RegisteredType, revision: Revision) -> RegisteredType {
    registered.entry.revision = revision;
    registered
}

/// ET-1: a change that answers `Done` is durable, seen by every later read, and raises the tenant's revision.
pub async fn et_1_changes_are_durable_and_raise_the_revision(fixture: &impl StoreFixture) {
    let mut test = with_tenants(fixture, &["acme"]).await;
    let acme = tenant("acme");
    let before = revision(&*test, &acme).await;
    let first = registered("acme", "payment.completed", &["2026-01-01", "2026-02-01"]);
    let created = done(put(&*test, &first, Expect::Absent).await);
    assert!(created > before);
    test.restart().await;
    assert_eq!(revision(&*test, &acme).await, created);
    assert_eq!(get(&*test, "payment.completed").await, Some(at(first.clone(), created)));
    let mut second = first.clone();
    second.entry.validate = false;
    second.set_schemas(schemas(&["2026-03-01"]));
    let changed = done(put(&*test, &second, Expect::At(created)).await);
    assert!(changed > created);
    assert_eq!(get(&*test, "payment.completed").await, Some(at(second, changed)));
    assert!(done(delete(&*test, "payment.completed", Expect::Present).await) > changed);
    test.restart().await;
    assert_eq!(get(&*test, "payment.completed").await, None);
    let bare = registered("acme", "payment.completed", &[]);
    let again = done(put(&*test, &bare, Expect::Absent).await);
    assert_eq!(get(&*test, "payment.completed").await, Some(at(bare, again)));
}

/// ET-2: a change that expects another revision answers `Conflict` and changes nothing; of two at once one wins.
pub async fn et_2_an_unexpected_revision_changes_nothing(fixture: &impl StoreFixture) {
    let test = with_tenants(fixture, &["acme"]).await;
    let first = registered("acme", "payment.completed", &["2026-01-01"]);
    let created = done(put(&*test, &first, Expect::Absent).await);
    let wrong = Expect::At(Revision(created.0 + 7));
    let other = registered("acme", "payment.completed", &[]);
    assert_eq!(put(&*test, &other, wrong).await, Applied::Conflict);
    assert_eq!(delete(&*test, "payment.completed", wrong).await, Applied::Conflict);
    assert_eq!(revision(&*test, &tenant("acme")).await, created);
    assert_eq!(get(&*test, "payment.completed").await, Some(at(first.clone(), created)));
    let (one, two) = tokio::join!(
        put(&*test, &first, Expect::At(created)),
        put(&*test, &other, Expect::At(created))
    );
    let won = [one, two].iter().filter(|applied| matches!(applied, Applied::Done(_))).count();
    assert_eq!(won, 1, "{one:?} {two:?}");
}

/// ET-3: creating what exists answers `Exists`, changing what does not `NotFound`; neither changes anything.
pub async fn et_3_existing_and_missing_types_are_told(fixture: &impl StoreFixture) {
    let test = with_tenants(fixture, &["acme"]).await;
    let first = registered("acme", "payment.completed", &["2026-01-01"]);
    let created = done(put(&*test, &first, Expect::Absent).await);
    let other = registered("acme", "payment.completed", &[]);
    assert_eq!(put(&*test, &other, Expect::Absent).await, Applied::Exists);
    let missing = registered("acme", "payment.failed", &[]);
    for expect in [Expect::Present, Expect::At(created)] {
        assert_eq!(put(&*test, &missing, expect).await, Applied::NotFound);
        assert_eq!(delete(&*test, "payment.failed", expect).await, Applied::NotFound);
    }
    let nobody = registered("nobody", "payment.completed", &[]);
    for expect in [Expect::Absent, Expect::Present] {
        assert_eq!(put(&*test, &nobody, expect).await, Applied::NotFound);
    }
    assert_eq!(revision(&*test, &tenant("acme")).await, created);
    assert_eq!(get(&*test, "payment.completed").await, Some(at(first, created)));
    assert_eq!(get(&*test, "payment.failed").await, None);
}

/// ET-4: `list` gives a tenant's entries in the order of their types, strictly after the key.
pub async fn et_4_lists_are_in_order_and_without_schemas(fixture: &impl StoreFixture) {
    let test = with_tenants(fixture, &["acme"]).await;
    let mut entries = Vec::new();
    for event_type in ["payment.failed", "a.b", "payment.completed", "Payment.x", "payment_x.y"] {
        let made = registered("acme", event_type, &["2026-01-01", "2026-02-01"]);
        let revision = done(put(&*test, &made, Expect::Absent).await);
        entries.push(at(made, revision).entry);
    }
    entries.sort_by(|a, b| a.event_type.cmp(&b.event_type));
    let types = test.stores().event_types;
    let acme = tenant("acme");
    let (first, rest) = entries.split_at(2);
    assert_eq!(types.list(&acme, None, 2).await.expect("list"), first);
    let after = first.last().map(|entry| &entry.event_type);
    assert_eq!(types.list(&acme, after, 10).await.expect("list"), rest);
    let after = name("payment.completed.x");
    let behind = types.list(&acme, Some(&after), 1).await.expect("list");
    assert_eq!(behind.first().map(|entry| entry.event_type.as_str()), Some("payment.failed"));
    assert!(types.list(&tenant("nobody"), None, 10).await.expect("list").is_empty());
}

/// ET-5: nothing of one tenant is given for another, and `ConfigStore::load` gives the same but for the revision.
pub async fn et_5_types_are_of_one_tenant_and_no_part_of_its_endpoints(
    fixture: &impl StoreFixture,
) {
    let test = with_tenants(fixture, &["acme", "other"]).await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    let first = registered("acme", "payment.completed", &["2026-01-01"]);
    // Also where there is nothing but types.
    let created = done(put(&*test, &first, Expect::Absent).await);
    let loaded = test.stores().config.load(&acme).await.expect("load").expect("a tenant");
    assert_eq!((loaded.revision, loaded.endpoints.len()), (created, 0));
    let config = endpoint("acme", "orders", 1);
    let subscriptions = [subscription("acme", "orders", "s1")];
    let store = test.stores().config;
    let put_endpoint = store.put_endpoint(&config, &subscriptions, Expect::Absent).await;
    done(put_endpoint.expect("put_endpoint"));
    let before = test.stores().config.load(&acme).await.expect("load").expect("a tenant");
    let second = registered("acme", "payment.failed", &["2026-01-01"]);
    let raised = done(put(&*test, &second, Expect::Absent).await);
    let mut loaded = test.stores().config.load(&acme).await.expect("load").expect("a tenant");
    assert_eq!(loaded.revision, raised);
    loaded.revision = before.revision;
    assert_eq!(loaded, before);
    let types = test.stores().event_types;
    assert_eq!(types.get(&other, &first.entry.event_type).await.expect("get"), None);
    assert!(types.list(&other, None, 10).await.expect("list").is_empty());
    assert!(revision(&*test, &other).await < created);
}
