//! One of a kind and endpoint a minute: what waits, and until when.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{EndpointUid, Timestamp};

use super::{Kind, Notice};

/// After one was told, the next of its kind and endpoint waits so long (spec §9).
const INTERVAL: Duration = Duration::from_secs(60);
/// After the log refused one.
const AGAIN: Duration = Duration::from_secs(5);
/// Kinds and endpoints that are remembered. Beyond it a notice is dropped: thousands of endpoints that fail at once are told of by those that there are.
const REMEMBERED_MAX: usize = 10_000;

/// What waits. Pure.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: BTreeMap<(EndpointUid, Kind), Slot>,
    by_due: BTreeMap<Timestamp, Vec<(EndpointUid, Kind)>>,
}

#[derive(Debug)]
struct Slot {
    due: Timestamp,
    /// The last of those that wait, and how many they are.
    next: Option<(Notice, u64)>,
}

impl Waiting {
    /// One more happened.
    pub(super) fn add(&mut self, notice: Notice, now: Timestamp) {
        self.put(notice, 1, now);
    }

    /// It could not be told; those that came meanwhile are counted with it.
    pub(super) fn put_back(&mut self, notice: Notice, count: u64, now: Timestamp) {
        let key = (notice.uid, notice.kind);
        self.forget(key);
        self.put(notice, count, now + AGAIN);
    }

    fn put(&mut self, notice: Notice, count: u64, due: Timestamp) {
        let key = (notice.uid, notice.kind);
        if let Some(slot) = self.all.get_mut(&key) {
            let before = slot.next.take().map_or(0, |(_, count)| count);
            slot.next = Some((notice, before + count));
        } else if self.all.len() < REMEMBERED_MAX {
            self.all.insert(key, Slot { due, next: Some((notice, count)) });
            self.by_due.entry(due).or_default().push(key);
        }
    }

    fn forget(&mut self, key: (EndpointUid, Kind)) {
        if let Some(slot) = self.all.remove(&key)
            && let Some(keys) = self.by_due.get_mut(&slot.due)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_due.remove(&slot.due);
            }
        }
    }

    /// When something is to be told or forgotten.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.by_due.keys().next().copied()
    }

    /// The next one that is to be told now, and how often it happened. Its kind and endpoint then wait for a minute.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<(Notice, u64)> {
        loop {
            let first = self.by_due.first_entry().filter(|first| *first.key() <= now)?;
            let key = first.get().first().copied();
            let Some(key) = key else {
                first.remove();
                continue;
            };
            let told = self.all.get_mut(&key).and_then(|slot| slot.next.take());
            self.forget(key);
            if let Some(told) = told {
                let due = now + INTERVAL;
                self.all.insert(key, Slot { due, next: None });
                self.by_due.entry(due).or_default().push(key);
                return Some(told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{EndpointId, EndpointState, TenantId};

    use super::*;
    use crate::notices::Of;

    const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn notice(endpoint: u128, time: Timestamp) -> Notice {
        let uid = EndpointUid::from_uuid(uuid::Uuid::from_u128(endpoint));
        let (tenant, id) = (TenantId::default_tenant(), EndpointId::parse("shop").expect("an id"));
        let of = Of { tenant: &tenant, uid, endpoint: &id, time };
        of.state_changed(EndpointState::Active).expect("a notice")
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_of_the_minute_with_a_count() {
        let mut waiting = Waiting::default();
        for second in 0..30 {
            let now = T0 + secs(second);
            waiting.add(notice(1, now), now);
            let told = waiting.take_due(now).map(|(_, count)| count);
            assert_eq!(told, (second == 0).then_some(1), "at {second} s");
        }
        assert_eq!(waiting.next_due(), Some(T0 + secs(60)));
        let (last, count) = waiting.take_due(T0 + secs(60)).expect("the minute is over");
        assert_eq!((last.time, count), (T0 + secs(29), 29));
        // A minute without one, and it is forgotten.
        assert_eq!(waiting.take_due(T0 + secs(120)), None);
        assert_eq!(waiting.next_due(), None);
    }

    #[test]
    fn endpoints_do_not_wait_for_each_other() {
        let mut waiting = Waiting::default();
        for endpoint in 1..=3 {
            waiting.add(notice(endpoint, T0), T0);
        }
        let told: Vec<u64> = std::iter::from_fn(|| waiting.take_due(T0)).map(|(_, n)| n).collect();
        assert_eq!(told, [1, 1, 1]);
    }

    #[test]
    fn what_the_log_refused_is_told_later_with_what_came_meanwhile() {
        let mut waiting = Waiting::default();
        waiting.add(notice(1, T0), T0);
        let (first, count) = waiting.take_due(T0).expect("due");
        waiting.put_back(first, count, T0);
        waiting.add(notice(1, T0 + secs(1)), T0 + secs(1));
        assert_eq!(waiting.take_due(T0 + secs(4)), None);
        assert_eq!(waiting.take_due(T0 + secs(5)).map(|(_, count)| count), Some(2));
    }

    #[test]
    fn a_repeat_has_the_same_id_and_no_other_notice_has() {
        let id = |endpoint, time| notice(endpoint, time).id();
        assert_eq!(id(1, T0), id(1, T0));
        assert_ne!(id(1, T0), id(2, T0));
        assert_ne!(id(1, T0), id(1, T0 + secs(60)));
    }

    #[test]
    fn it_is_bounded() {
        let mut waiting = Waiting::default();
        for endpoint in 0..REMEMBERED_MAX as u128 + 5 {
            waiting.add(notice(endpoint, T0), T0);
        }
        assert_eq!(waiting.all.len(), REMEMBERED_MAX);
    }
}
