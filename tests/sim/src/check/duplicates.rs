//! DL-4: a receiver that took a delivery gets it again only where its shard changed hands before the success was durable.

use std::collections::BTreeMap;

use domain::{EndpointUid, EventId, RunId, Shard};

use super::Violation;
use crate::history::{History, Request};
use crate::model::Published;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut records: BTreeMap<&EventId, Vec<&Published>> = BTreeMap::new();
    for record in &history.model.records {
        records.entry(&record.event.id).or_default().push(record);
    }
    let mut violations = Vec::new();
    for ((endpoint, event), requests) in &history.requests {
        // An id that lies in the log more than once is more than one event to a worker.
        if let Some([record]) = records.get(event).map(Vec::as_slice) {
            let shard = record.event.at.shard;
            violations.extend(check_one(history, (*endpoint, event), shard, requests));
        }
    }
    violations
}

fn check_one(
    history: &History,
    (endpoint, event): (EndpointUid, &EventId),
    shard: Shard,
    requests: &[Request],
) -> Vec<Violation> {
    let assignments = history.assignments.get(&shard).map_or(&[][..], Vec::as_slice);
    let mut violations = Vec::new();
    for (index, taken) in requests.iter().enumerate().filter(|(_, r)| r.sent.is_taken()) {
        let later = requests.iter().skip(index + 1);
        for again in later.filter(|again| same_run(taken, again, requests)) {
            let durable = taken.recorded.map_or(usize::MAX, |(place, _)| place);
            let is_excused = assignments
                .iter()
                .any(|place| taken.place < *place && *place < durable && *place < again.place);
            if !is_excused {
                let (one, other) = (taken.sent.request, again.sent.request);
                let what = format!(
                    "{event} is sent again (request {other}) after it was taken (request {one})"
                );
                violations.push(Violation::new("DL-4", what).of(endpoint, event));
            }
        }
    }
    violations
}

/// Whether two requests are of one run. What was never recorded may be of any run that there is: only where there is one alone it is known.
fn same_run(one: &Request, other: &Request, all: &[Request]) -> bool {
    // Also one that ended without a record: its endpoint was deleted, or its run ended otherwise.
    let is_asked = |request: &Request| {
        request.recorded.is_none() && !matches!(request.sent.trigger.as_str(), "event" | "retry")
    };
    if is_asked(one) || is_asked(other) {
        return false;
    }
    let run = |request: &Request| request.recorded.map(|(_, run)| run);
    match (run(one), run(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => all.iter().filter_map(run).all(|run| run == RunId::LOG),
    }
}
