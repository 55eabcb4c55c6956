//! The views of tenants that were used last, and the revisions of all that the worker serves.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::limits::CACHED_ENDPOINTS_MAX;
use domain::{Revision, TenantId};

use super::TenantView;

/// Turns that are kept before those that nobody waits for are forgotten.
const TURNS_MAX: usize = 1_024;

/// A bounded cache. What is dropped for room is loaded again when it is used; its revision stays known, so that its changes are heard of.
pub(super) struct Cache {
    inner: Mutex<Inner>,
    max: usize,
}

#[derive(Default)]
struct Inner {
    /// In order, as those that are read again are.
    tenants: BTreeMap<TenantId, Known>,
    /// Whose turn it is to load a tenant.
    turns: HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>,
    /// Endpoints of the views that are held, and one for each view.
    held: usize,
    uses: u64,
}

/// What is known of a tenant.
struct Known {
    revision: Revision,
    /// An endpoint's secrets could not be opened.
    is_sealed: bool,
    view: Option<Arc<TenantView>>,
    /// The number of its last use.
    used: u64,
}

/// A tenant that was loaded once.
pub(super) struct Seen {
    pub(super) tenant: TenantId,
    pub(super) revision: Revision,
    pub(super) is_sealed: bool,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { inner: Mutex::default(), max: CACHED_ENDPOINTS_MAX }
    }

    /// A view at `revision` or newer, if it is held.
    pub(super) fn get(&self, tenant: &TenantId, revision: Revision) -> Option<Arc<TenantView>> {
        let mut inner = self.lock();
        inner.uses += 1;
        let used = inner.uses;
        let known = inner.tenants.get_mut(tenant)?;
        known.used = used;
        known.view.clone().filter(|view| view.revision >= revision)
    }

    /// The turn to load a tenant: who waits for it finds what the one before has loaded.
    pub(super) fn turn(&self, tenant: &TenantId) -> Arc<tokio::sync::Mutex<()>> {
        let mut inner = self.lock();
        if inner.turns.len() >= TURNS_MAX {
            inner.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        inner.turns.entry(tenant.clone()).or_default().clone()
    }

    /// Whether somebody loads a tenant, or waits to.
    pub(super) fn is_loading(&self, tenant: &TenantId) -> bool {
        self.lock().turns.get(tenant).is_some_and(|turn| Arc::strong_count(turn) > 1)
    }

    pub(super) fn put(&self, view: &Arc<TenantView>) {
        let mut inner = self.lock();
        inner.uses += 1;
        let known = Known {
            revision: view.revision,
            is_sealed: !view.sealed.is_empty(),
            view: Some(view.clone()),
            used: inner.uses,
        };
        let before = inner.tenants.insert(view.tenant.clone(), known);
        inner.held += size(view);
        inner.held -= before.and_then(|before| before.view).map_or(0, |view| size(&view));
        if inner.held > self.max {
            inner.make_room(self.max);
        }
    }

    pub(super) fn remove(&self, tenant: &TenantId) {
        let mut inner = self.lock();
        let known = inner.tenants.remove(tenant);
        inner.held -= known.and_then(|known| known.view).map_or(0, |view| size(&view));
    }

    /// The revision that a tenant was last loaded at.
    pub(super) fn revision(&self, tenant: &TenantId) -> Option<Revision> {
        self.lock().tenants.get(tenant).map(|known| known.revision)
    }

    /// All tenants that were loaded and are still there.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let inner = self.lock();
        let seen = inner.tenants.iter().map(|(tenant, known)| Seen {
            tenant: tenant.clone(),
            revision: known.revision,
            is_sealed: known.is_sealed,
        });
        seen.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops the views that were not used for longest, a tenth more than needed, so that this is rare.
    fn make_room(&mut self, max: usize) {
        let wanted = max - max / 10;
        let mut views: Vec<&mut Known> =
            self.tenants.values_mut().filter(|known| known.view.is_some()).collect();
        views.sort_by_key(|known| known.used);
        for known in views {
            if self.held <= wanted {
                break;
            }
            self.held -= known.view.take().map_or(0, |view| size(&view));
        }
    }
}

fn size(view: &TenantView) -> usize {
    view.endpoints.len() + 1
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use domain::Matcher;

    use super::*;

    fn view(name: &str, revision: u64) -> Arc<TenantView> {
        Arc::new(TenantView {
            tenant: TenantId::parse(name).expect("a tenant id"),
            revision: Revision(revision),
            matcher: Matcher::new(Vec::new(), &BTreeMap::new()),
            endpoints: BTreeMap::new(),
            sealed: BTreeSet::new(),
        })
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room_and_its_revision_stays_known() {
        let cache = Cache { max: 10, ..Cache::new() };
        let views: Vec<_> = (0..11).map(|number| view(&format!("t{number}"), number + 1)).collect();
        let has = |number: usize| {
            views.get(number).is_some_and(|v| cache.get(&v.tenant, v.revision).is_some())
        };
        views.iter().take(10).for_each(|view| cache.put(view));
        assert!(has(0), "used again");
        views.iter().skip(10).for_each(|view| cache.put(view));
        assert_eq!((has(0), has(1), has(2), has(3), has(10)), (true, false, false, true, true));
        assert_eq!(cache.revision(&views[1].tenant), Some(Revision(2)));
        assert_eq!(cache.seen().len(), 11);
        cache.put(&view("t1", 5));
        cache.remove(&views[1].tenant);
        assert_eq!(cache.seen().len(), 10);
    }

    #[test]
    fn an_older_revision_than_wanted_is_not_given() {
        let cache = Cache::new();
        let view = view("acme", 4);
        cache.put(&view);
        assert!(cache.get(&view.tenant, Revision(4)).is_some());
        assert!(cache.get(&view.tenant, Revision(5)).is_none());
    }
}
