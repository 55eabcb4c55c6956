//! Deliveries (event × endpoint) and their attempts, computed from facts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    Attempt, CommandKind, DeadLetterId, DeadLetterReason, DeliveryState, DeliverySummary,
    Disposition, Endpoint, EndpointUid, Event, EventId, EventRef, Fact, FactKind, OutcomeKind,
    Resolution, RunId, RunState, TenantId, Timestamp, Trigger,
};
use ports::{StoredEvent, TenantConfig};

use super::commands::Order;
use super::events::FACTS_MAX;
use super::page::ListName;
use super::resend::matcher;
use super::tenants::find_endpoint;
use super::{
    App, DeliveryName, EndpointName, EndpointScope, Error, EventName, Page, PageRequest, RequestId,
    Seed,
};

/// How long an answer to a cancel waits for the owner of the shard, in steps.
const CANCEL_STEPS: u32 = 20;
/// One step of that wait.
const CANCEL_STEP: Duration = Duration::from_millis(100);

/// A delivery as callers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeliveryView {
    pub(crate) name: DeliveryName,
    pub(crate) summary: DeliverySummary,
    /// `None` when neither the log nor the store has the event any more.
    pub(crate) event: Option<Arc<Event>>,
    /// Why it is a dead letter, if it is one.
    pub(crate) dead_letter: Option<(DeadLetterId, DeadLetterReason)>,
    /// Status of the last answer.
    pub(crate) last_status: Option<u16>,
    /// When the last attempt ended.
    pub(crate) last_end: Option<Timestamp>,
}

/// A request as callers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AttemptView {
    pub(crate) delivery: DeliveryName,
    pub(crate) fact: Fact,
    pub(crate) attempt: Attempt,
    /// Where it went; empty when the endpoint has been changed since.
    pub(crate) url: String,
}

impl App {
    /// Reads one delivery: its facts, else what will become of an event that matches.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the event never was for this endpoint, or its retention has ended.
    pub(crate) async fn delivery(&self, name: &DeliveryName) -> Result<DeliveryView, Error> {
        let tenant = self.tenant(&name.endpoint.tenant).await?;
        let endpoint = &find_endpoint(&tenant, &name.endpoint)?.endpoint;
        self.find_delivery(&tenant, endpoint, &name.event)
            .await?
            .ok_or_else(|| Error::NotFound(name.to_string()))
    }

    pub(crate) async fn find_delivery(
        &self,
        tenant: &TenantConfig,
        endpoint: &Endpoint,
        event: &EventId,
    ) -> Result<Option<DeliveryView>, Error> {
        let facts = self.facts_for(endpoint, event).await?;
        if let Some(at) = newest_use(&facts, endpoint) {
            let facts: Vec<Fact> = facts
                .into_iter()
                .filter(|fact| fact.endpoint == endpoint.uid && fact.event == at)
                .collect();
            let event = self.event_at(&at).await?;
            return Ok(Some(view(endpoint, at, &facts, event)));
        }
        let name = EventName { tenant: endpoint.tenant.clone(), event: event.clone() };
        let Some(StoredEvent { at, event }) = self.find_event(&name).await? else {
            return Ok(None);
        };
        // A test event is not matched: until its attempt is recorded, it waits for the endpoint that it is for, and for no other.
        let is_for = matcher(tenant).matches_endpoint(&event, endpoint.uid);
        Ok((is_for && at.at.is_in_log()).then(|| view(endpoint, at, &[], Some(event))))
    }

    async fn facts(&self, tenant: &domain::TenantId, event: &EventId) -> Result<Vec<Fact>, Error> {
        Ok(self.deps.events.facts(tenant, event, FACTS_MAX).await?)
    }

    /// The facts of an event, all those of one endpoint among them. An event of many endpoints has more facts than are read at once, and the
    /// oldest come first: then those of the endpoint are read by themselves, for each use of the id that was seen.
    async fn facts_for(&self, endpoint: &Endpoint, event: &EventId) -> Result<Vec<Fact>, Error> {
        let facts = self.facts(&endpoint.tenant, event).await?;
        if facts.len() < FACTS_MAX {
            return Ok(facts);
        }
        let uses: BTreeSet<EventRef> = facts.into_iter().map(|fact| fact.event).collect();
        let mut facts = Vec::new();
        for at in &uses {
            facts.extend(self.deps.events.load(at, endpoint.uid).await?.facts);
        }
        Ok(facts)
    }

