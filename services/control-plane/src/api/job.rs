//! Jobs on the wire.

use domain::{JobKind, JobState, LetterFilter};
use wire::api::v1;
use wire::api::v1::job::{State, Work};

use super::{dead_letter, time, watch};
use crate::app::{EndpointName, Error, Faults, JobName, JobView, Replay};

/// A job.
pub(crate) fn to_wire(view: JobView) -> v1::Job {
    let endpoint = view.endpoint.as_ref();
    let job = view.job;
    let count = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    v1::Job {
        name: view.name.to_string(),
        state: state_to_wire(job.state).into(),
        error: job.error,
        total_count: count(job.counts.total.unwrap_or(0)),
        looked_at_count: count(job.counts.looked_at),
        done_count: count(job.counts.done),
        skipped_count: count(job.counts.skipped),
        create_time: Some(time::to_wire(job.create_time)),
        update_time: Some(time::to_wire(job.update_time)),
        end_time: job.end_time.map(time::to_wire),
        work: Some(match job.kind {
            JobKind::Replay { start, end, event_types, .. } => Work::Replay(v1::Replay {
                endpoint: endpoint.map(ToString::to_string).unwrap_or_default(),
                start_time: Some(time::to_wire(start)),
                end_time: Some(time::to_wire(end)),
                event_types: event_types.iter().map(ToString::to_string).collect(),
            }),
            JobKind::Redrive(filter) => Work::Redrive(selection(&view.name, &filter, endpoint)),
            JobKind::Purge(filter) => Work::Purge(selection(&view.name, &filter, endpoint)),
        }),
    }
}

fn selection(
    name: &JobName,
    filter: &LetterFilter,
    endpoint: Option<&EndpointName>,
) -> v1::DeadLetterSelection {
    let reason = filter.reason.map(dead_letter::reason_to_wire);
    v1::DeadLetterSelection {
        parent: match (endpoint, filter.endpoint) {
            (Some(endpoint), _) => endpoint.to_string(),
            (None, None) => format!("tenants/{}/endpoints/-", name.tenant),
            // It was deleted.
            (None, Some(_)) => String::new(),
        },
        reason: reason.unwrap_or_default().into(),
        start_time: filter.since.map(time::to_wire),
        end_time: Some(time::to_wire(filter.until)),
    }
}

fn state_to_wire(state: JobState) -> State {
    match state {
        JobState::Queued => State::Queued,
        JobState::Running => State::Running,
        JobState::Succeeded => State::Succeeded,
        JobState::Failed => State::Failed,
        JobState::Cancelled => State::Cancelled,
    }
}

/// Reads what is to be replayed.
pub(crate) fn replay(call: &v1::ReplayEventsRequest) -> Result<Replay, Error> {
    let mut faults = Faults::default();
    let endpoint = faults.take(EndpointName::parse("endpoint", &call.endpoint));
    let start = faults.take(time::from_wire("start_time", call.start_time));
    if start == Some(None) {
        faults.add("start_time", "required, such as 2026-08-01T12:00:00Z");
    }
    let end = faults.take(time::from_wire("end_time", call.end_time));
    let event_types = watch::patterns(&mut faults, &call.event_types);
    let parts = match (endpoint, start.flatten(), end) {
        (Some(endpoint), Some(start), Some(end)) => {
            Some(Replay { endpoint, start, end, event_types })
        }
        _ => None,
    };
    faults.finish_with(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_says_all_that_is_wrong_at_once() {
        let call = v1::ReplayEventsRequest {
            endpoint: "shop".to_owned(),
            event_types: vec!["a b".to_owned()],
            ..v1::ReplayEventsRequest::default()
        };
        let Err(Error::Invalid(faults)) = replay(&call) else { panic!("taken") };
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["endpoint", "start_time", "event_types[0]"]);
    }
}
