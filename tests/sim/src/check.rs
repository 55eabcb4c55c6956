//! The invariants of `architecture.md` §9, each a function of a history that has come to its end.

mod bounds;
mod delivered;
mod duplicates;
mod keys;
mod neighbours;
mod order;
mod position;
mod schedule;
mod signature;

use domain::{EndpointUid, EventId};

use crate::history::History;
use crate::journal::What;

/// Something that must hold and does not.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The invariant's id, such as `DL-1`.
    pub invariant: &'static str,
    /// What happened instead, in words.
    pub what: String,
    pub(crate) endpoint: Option<EndpointUid>,
    pub(crate) event: Option<EventId>,
}

impl Violation {
    fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what, endpoint: None, event: None }
    }

    /// The same of a delivery: its trace shows what belongs to that.
    fn of(mut self, endpoint: EndpointUid, event: &EventId) -> Self {
        (self.endpoint, self.event) = (Some(endpoint), Some(event.clone()));
        self
    }
}

/// Everything that does not hold.
pub(crate) fn all(history: &History) -> Vec<Violation> {
    let checks: [fn(&History) -> Vec<Violation>; 10] = [
        errors,
        signature::check,
        bounds::check,
        position::check,
        delivered::check,
        schedule::check,
        duplicates::check,
        keys::check,
        order::check,
        neighbours::check,
    ];
    checks.into_iter().flat_map(|check| check(history)).collect()
}

/// Nothing is said at level ERROR: no misfortune of a plan is a bug, or needs a person.
fn errors(history: &History) -> Vec<Violation> {
    let said = history.entries.iter().filter_map(|entry| {
        let What::Error(error) = &entry.what else { return None };
        Some(error)
    });
    said.map(|error| Violation::new("no ERROR", error.clone())).collect()
}
