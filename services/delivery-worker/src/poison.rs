//! Records that are no events: set aside one by one, until most of a shard is of that kind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Shard;
use tokio::sync::watch;

/// The newest records of a shard that are looked back at.
const WINDOW: usize = 100;
/// More poison than this among them, and it is the producer that is wrong, not a record: the shard stops, so that nothing of it is passed over.
const POISON_MAX: usize = 50;

/// How much of each shard is poison. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct PoisonWatch {
    windows: Arc<Mutex<BTreeMap<Shard, VecDeque<bool>>>>,
    stopped: watch::Sender<BTreeSet<Shard>>,
}

impl PoisonWatch {
    /// The shards that have stopped.
    pub(crate) fn stopped(&self) -> watch::Receiver<BTreeSet<Shard>> {
        self.stopped.subscribe()
    }

    pub(crate) fn has_stopped(&self, shard: Shard) -> bool {
        self.stopped.borrow().contains(&shard)
    }

    /// Begins anew with a shard that was assigned.
    pub(crate) fn forget(&self, shard: Shard) {
        self.windows().remove(&shard);
        self.stopped.send_if_modified(|stopped| stopped.remove(&shard));
    }

    /// Takes a batch into account: for each record, whether it is poison. Whether the shard stops before this batch.
    pub(crate) fn stops_at(&self, shard: Shard, batch: impl Iterator<Item = bool>) -> bool {
        let mut windows = self.windows();
        let window = windows.entry(shard).or_default();
        let mut most = 0;
        for is_poison in batch {
            if window.len() == WINDOW {
                window.pop_front();
            }
            window.push_back(is_poison);
            most = most.max(window.iter().filter(|is_poison| **is_poison).count());
        }
        let stops = most > POISON_MAX;
        if stops {
            self.stopped.send_if_modified(|stopped| stopped.insert(shard));
        }
        stops
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shard, VecDeque<bool>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_stops_when_most_of_it_is_poison_and_begins_anew() {
        let watch = PoisonWatch::default();
        let (one, two) = (Shard(1), Shard(2));
        assert!(!watch.stops_at(one, std::iter::repeat_n(true, 50)), "some poison");
        assert!(!watch.stops_at(one, std::iter::repeat_n(false, 100)), "long ago");
        assert!(!watch.stops_at(two, std::iter::repeat_n(true, 50)));
        assert!(watch.stops_at(one, std::iter::repeat_n(true, 51)), "most of the newest");
        assert!(watch.has_stopped(one) && !watch.has_stopped(two));
        watch.forget(one);
        assert!(!watch.has_stopped(one));
        assert!(!watch.stops_at(one, std::iter::once(true)));
    }
}
