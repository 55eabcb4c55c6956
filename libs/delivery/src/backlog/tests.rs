use std::collections::BTreeMap;

use domain::{
    EventId, EventRef, LogPosition, Position, RunId, Shard, TenantId, Trigger, WaitReason,
};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 3;

fn row(key: BacklogKey) -> BacklogRow {
    BacklogRow {
        key,
        event: EventRef {
            tenant: TenantId::default_tenant(),
            id: EventId::parse("evt_1").expect("valid"),
            at: LogPosition { shard: Shard(0), position: Position(key.seq.0) },
        },
        run: RunId::LOG,
        number: 1,
        trigger: Trigger::Event,
        reason: WaitReason::Overflow,
        first_due: key.due,
    }
}

/// The store: what is durable, read as the port says.
#[derive(Default)]
struct Store(BTreeMap<BacklogKey, BacklogRow>);

impl Store {
    fn page(&self, after: BacklogKey, upto: BacklogKey) -> (Vec<BacklogRow>, Option<Timestamp>) {
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let mut behind = self.0.range(range);
        let rows: Vec<_> = behind
            .by_ref()
            .take_while(|(k, _)| **k <= upto)
            .take(LIMIT)
            .map(|(_, r)| r.clone())
            .collect();
        let last = rows.last().map_or(after, |row| row.key);
        let next =
            self.0.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded)).next();
        (rows, next.map(|(key, _)| key.due))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Issue(i64),
    Append(u8),
    Request,
    Page,
    Finish(u8),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_i64..50).prop_map(Step::Issue),
        any::<u8>().prop_map(Step::Append),
        Just(Step::Request),
        Just(Step::Page),
        any::<u8>().prop_map(Step::Finish),
        (0_i64..40).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever the order of issues, acknowledgements, reads and ends: every row is taken exactly once, and the cursor never passes one that is open.
    #[test]
    fn every_row_is_taken_once_and_the_cursor_passes_none(steps in prop::collection::vec(step(), 1..120)) {
        let mut backlog = Backlog::empty(BacklogKey::START, Epoch(1));
        let (mut store, mut now) = (Store::default(), 1_000);
        let (mut issued, mut open, mut taken) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut request = None;
        let mut finish_all = steps.clone();
        // Then everything that is outstanding comes to its end.
        for _ in 0..200 {
            finish_all.extend([
                Step::Append(0), Step::Request, Step::Page,
                Step::Finish(0), Step::Wait(5),
            ]);
        }
        for step in finish_all {
            match step {
                Step::Issue(ahead) => issued.push(backlog.issue(Timestamp::from_millis(now + ahead))),
                Step::Append(i) if !issued.is_empty() => {
                    let key: BacklogKey = issued.remove(usize::from(i) % issued.len());
                    prop_assert!(key > backlog.cursor());
                    store.0.insert(key, row(key));
                    backlog.appended(key);
                }
                Step::Request => request = request.or_else(|| backlog.request_page(Timestamp::from_millis(now))),
                Step::Page => if let Some((after, upto)) = request.take() {
                    let (rows, next_due) = store.page(after, upto);
                    backlog.take_page(rows, next_due, LIMIT);
                    while let Some(row) = backlog.take_waiting() {
                        prop_assert!(taken.insert(row.key, ()).is_none(), "taken twice: {:?}", row.key);
                        prop_assert!(row.key.due.as_millis() <= now, "taken early");
                        open.push(row.key);
                    }
                },
                Step::Finish(i) if !open.is_empty() => {
                    let key = open.remove(usize::from(i) % open.len());
                    backlog.done(key);
                    prop_assert!(open.iter().all(|open| *open > backlog.cursor()));
                    prop_assert!(issued.iter().all(|issued| *issued > backlog.cursor()));
                }
                Step::Wait(ms) => now += ms,
                Step::Append(_) | Step::Finish(_) => {}
            }
        }
        prop_assert_eq!(taken.len(), store.0.len());
        prop_assert_eq!(backlog.size(), 0);
        prop_assert_eq!(Some(backlog.cursor()), store.0.keys().last().copied().or(Some(BacklogKey::START)));
    }
}

#[test]
fn a_page_ends_before_a_row_whose_append_is_not_acknowledged() {
    let mut backlog = Backlog::empty(BacklogKey::START, Epoch(1));
    let first = backlog.issue(Timestamp::from_millis(10));
    let second = backlog.issue(Timestamp::from_millis(20));
    backlog.appended(second);
    assert_eq!(
        backlog.request_page(Timestamp::from_millis(100)).map(|(_, upto)| upto < first),
        Some(true)
    );
}

#[test]
fn a_row_of_an_old_owner_never_has_a_new_owners_key() {
    let mut old = Backlog::empty(BacklogKey::START, Epoch(1));
    let mut new = Backlog::empty(BacklogKey::START, Epoch(2));
    assert_ne!(old.issue(Timestamp::ZERO), new.issue(Timestamp::ZERO));
}
