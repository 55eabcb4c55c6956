//! DL-1: every event in the log reaches every endpoint that matched it, or ends in a dead letter, or is cancelled, or its endpoint is deleted; nothing is
//! pending at the end. DL-8: also what came while the endpoint was disabled.

use std::collections::BTreeMap;

use domain::{EndpointUid, Fact, FactKind, RunId, RunState};

use super::Violation;
use crate::history::{History, attempt_of};
use crate::model::Published;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = rest(history);
    // Repeats of a key are one event: one of them is delivered.
    let mut groups: BTreeMap<&str, Vec<&Published>> = BTreeMap::new();
    for record in &history.model.records {
        groups.entry(&record.identity).or_default().push(record);
    }
    for records in groups.values() {
        let first = records.first().into_iter().flat_map(|first| first.wanted.iter().copied());
        let by_all = first.filter(|uid| records.iter().all(|record| record.wanted.contains(uid)));
        for endpoint in by_all.filter(|uid| !history.is_deleted(*uid)) {
            violations.extend(check_one(history, endpoint, records));
        }
    }
    violations
}

/// At the end nothing waits.
fn rest(history: &History) -> Vec<Violation> {
    let (rests, lag, left) = &history.rest;
    let mut violations = Vec::new();
    for (endpoint, event, run) in left {
        let name = history.name(*endpoint);
        let what = format!("{} to {name}: run {run} is still pending at the end", event.id);
        violations.push(Violation::new("DL-1", what).of(*endpoint, &event.id));
    }
    for (shard, records) in lag.iter().filter(|(_, records)| *records > 0) {
        let what = format!("{records} records of shard {} are not handed off at the end", shard.0);
        violations.push(Violation::new("DL-1", what));
    }
    if violations.is_empty() && !rests {
        let what = "what was skipped is not caught up at the end".to_owned();
        violations.push(Violation::new("DL-8", what));
    }
    violations
}

fn check_one(
    history: &History,
    endpoint: EndpointUid,
    records: &[&Published],
) -> Option<Violation> {
    let ends = records.iter().map(|record| end(history, endpoint, record));
    let ends: Vec<Result<(), String>> = ends.collect();
    if ends.iter().any(Result::is_ok) {
        return None;
    }
    let (record, why) = records.iter().zip(ends).next()?;
    let why = why.err()?;
    let invariant = if why.contains(SKIPPED) { "DL-8" } else { "DL-1" };
    let (id, name) = (&record.event.id, history.name(endpoint));
    let told = if record.acknowledged { "acknowledged" } else { "in the log" };
    let what = format!("{id} ({told}, at {}) to {name}: {why}", record.event.at);
    Some(Violation::new(invariant, what).of(endpoint, id))
}

const SKIPPED: &str = "was skipped";

/// Whether a delivery came to an end that counts; otherwise what is wrong with it.
fn end(history: &History, endpoint: EndpointUid, record: &Published) -> Result<(), String> {
    let facts = history.facts_of(endpoint, &record.event);
    if RunState::of(facts, RunId::LOG).has_ended() {
        return proof(history, endpoint, record, facts);
    }
    let was_skipped = history.skips(endpoint, record.event.at);
    match (facts.len(), was_skipped) {
        (0, true) => Err(format!("it {SKIPPED} and never delivered")),
        (0, false) => Err("nothing ever came of it".to_owned()),
        (count, _) => Err(format!("it has {count} facts and no end")),
    }
}

/// A success that is recorded was a success, and a dead letter that is recorded is there.
fn proof(
    history: &History,
    endpoint: EndpointUid,
    record: &Published,
    facts: &[Fact],
) -> Result<(), String> {
    let id = &record.event.id;
    let requests = history.requests.get(&(endpoint, id.clone()));
    let of_log = facts.iter().filter(|fact| fact.run == RunId::LOG);
    for fact in of_log {
        let is_success = attempt_of(fact).is_some_and(|attempt| {
            matches!(attempt.outcome, domain::OutcomeKind::Answered(200..=299))
        });
        if is_success {
            let is_it = |at: domain::Timestamp| at == fact.time;
            let mut taken = requests.into_iter().flatten();
            if taken.any(|request| request.sent.is_taken() && is_it(request.time)) {
                return Ok(());
            }
            return Err("a success is recorded that no receiver gave".to_owned());
        }
        if matches!(fact.kind, FactKind::Cancelled) {
            return Ok(());
        }
    }
    let is_it =
        |letter: &&domain::DeadLetter| letter.endpoint == endpoint && letter.event == record.event;
    match history.letters.iter().find(is_it) {
        Some(_) => Ok(()),
        None => Err("it ended as a dead letter that is not there".to_owned()),
    }
}
