//! Dead letters on the wire.

use bytes::Bytes;
use domain::{DeadLetter, DeadLetterReason, limits};
use wire::api::v1;
use wire::api::v1::dead_letter::Reason;

use super::{attempt, event, time};
use crate::app::{
    DeadLetterQuery, DeadLetterView, DeliveryName, EventName, RedriveTarget, Violation,
};

/// A dead letter with its payload.
pub(crate) fn to_wire(view: DeadLetterView) -> v1::DeadLetter {
    let endpoint = view.name.endpoint.clone();
    let letter = view.letter;
    let delivery = DeliveryName { endpoint: endpoint.clone(), event: letter.event.id.clone() };
    v1::DeadLetter {
        name: view.name.to_string(),
        endpoint: endpoint.to_string(),
        event: Some(view.event.as_deref().map_or_else(|| bare_event(&letter), event::of_event)),
        delivery: delivery.to_string(),
        reason: reason_to_wire(letter.reason).into(),
        message: message(&letter),
        attempt_count: i32::try_from(letter.attempts).unwrap_or(i32::MAX),
        redrive_count: i32::try_from(view.redrives).unwrap_or(i32::MAX),
        redriving: view.is_redriving,
        create_time: Some(time::to_wire(letter.time)),
        purge_time: Some(time::to_wire(letter.time + limits::DEAD_LETTER_RETENTION)),
        endpoint_url: letter.url,
    }
}

/// A dead letter as lists show it: without its payload.
pub(crate) fn in_list(view: DeadLetterView) -> v1::DeadLetter {
    let mut letter = to_wire(view);
    if let Some(event) = &mut letter.event {
        event.data = Bytes::new();
    }
    letter
}

/// What is known of the event when its body is gone.
fn bare_event(letter: &DeadLetter) -> v1::Event {
    let name = EventName { tenant: letter.event.tenant.clone(), event: letter.event.id.clone() };
    v1::Event {
        name: name.to_string(),
        id: letter.event.id.to_string(),
        r#type: letter.event_type.clone(),
        ..v1::Event::default()
    }
}

/// Why, in words.
fn message(letter: &DeadLetter) -> String {
    let last = letter.last_outcome.map(attempt::outcome_text);
    match (letter.reason, last) {
        (DeadLetterReason::Expired, _) => "waited for over 7 days".to_owned(),
        (_, Some(last)) => last,
        (reason, None) => reason.as_str().replace('_', " "),
    }
}

/// A reason on the wire.
pub(crate) fn reason_to_wire(reason: DeadLetterReason) -> Reason {
    match reason {
        DeadLetterReason::Exhausted => Reason::RetriesExhausted,
        DeadLetterReason::Rejected => Reason::Rejected,
        DeadLetterReason::EndpointDisabled => Reason::EndpointDisabled,
        DeadLetterReason::BlockedDestination => Reason::BlockedDestination,
        DeadLetterReason::Expired => Reason::Expired,
    }
}

/// Reads which dead letters are meant: a reason, and from when to before when.
pub(crate) fn query(
    reason: i32,
    start: Option<prost_types::Timestamp>,
    end: Option<prost_types::Timestamp>,
) -> Result<DeadLetterQuery, Violation> {
    let reason = match Reason::try_from(reason) {
        Ok(Reason::Unspecified) => None,
        Ok(Reason::RetriesExhausted) => Some(DeadLetterReason::Exhausted),
        Ok(Reason::Rejected) => Some(DeadLetterReason::Rejected),
        Ok(Reason::EndpointDisabled) => Some(DeadLetterReason::EndpointDisabled),
        Ok(Reason::BlockedDestination) => Some(DeadLetterReason::BlockedDestination),
        Ok(Reason::Expired) => Some(DeadLetterReason::Expired),
        Err(_) => {
            return Err(Violation::new(
                "reason",
                format!(
                    "{} is not a reason: use RETRIES_EXHAUSTED, REJECTED, ENDPOINT_DISABLED, BLOCKED_DESTINATION or EXPIRED",
                    reason
                ),
            ));
        }
    };
    Ok(DeadLetterQuery {
        reason,
        start: time::from_wire("start_time", start)?,
        end: time::from_wire("end_time", end)?,
    })
}

/// The answer to a redrive.
pub(crate) fn redriven(target: RedriveTarget) -> v1::RedriveDeadLetterResponse {
    v1::RedriveDeadLetterResponse {
        delivery: target.delivery.to_string(),
        dead_letter: Some(to_wire(target.letter)),
    }
}
