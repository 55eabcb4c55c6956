//! Which endpoints of a tenant get an event.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use crate::{
    EndpointId, EndpointUid, Event, EventPattern, EventType, Filter, FilterError, FilterInput,
    Subscription,
};

/// A tenant's subscriptions, indexed by exact type so that matching costs what matches, not what exists.
#[derive(Debug, Default)]
pub struct Matcher {
    subscriptions: Vec<Wanted>,
    exact: HashMap<EventType, Vec<usize>>,
    patterns: Vec<usize>,
}

/// A subscription with its filter, which is read when it is first needed.
#[derive(Debug)]
struct Wanted {
    uid: EndpointUid,
    subscription: Subscription,
    filter: OnceLock<Result<Filter, FilterError>>,
}

impl Wanted {
    /// `input` is made for the first filter that is asked. A filter that cannot be read matches nothing.
    fn wants(&self, event: &Event, input: &OnceCell<FilterInput>) -> bool {
        self.subscription.matches(event)
            && self.filter().is_none_or(|filter| {
                let input = || input.get_or_init(|| FilterInput::of(event));
                filter.as_ref().is_ok_and(|filter| filter.matches(input()))
            })
    }

    fn filter(&self) -> Option<&Result<Filter, FilterError>> {
        let text = &self.subscription.filter;
        (!text.is_empty()).then(|| self.filter.get_or_init(|| Filter::parse(text)))
    }
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
            matcher.subscriptions.push(Wanted { uid: *uid, subscription, filter: OnceLock::new() });
        }
        matcher
    }

    /// Takes over the filters that another index has read: to read one anew takes as long as a delivery.
    #[must_use]
    pub fn with_filters_of(self, other: &Self) -> Self {
        let read =
            other.subscriptions.iter().filter_map(|wanted| wanted.filter.get()?.as_ref().ok());
        let read: HashMap<&str, &Filter> = read.map(|filter| (filter.text(), filter)).collect();
        for wanted in &self.subscriptions {
            if let Some(filter) = read.get(wanted.subscription.filter.as_str()) {
                // Nobody has asked for it yet.
                let _ = wanted.filter.set(Ok((*filter).clone()));
            }
        }
        self
    }

    /// Reads the filters one by one: each subscription that has one, with why it cannot be read.
    pub fn read_filters(&self) -> impl Iterator<Item = (&Subscription, Option<&FilterError>)> {
        self.subscriptions.iter().filter_map(|wanted| {
            let read = wanted.filter()?;
            Some((&wanted.subscription, read.as_ref().err()))
        })
    }

    /// The endpoints that get the event, each once, in the order of their uids.
    #[must_use]
    pub fn matching(&self, event: &Event) -> BTreeSet<EndpointUid> {
        let input = OnceCell::new();
        let exact = self.exact.get(&event.event_type).into_iter().flatten();
        exact
            .chain(&self.patterns)
            .filter_map(|index| self.subscriptions.get(*index))
            .filter(|wanted| wanted.wants(event, &input))
            .map(|wanted| wanted.uid)
            .collect()
    }

    /// Whether one endpoint gets the event.
    #[must_use]
    pub fn matches_endpoint(&self, event: &Event, uid: EndpointUid) -> bool {
        let input = OnceCell::new();
        self.subscriptions.iter().any(|wanted| wanted.uid == uid && wanted.wants(event, &input))
    }
}
