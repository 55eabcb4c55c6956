//! What the receivers saw, counted request by request.

use std::collections::BTreeSet;

use super::cast::{PARTS, Part};
use super::receiver::Arrival;

/// The receivers' side of the books.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Requests.
    pub(crate) requests: usize,
    /// Requests whose signatures verified.
    pub(crate) verified: usize,
    /// Why the others did not.
    pub(crate) unverified: Vec<String>,
    /// Requests that came for another reason than the event itself or a person: retries and probes.
    pub(crate) retries: usize,
    /// Requests of a redrive that were answered with 2xx.
    pub(crate) redriven: usize,
    /// Repeats of what was answered with 2xx before.
    pub(crate) duplicates: usize,
    /// (receiver, event) that was answered with 2xx.
    delivered: BTreeSet<(&'static str, String)>,
    lines: [Line; 3],
}

/// One receiver's counters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    /// Requests answered with 2xx.
    pub(crate) taken: usize,
    /// Requests answered with anything else.
    pub(crate) refused: usize,
}

impl Ledger {
    /// Counts a request.
    pub(crate) fn enter(&mut self, arrival: &Arrival) {
        self.requests += 1;
        match &arrival.unverified {
            None => self.verified += 1,
            Some(why) => self.unverified.push(format!("{}: {why}", arrival.event)),
        }
        if matches!(arrival.trigger.as_str(), "retry" | "probe") {
            self.retries += 1;
        }
        let taken = arrival.status.is_success();
        if let Some(line) = self.lines.get_mut(index(arrival.part)) {
            line.taken += usize::from(taken);
            line.refused += usize::from(!taken);
        }
        if taken {
            if arrival.trigger == "redrive" {
                self.redriven += 1;
            }
            if !self.delivered.insert((arrival.part.id(), arrival.event.clone())) {
                self.duplicates += 1;
            }
        }
    }

    /// Deliveries that arrived.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered.len()
    }

    /// Deliveries of one receiver that arrived.
    pub(crate) fn delivered_to(&self, part: Part) -> usize {
        self.delivered.iter().filter(|(id, _)| *id == part.id()).count()
    }

    /// One receiver's counters.
    pub(crate) fn line(&self, part: Part) -> Line {
        self.lines.get(index(part)).copied().unwrap_or_default()
    }
}

fn index(part: Part) -> usize {
    PARTS.iter().position(|other| *other == part).unwrap_or_default()
}
