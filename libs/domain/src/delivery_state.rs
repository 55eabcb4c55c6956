//! A delivery's state, computed from its facts.

use crate::{Disposition, EndpointUid, EventRef, Fact, FactKind, Timestamp, Trigger};

/// Where a delivery (event × endpoint) stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryState {
    /// An attempt is still to come.
    Pending,
    /// The receiver took it.
    Succeeded,
    /// It is, or was last, a dead letter.
    DeadLettered,
    /// A person cancelled it.
    Cancelled,
}

/// One delivery, as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliverySummary {
    /// The event.
    pub event: EventRef,
    /// The endpoint.
    pub endpoint: EndpointUid,
    /// Where it stands.
    pub state: DeliveryState,
    /// Requests made, over all runs, probes included.
    pub attempts: u32,
    /// When the last request started.
    pub last_attempt: Option<Timestamp>,
    /// When the next attempt is due.
    pub next_attempt: Option<Timestamp>,
}

impl DeliverySummary {
    /// Reads the facts of one delivery, in any order. The newest fact decides, but a success is final.
    #[must_use]
    pub fn of(event: EventRef, endpoint: EndpointUid, facts: &[Fact]) -> Self {
        let mut summary = Self {
            event,
            endpoint,
            state: DeliveryState::Pending,
            attempts: 0,
            last_attempt: None,
            next_attempt: None,
        };
        let mut facts: Vec<&Fact> = facts.iter().collect();
        facts.sort_by_key(|fact| (fact.time, fact.id));
        for fact in facts {
            summary.take(fact);
        }
        summary
    }

    fn take(&mut self, fact: &Fact) {
        let (state, next) = match &fact.kind {
            FactKind::DeadLettered(_) => (DeliveryState::DeadLettered, None),
            FactKind::Cancelled => (DeliveryState::Cancelled, None),
            FactKind::Attempt(attempt) => {
                self.attempts += 1;
                self.last_attempt = Some(fact.time);
                match attempt.disposition {
                    Disposition::Delivered => (DeliveryState::Succeeded, None),
                    Disposition::DeadLettered(_) if attempt.trigger == Trigger::Test => return,
                    Disposition::DeadLettered(_) => (DeliveryState::DeadLettered, None),
                    Disposition::Retry { next } => (DeliveryState::Pending, Some(next)),
                }
            }
        };
        if self.state != DeliveryState::Succeeded {
            self.state = state;
            self.next_attempt = next;
        }
    }
}
