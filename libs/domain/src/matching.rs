//! Which endpoints of a tenant get an event.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{EndpointId, EndpointUid, Event, EventPattern, EventType, Subscription};

/// A tenant's subscriptions, indexed by exact type so that matching costs what matches, not what exists.
#[derive(Debug, Default)]
pub struct Matcher {
    subscriptions: Vec<(EndpointUid, Subscription)>,
    exact: HashMap<EventType, Vec<usize>>,
    patterns: Vec<usize>,
}

impl Matcher {
    /// Builds the index. Subscriptions of endpoints that are not in `uids` are left out.
    #[must_use]
    pub fn new(subscriptions: Vec<Subscription>, uids: &BTreeMap<EndpointId, EndpointUid>) -> Self {
        let mut matcher = Self::default();
        for subscription in subscriptions {
            let Some(uid) = uids.get(&subscription.endpoint) else {
                continue;
            };
            let index = matcher.subscriptions.len();
            for pattern in &subscription.event_types {
                match pattern {
                    EventPattern::Exact(exact) => {
                        matcher.exact.entry(exact.clone()).or_default().push(index);
                    }
                    EventPattern::All | EventPattern::Prefix(_) => matcher.patterns.push(index),
                }
            }
            matcher.subscriptions.push((*uid, subscription));
        }
        matcher
    }

    /// The endpoints that get the event, each once, in the order of their uids.
    #[must_use]
    pub fn matching(&self, event: &Event) -> BTreeSet<EndpointUid> {
        let exact = self.exact.get(&event.event_type).into_iter().flatten();
        exact
            .chain(&self.patterns)
            .filter_map(|index| self.subscriptions.get(*index))
            .filter(|(_, subscription)| subscription.matches(event))
            .map(|(uid, _)| *uid)
            .collect()
    }

    /// Whether one endpoint gets the event.
    #[must_use]
    pub fn matches_endpoint(&self, event: &Event, uid: EndpointUid) -> bool {
        self.subscriptions.iter().any(|(owner, s)| *owner == uid && s.matches(event))
    }
}
