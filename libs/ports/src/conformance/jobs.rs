//! `JobStore`.

use std::time::Duration;

use domain::limits::JOB_RETENTION;
use domain::{
    EventPattern, Job, JobCounts, JobCursor, JobId, JobKind, JobLease, JobState, LetterFilter,
    Position, Shard, Timestamp,
};
use uuid::Uuid;

use super::StoreFixture;
use super::sample::{tenant, uid};

/// Runs every contract of `JobStore`.
pub async fn job_store_suite(fixture: &impl StoreFixture) {
    js_1_what_was_created_and_saved_is_there(fixture).await;
    js_2_of_two_who_save_at_once_one_is_first(fixture).await;
    js_3_lists_are_of_one_tenant_newest_first(fixture).await;
    js_4_open_jobs_are_those_that_have_not_ended(fixture).await;
    js_5_old_jobs_are_hidden(fixture).await;
}

/// The `number`-th job of a time; later numbers sort behind.
fn job(owner: &str, number: u8, now: Timestamp) -> Job {
    let ms = u64::try_from(now.as_millis()).expect("after 1970");
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &[number; 10]).into_uuid();
    Job {
        id: JobId(id),
        tenant: tenant(owner),
        kind: JobKind::Replay {
            endpoint: uid(1),
            start: now - Duration::from_secs(60),
            end: now,
            event_types: vec![EventPattern::parse("payment.*").expect("valid")],
        },
        state: JobState::Queued,
        create_time: now,
        update_time: now,
        end_time: None,
        counts: JobCounts::default(),
        cursor: JobCursor::Start,
        error: String::new(),
        lease: None,
        version: 1,
    }
}

/// The same job a step later.
fn later(job: &Job, state: JobState) -> Job {
    Job { state, version: job.version + 1, ..job.clone() }
}

/// JS-1: `create` and `save` are durable when they return. Creating a job whose id is there changes nothing.
pub async fn js_1_what_was_created_and_saved_is_there(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let first = job("acme", 1, test.now());
    let filter =
        LetterFilter { endpoint: None, reason: None, since: None, until: first.create_time };
    let second = Job { kind: JobKind::Purge(filter), ..job("acme", 2, test.now()) };
    let lease = JobLease { owner: Uuid::from_u128(7), until: first.create_time };
    let counts = JobCounts { looked_at: 9, done: 8, skipped: 1, total: Some(10) };
    let cursor = JobCursor::Log { shard: Shard(1), next: Position(9) };
    let saved = Job { lease: Some(lease), counts, cursor, ..later(&first, JobState::Running) };
    {
        let store = test.stores().jobs;
        store.create(&first).await.expect("created");
        store.create(&second).await.expect("created");
        assert!(store.save(&saved).await.expect("saved"));
        store.create(&first).await.expect("changes nothing");
    }
    test.restart().await;
    let store = test.stores().jobs;
    assert_eq!(store.get(&first.tenant, first.id).await.expect("read"), Some(saved));
    assert_eq!(store.get(&first.tenant, second.id).await.expect("read"), Some(second));
}

/// JS-2: `save` is compare-and-set; a repeat of one that was done says `true` too.
pub async fn js_2_of_two_who_save_at_once_one_is_first(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let first = job("acme", 1, test.now());
    let store = test.stores().jobs;
    store.create(&first).await.expect("created");
    let (one, other) = (later(&first, JobState::Running), later(&first, JobState::Cancelled));
    let (a, b) = tokio::join!(store.save(&one), store.save(&other));
    let (a, b) = (a.expect("saved"), b.expect("saved"));
    assert!(a != b, "exactly one: {a} {b}");
    let winner = if a { &one } else { &other };
    assert_eq!(store.get(&first.tenant, first.id).await.expect("read").as_ref(), Some(winner));
    assert!(store.save(winner).await.expect("a repeat"));
    let skips = Job { version: first.version + 5, ..first.clone() };
    assert!(!store.save(&skips).await.expect("refused"));
    assert!(!store.save(&job("acme", 9, test.now())).await.expect("refused"), "never created");
}

/// JS-3: `list` gives a tenant's jobs, newest first, strictly before the key. Nothing of one tenant is given for another.
pub async fn js_3_lists_are_of_one_tenant_newest_first(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let store = test.stores().jobs;
    let (acme, other) = (tenant("acme"), tenant("other"));
    let jobs = [1, 2, 3].map(|number| job("acme", number, test.now()));
    for job in &jobs {
        store.create(job).await.expect("created");
    }
    let foreign = job("other", 4, test.now());
    store.create(&foreign).await.expect("created");
    let [oldest, middle, newest] = jobs;
    let listed = store.list(&acme, Some(newest.id), 1).await.expect("listed");
    assert_eq!(listed, std::slice::from_ref(&middle));
    assert!(store.get(&other, newest.id).await.expect("read").is_none());
    let listed = store.list(&acme, None, 10).await.expect("listed");
    assert_eq!(listed, [newest, middle, oldest]);
    assert_eq!(store.list(&other, None, 10).await.expect("listed"), [foreign]);
}

/// JS-4: `open` gives the jobs of all tenants that have not ended, oldest first.
pub async fn js_4_open_jobs_are_those_that_have_not_ended(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let (first, second) = (job("acme", 1, test.now()), job("other", 2, test.now()));
    let running = later(&first, JobState::Running);
    {
        let store = test.stores().jobs;
        for job in [&first, &second] {
            store.create(job).await.expect("created");
        }
        assert!(store.save(&running).await.expect("saved"));
    }
    test.restart().await;
    let store = test.stores().jobs;
    assert_eq!(store.open(10).await.expect("listed"), [running.clone(), second.clone()]);
    assert_eq!(store.open(1).await.expect("listed"), std::slice::from_ref(&running));
    assert!(store.save(&later(&running, JobState::Succeeded)).await.expect("saved"));
    let open = store.open(10).await.expect("listed");
    assert_eq!(open.into_iter().filter(|job| !job.state.has_ended()).collect::<Vec<_>>(), [second]);
}

/// JS-5: Jobs older than the retention are hidden at once, ended or not.
pub async fn js_5_old_jobs_are_hidden(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let store = test.stores().jobs;
    let old = job("acme", 1, test.now());
    store.create(&old).await.expect("created");
    test.advance(JOB_RETENTION);
    let young = job("acme", 2, test.now());
    store.create(&young).await.expect("created");
    for _ in 0..2 {
        assert!(store.get(&old.tenant, old.id).await.expect("read").is_none());
        assert_eq!(
            store.list(&old.tenant, None, 10).await.expect("listed"),
            std::slice::from_ref(&young)
        );
        assert_eq!(store.open(10).await.expect("listed"), std::slice::from_ref(&young));
        test.maintain().await;
    }
}
