//! Listing deliveries: those of an endpoint, what waits untried and then the others by their newest attempt, or those of an event over all endpoints.

use std::collections::BTreeSet;

use domain::{Endpoint, EventId, Fact, Timestamp};
use ports::TenantConfig;
use serde::{Deserialize, Serialize};

use super::deliveries::{endpoints_of, key_of, view};
use super::page::ListName;
use super::{
    App, DeliveryView, EndpointScope, Error, EventName, Page, PageRequest, Violation,
    delivery_waiting,
};

/// Attempts that are read at once.
const ATTEMPTS_PAGE: usize = 200;
/// Attempts that one call looks at.
const ATTEMPTS_MAX: usize = 5_000;

/// The order of attempts: time and id.
type AttemptKey = (i64, u128);

/// What the last item of a page was.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Place {
    /// It waits, and had no attempt.
    Waiting(delivery_waiting::Key),
    /// The last one that waits: the newest attempt comes next.
    Waited,
    /// Its newest attempt.
    Attempted(AttemptKey),
}

impl App {
    /// Lists deliveries: of one endpoint those that wait and had no attempt, then those that had one, newest first; or of one event those of every
    /// endpoint.
    pub(crate) async fn list_deliveries(
        &self,
        scope: &EndpointScope,
        event: Option<&EventId>,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, Error> {
        let parent = format!("{}/{:?}/{event:?}", scope.tenant, scope.endpoint);
        let list = ListName(&["deliveries", &parent]);
        let tenant = self.tenant(&scope.tenant).await?;
        let endpoints = endpoints_of(&tenant, scope)?;
        match (event, endpoints.as_slice()) {
            (Some(event), _) => self.of_event(&list, &tenant, &endpoints, event, page).await,
            (None, [endpoint]) if scope.endpoint.is_some() => {
                self.of_endpoint(&list, endpoint, page).await
            }
            (None, _) => {
                Err(Violation::new("event", "required with endpoints/-: the id of an event").into())
            }
        }
    }

    async fn of_event(
        &self,
        list: &ListName<'_>,
        tenant: &TenantConfig,
        endpoints: &[&Endpoint],
        event: &EventId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, Error> {
        let after: Option<String> = self.open_token(list, &page.token)?;
        if let Some(first) = endpoints.first() {
            // An event that is not there is an error, not an empty list.
            let name = EventName { tenant: first.tenant.clone(), event: event.clone() };
            let facts = self.deps.events.facts(&name.tenant, event, 1).await?;
            if facts.is_empty() {
                self.event(&name).await?;
            }
        }
        let mut page_of = Page { items: Vec::new(), next: String::new() };
        for endpoint in self.concerned(tenant, endpoints, event).await? {
            let id = endpoint.id.as_str();
            if after.as_deref().is_some_and(|after| id <= after) {
                continue;
            }
            if page_of.items.len() >= page.size {
                let last = page_of.items.last();
                let last = last.map(|view: &DeliveryView| view.name.endpoint.endpoint.as_str());
                page_of.next = self.make_token(list, &last.unwrap_or_default());
                break;
            }
            page_of.items.extend(self.find_delivery(tenant, endpoint, event).await?);
        }
        Ok(page_of)
    }

    /// The endpoints that have facts of an event, or that match it; in the order of their ids.
    async fn concerned<'e>(
        &self,
        tenant: &TenantConfig,
        endpoints: &[&'e Endpoint],
        event: &EventId,
    ) -> Result<Vec<&'e Endpoint>, Error> {
        let Some(first) = endpoints.first() else {
            return Ok(Vec::new());
        };
        let name = EventName { tenant: first.tenant.clone(), event: event.clone() };
        let facts = self.deps.events.facts(&name.tenant, event, super::events::FACTS_MAX);
        let mut uids: BTreeSet<_> = facts.await?.iter().map(|fact| fact.endpoint).collect();
        if let Some(found) = self.find_event(&name).await? {
            uids.extend(super::resend::matcher(tenant).matching(&found.event));
        }
        let mut concerned: Vec<&Endpoint> =
            endpoints.iter().filter(|endpoint| uids.contains(&endpoint.uid)).copied().collect();
        concerned.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(concerned)
    }

    async fn of_endpoint(
        &self,
        list: &ListName<'_>,
        endpoint: &Endpoint,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, Error> {
        let place: Option<Place> = self.open_token(list, &page.token)?;
        let (mut items, before) = match place {
            Some(Place::Attempted(key)) => (Vec::new(), Some(key)),
            Some(Place::Waited) => (Vec::new(), None),
            Some(Place::Waiting(_)) | None => {
                let after = match place {
                    Some(Place::Waiting(key)) => Some(key),
                    Some(Place::Waited | Place::Attempted(_)) | None => None,
                };
                let waiting = self.waiting(endpoint, after, page.size).await?;
                if let Some(key) = waiting.next {
                    let next = self.make_token(list, &Place::Waiting(key));
                    return Ok(Page { items: waiting.items, next });
                }
                (waiting.items, None)
            }
        };
        if items.len() >= page.size {
            return Ok(Page { items, next: self.make_token(list, &Place::Waited) });
        }
        let next = self.attempted(endpoint, before, page.size, &mut items).await?;
        let next = next.map(|key| self.make_token(list, &Place::Attempted(key)));
        Ok(Page { items, next: next.unwrap_or_default() })
    }

    /// Fills a page with what had attempts before `before`. Gives the key of the last attempt that was looked at when there may be more.
    async fn attempted(
        &self,
        endpoint: &Endpoint,
        mut before: Option<AttemptKey>,
        size: usize,
        items: &mut Vec<DeliveryView>,
    ) -> Result<Option<AttemptKey>, Error> {
        let mut seen: BTreeSet<domain::EventRef> =
            items.iter().map(|view| view.summary.event.clone()).collect();
        let mut looked_at = 0;
        loop {
            let from = before.map(|(time, id)| (Timestamp::from_millis(time), id));
            let facts =
                self.deps.events.attempts_of_endpoint(endpoint.uid, from, ATTEMPTS_PAGE).await?;
            let is_end = facts.len() < ATTEMPTS_PAGE;
            for fact in facts {
                if items.len() >= size || looked_at >= ATTEMPTS_MAX {
                    return Ok(before);
                }
                looked_at += 1;
                before = Some(key_of(&fact));
                if seen.insert(fact.event.clone()) {
                    items.extend(self.newest_of(endpoint, &fact).await?);
                }
            }
            if is_end {
                return Ok(None);
            }
        }
    }

    /// The delivery of an attempt, unless it has a newer one: then it was on a page before.
    async fn newest_of(
        &self,
        endpoint: &Endpoint,
        fact: &Fact,
    ) -> Result<Option<DeliveryView>, Error> {
        let loaded = self.deps.events.load(&fact.event, endpoint.uid).await?;
        let is_attempt = |fact: &&Fact| matches!(fact.kind, domain::FactKind::Attempt(_));
        let newest = loaded.facts.iter().filter(is_attempt).map(key_of).max();
        if newest.is_some_and(|newest| newest > key_of(fact)) {
            return Ok(None);
        }
        let event = match loaded.event {
            Some(event) => Some(event),
            None => self.event_at(&fact.event).await?,
        };
        let facts = if loaded.facts.is_empty() { vec![fact.clone()] } else { loaded.facts };
        Ok(Some(view(endpoint, fact.event.clone(), &facts, event)))
    }
}