    /// Ends what is pending of a delivery. Waits a little for the owner of the shard, then gives the delivery as it is. A redrive's dead letter is put back.
    ///
    /// # Errors
    /// [`Error::NotPending`].
    pub(crate) async fn cancel_delivery(
        &self,
        name: &DeliveryName,
        request: Option<&RequestId>,
    ) -> Result<DeliveryView, Error> {
        let tenant = &name.endpoint.tenant;
        self.tenant(tenant).await?;
        let is_repeat = self.was_done(tenant, request).await?;
        let delivery = self.delivery(name).await?;
        if is_repeat {
            return Ok(delivery);
        }
        let (event, endpoint) = (delivery.summary.event, delivery.summary.endpoint);
        let redrive = self.redrive_of(tenant, &event, endpoint).await?;
        if !is_pending(delivery.summary.state, redrive) {
            return Err(Error::NotPending {
                name: name.to_string(),
                state: delivery.summary.state,
            });
        }
        let seed = Seed::new(&*self.deps.clock, &*self.deps.rng);
        let order = Order {
            id: seed.command("cancel"),
            shard: self.shard_for(&event, endpoint),
            time: seed.time(),
            endpoint,
            kind: CommandKind::Cancel {
                runs: self.runs_of(&event, endpoint).await?,
                event: event.clone(),
                redrive,
            },
        };
        self.send(tenant, vec![order]).await?;
        self.note_done(tenant, request).await?;
        for _ in 0..CANCEL_STEPS {
            let delivery = self.delivery(name).await?;
            let redrive = self.redrive_of(tenant, &event, endpoint).await?;
            if !is_pending(delivery.summary.state, redrive) {
                return Ok(delivery);
            }
            self.deps.clock.sleep(CANCEL_STEP).await;
        }
        self.delivery(name).await
    }

    /// The redrive that has taken the delivery's dead letter up.
    async fn redrive_of(
        &self,
        tenant: &TenantId,
        event: &EventRef,
        endpoint: EndpointUid,
    ) -> Result<Option<RunId>, Error> {
        let letter = DeadLetterId::of(endpoint, event);
        let found = self.deps.dead_letters.get(tenant, endpoint, letter).await?;
        Ok(found.and_then(|(_, resolution)| match resolution {
            Some(Resolution::Redriving(run)) => Some(run),
            Some(Resolution::Resolved) | None => None,
        }))
    }

    /// The runs of a delivery that have begun: the owner of the shard does not remember those whose next attempt is due later.
    async fn runs_of(&self, event: &EventRef, endpoint: EndpointUid) -> Result<Vec<RunId>, Error> {
        let facts = self.deps.events.load(event, endpoint).await?.facts;
        let runs: BTreeSet<RunId> = facts.iter().map(|fact| fact.run).collect();
        let is_open = |run: &RunId| !RunState::of(&facts, *run).has_ended();
        Ok(runs.into_iter().filter(is_open).collect())
    }

    /// Lists the requests of an event, newest first: to one endpoint, or to all.
    pub(crate) async fn list_attempts(
        &self,
        scope: &EndpointScope,
        event: &EventId,
        page: &PageRequest,
    ) -> Result<Page<AttemptView>, Error> {
        let parent = format!("{}/{:?}/{event}", scope.tenant, scope.endpoint);
        let list = ListName(&["attempts", &parent]);
        let after: Option<(i64, u128)> = self.open_token(&list, &page.token)?;
        let tenant = self.tenant(&scope.tenant).await?;
        let endpoints = endpoints_of(&tenant, scope)?;
        let facts = match (&scope.endpoint, endpoints.as_slice()) {
            (Some(_), [endpoint]) => self.facts_for(endpoint, event).await?,
            _ => self.facts(&scope.tenant, event).await?,
        };
        if facts.is_empty() {
            // An event without attempts has an empty list; one that is not there is an error.
            let name = EventName { tenant: scope.tenant.clone(), event: event.clone() };
            self.event(&name).await?;
        }
        let mut all: Vec<AttemptView> =
            facts.into_iter().filter_map(|fact| attempt_view(&endpoints, fact)).collect();
        all.sort_by_key(|view| std::cmp::Reverse(key_of(&view.fact)));
        let mut rest =
            all.into_iter().filter(|view| after.is_none_or(|after| key_of(&view.fact) < after));
        let items: Vec<AttemptView> = rest.by_ref().take(page.size).collect();
        let next = match (rest.next(), items.last()) {
            (Some(_), Some(last)) => self.make_token(&list, &key_of(&last.fact)),
            (None, _) | (_, None) => String::new(),
        };
        Ok(Page { items, next })
    }
}

/// Whether something of a delivery is still to come: a redrive that has made no attempt yet shows the dead letter's state.
fn is_pending(state: DeliveryState, redrive: Option<RunId>) -> bool {
    state == DeliveryState::Pending || redrive.is_some()
}

