//! DL-3: attempts of a run are no more than its schedule has, and none begins before it is due.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::limits::RETRY_AFTER_MAX;
use domain::{EndpointUid, EventId, OutcomeKind, RetrySchedule, RunId, Timestamp, Trigger};

use super::Violation;
use crate::history::{History, Request, attempt_of};

/// Least part of a step that jitter leaves (spec §6: ±10 %), in tenths.
const LEAST_TENTHS: u32 = 9;
/// What is lost where durations become milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((endpoint, event), requests) in &history.requests {
        let Some(known) = history.known(*endpoint) else { continue };
        let schedule = &known.plan.policy.retry_schedule;
        let early = requests.iter().filter_map(|request| early(schedule, requests, request));
        violations.extend(early.map(|what| Violation::new("DL-3", what).of(*endpoint, event)));
        violations.extend(before_its_time(history, *endpoint, event, requests));
    }
    violations.extend(counts(history));
    violations
}

/// What is wrong with an attempt's number or time. A probe uses up no attempt and follows its own pace.
fn early(schedule: &RetrySchedule, all: &[Request], request: &Request) -> Option<String> {
    let sent = &request.sent;
    let (number, trigger) = (sent.attempt, &sent.trigger);
    if trigger != Trigger::Retry.as_str() {
        return None;
    }
    let Some(step) = schedule.step_after(number.saturating_sub(1)) else {
        return Some(format!("request {}: the schedule has no attempt {number}", sent.request));
    };
    // Of an attempt that was made twice, before and after a crash, either may have led to this one.
    let before = all.iter().filter(|other| {
        other.sent.attempt + 1 == number && other.sent.trigger != Trigger::Probe.as_str()
    });
    let due = before.map(|other| due(other, step)).min();
    match due {
        Some(due) if due <= request.time + ROUNDING => None,
        Some(due) => Some(format!(
            "request {}: attempt {number} begins {:?} before it is due",
            sent.request,
            due.since(request.time)
        )),
        None => Some(format!("request {}: attempt {number} has none before it", sent.request)),
    }
}

/// When the attempt after this one is due at the earliest.
fn due(request: &Request, step: Duration) -> Timestamp {
    let wait = step * LEAST_TENTHS / 10;
    let asked = match request.sent.outcome {
        OutcomeKind::Answered(429 | 503) => request.sent.retry_after,
        OutcomeKind::Answered(_) | OutcomeKind::Failed(_) => None,
    };
    let asked = asked.map_or(Duration::ZERO, |asked| asked.min(RETRY_AFTER_MAX));
    request.end() + wait.max(asked)
}

/// A delivery that its publisher scheduled begins at its time, unless a person sends it earlier.
fn before_its_time(
    history: &History,
    endpoint: EndpointUid,
    event: &EventId,
    requests: &[Request],
) -> Vec<Violation> {
    let records = history.model.records.iter().filter(|record| record.event.id == *event);
    let Some(due) = records.map(|record| record.due).min() else {
        let what = format!("{event} was sent and never published");
        return vec![Violation::new("DL-3", what).of(endpoint, event)];
    };
    let of_itself = |request: &&Request| request.sent.trigger == Trigger::Event.as_str();
    let early = requests.iter().filter(of_itself).filter(|request| request.time < due);
    let told = early.map(|request| {
        let sent = request.sent.request;
        let what = format!("request {sent}: {event} is sent before {due}");
        Violation::new("DL-3", what).of(endpoint, event)
    });
    told.collect()
}

/// Without a crash or a fault of the store each attempt of a run is made once.
fn counts(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    if history.flavour.has_crashes() || history.flavour.has_faults() {
        return violations;
    }
    for ((endpoint, event), facts) in &history.facts {
        let mut made: BTreeMap<(RunId, u32), u32> = BTreeMap::new();
        for fact in facts {
            if let Some(attempt) = attempt_of(fact).filter(|a| a.trigger != Trigger::Probe) {
                *made.entry((fact.run, attempt.number)).or_default() += 1;
            }
        }
        for ((run, number), _) in made.iter().filter(|(_, times)| **times > 1) {
            let what = format!("attempt {number} of run {run} of {} is made twice", event.id);
            violations.push(Violation::new("DL-3", what).of(*endpoint, &event.id));
        }
    }
    violations
}
