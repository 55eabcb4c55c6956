//! Streams on the wire.

use domain::{Disposition, EventPattern, Observation, OutcomeKind, limits};
use wire::api::v1;
use wire::api::v1::delivery as proto;

use super::{attempt, event, time};
use crate::app::{DeliveryName, EndpointName, Error, Faults, WatchedAttempt, WatchedEvent};

/// Reads the types that a caller wants; none means all.
pub(crate) fn event_types(given: &[String]) -> Result<Vec<EventPattern>, Error> {
    let mut faults = Faults::default();
    let patterns = patterns(&mut faults, given);
    faults.finish_with(Some(patterns))
}

/// As [`event_types`], of a request with more fields.
pub(crate) fn patterns(faults: &mut Faults, given: &[String]) -> Vec<EventPattern> {
    if given.len() > limits::PATTERNS_MAX {
        let (count, max) = (given.len(), limits::PATTERNS_MAX);
        faults.add("event_types", format!("{count} patterns, allowed are up to {max}"));
    }
    let patterns = given.iter().take(limits::PATTERNS_MAX).enumerate();
    let patterns = patterns.filter_map(|(i, text)| {
        faults.check(format!("event_types[{i}]"), EventPattern::parse(text))
    });
    patterns.collect()
}

/// An event of a stream.
pub(crate) fn event_to_wire(told: WatchedEvent) -> v1::WatchEventsResponse {
    v1::WatchEventsResponse {
        event: told.event.as_deref().map(event::of_event),
        resume_token: told.token,
    }
}

/// An attempt of a stream.
pub(crate) fn attempt_to_wire(told: &WatchedAttempt) -> v1::WatchDeliveriesResponse {
    let seen = &told.attempt;
    let state = match seen.disposition {
        Disposition::Delivered => proto::State::Succeeded,
        Disposition::Retry { .. } => proto::State::Pending,
        Disposition::DeadLettered(_) => proto::State::DeadLettered,
    };
    v1::WatchDeliveriesResponse {
        attempt: Some(observation_to_wire(seen)),
        event_type: seen.event_type.to_string(),
        state: state.into(),
        missed_count: i64::try_from(told.missed).unwrap_or(i64::MAX),
    }
}

fn observation_to_wire(seen: &Observation) -> v1::Attempt {
    let endpoint =
        EndpointName { tenant: seen.event.tenant.clone(), endpoint: seen.endpoint.clone() };
    let delivery = DeliveryName { endpoint, event: seen.event.id.clone() };
    let (outcome, class) = attempt::outcome(seen.outcome);
    v1::Attempt {
        name: format!("{delivery}/attempts/{}", seen.attempt),
        number: i32::try_from(seen.number).unwrap_or(i32::MAX),
        trigger: attempt::trigger(seen.trigger).into(),
        outcome: outcome.into(),
        error_class: class.into(),
        status_code: match seen.outcome {
            OutcomeKind::Answered(status) => i32::from(status),
            OutcomeKind::Failed(_) => 0,
        },
        start_time: Some(time::to_wire(seen.time)),
        duration: Some(time::duration_to_wire(seen.duration)),
        next_attempt_time: match seen.disposition {
            Disposition::Retry { next } => Some(time::to_wire(next)),
            Disposition::Delivered | Disposition::DeadLettered(_) => None,
        },
        ..Default::default()
    }
}