/// The order of attempts in lists.
pub(crate) fn key_of(fact: &Fact) -> (i64, u128) {
    (fact.time.as_millis(), fact.id.uuid().as_u128())
}

/// The endpoints that a scope names: one, or all of the tenant.
pub(crate) fn endpoints_of<'c>(
    tenant: &'c TenantConfig,
    scope: &EndpointScope,
) -> Result<Vec<&'c Endpoint>, Error> {
    let Some(endpoint) = &scope.endpoint else {
        return Ok(tenant.endpoints.iter().map(|c| &c.endpoint).collect());
    };
    let name = EndpointName { tenant: scope.tenant.clone(), endpoint: endpoint.clone() };
    Ok(vec![&find_endpoint(tenant, &name)?.endpoint])
}

/// The use of an event id that an endpoint heard of last: an id that was used twice is two events.
fn newest_use(facts: &[Fact], endpoint: &Endpoint) -> Option<EventRef> {
    facts
        .iter()
        .filter(|fact| fact.endpoint == endpoint.uid)
        .max_by_key(|fact| key_of(fact))
        .map(|fact| fact.event.clone())
}

/// A delivery from its facts.
pub(crate) fn view(
    endpoint: &Endpoint,
    at: EventRef,
    facts: &[Fact],
    event: Option<Arc<Event>>,
) -> DeliveryView {
    let name = DeliveryName { endpoint: super::endpoints::name_of(endpoint), event: at.id.clone() };
    let mut ordered: Vec<&Fact> = facts.iter().collect();
    ordered.sort_by_key(|fact| key_of(fact));
    let last = ordered.iter().rev().find_map(|fact| match &fact.kind {
        FactKind::Attempt(attempt) => Some((fact.time, attempt)),
        FactKind::DeadLettered(_) | FactKind::Cancelled => None,
    });
    let reason = ordered.iter().rev().find_map(|fact| reason_of(fact));
    let letter = DeadLetterId::of(endpoint.uid, &at);
    let mut summary = DeliverySummary::of(at, endpoint.uid, facts);
    if facts.is_empty() && summary.state == DeliveryState::Pending {
        // Scheduled, and not tried yet.
        summary.next_attempt = event.as_ref().and_then(|event| event.deliver_at);
    }
    let is_dead = summary.state == DeliveryState::DeadLettered;
    DeliveryView {
        name,
        dead_letter: reason.filter(|_| is_dead).map(|reason| (letter, reason)),
        last_status: last.and_then(|(_, attempt)| status_of(attempt.outcome)),
        last_end: last.map(|(start, attempt)| start + attempt.duration),
        summary,
        event,
    }
}

fn status_of(outcome: OutcomeKind) -> Option<u16> {
    match outcome {
        OutcomeKind::Answered(status) => Some(status),
        OutcomeKind::Failed(_) => None,
    }
}

/// Why the delivery became a dead letter, if this fact made it one. A failed test leaves none.
fn reason_of(fact: &Fact) -> Option<DeadLetterReason> {
    match &fact.kind {
        FactKind::DeadLettered(reason) => Some(*reason),
        FactKind::Cancelled => None,
        FactKind::Attempt(attempt) => match attempt.disposition {
            Disposition::DeadLettered(reason) if attempt.trigger != Trigger::Test => Some(reason),
            Disposition::DeadLettered(_) | Disposition::Delivered | Disposition::Retry { .. } => {
                None
            }
        },
    }
}

fn attempt_view(endpoints: &[&Endpoint], fact: Fact) -> Option<AttemptView> {
    let endpoint = endpoints.iter().find(|e| e.uid == fact.endpoint)?;
    let FactKind::Attempt(attempt) = fact.kind.clone() else {
        return None;
    };
    let is_unchanged = fact.time >= endpoint.update_time;
    Some(AttemptView {
        delivery: DeliveryName {
            endpoint: super::endpoints::name_of(endpoint),
            event: fact.event.id.clone(),
        },
        url: if is_unchanged { without_query(&endpoint.url) } else { String::new() },
        attempt,
        fact,
    })
}

fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

/// Runs of a delivery that a redrive began and that ended as a dead letter again.
pub(crate) fn failed_redrives(facts: &[Fact]) -> usize {
    let is_redrive = |run: RunId| {
        facts.iter().any(|fact| {
            fact.run == run
                && matches!(&fact.kind, FactKind::Attempt(a) if a.trigger == Trigger::Redrive)
        })
    };
    let mut runs: Vec<RunId> = facts
        .iter()
        .filter(|fact| reason_of(fact).is_some() && is_redrive(fact.run))
        .map(|fact| fact.run)
        .collect();
    runs.sort_unstable();
    runs.dedup();
    runs.len()
}
