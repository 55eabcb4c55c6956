//! Deliveries on the wire.

use domain::{DeadLetterReason, DeliveryState, EventId};
use wire::api::v1;
use wire::api::v1::delivery as proto;

use super::{dead_letter, time};
use crate::app::{DeadLetterName, DeliveryView, EndpointScope, EventName, Violation};

/// A delivery on the wire.
pub(crate) fn to_wire(view: DeliveryView) -> v1::Delivery {
    let endpoint = view.name.endpoint.clone();
    let event_name = EventName { tenant: endpoint.tenant.clone(), event: view.name.event.clone() };
    let letter = view.dead_letter;
    let event = view.event.as_deref();
    v1::Delivery {
        name: view.name.to_string(),
        event: event_name.to_string(),
        event_type: event.map(|e| e.event_type.to_string()).unwrap_or_default(),
        endpoint: endpoint.to_string(),
        state: state(view.summary.state).into(),
        attempt_count: i32::try_from(view.summary.attempts).unwrap_or(i32::MAX),
        next_attempt_time: view.summary.next_attempt.map(time::to_wire),
        reason: letter
            .map_or(v1::dead_letter::Reason::Unspecified, |(_, reason)| reason_to_wire(reason))
            .into(),
        dead_letter: letter
            .map(|(id, _)| DeadLetterName { endpoint, id }.to_string())
            .unwrap_or_default(),
        last_status_code: view.last_status.map_or(0, i32::from),
        create_time: event.map(|e| time::to_wire(e.created_at)),
        update_time: view.last_end.map(time::to_wire),
    }
}

fn state(state: DeliveryState) -> proto::State {
    match state {
        DeliveryState::Pending => proto::State::Pending,
        DeliveryState::Succeeded => proto::State::Succeeded,
        DeliveryState::DeadLettered => proto::State::DeadLettered,
        DeliveryState::Cancelled => proto::State::Cancelled,
    }
}

fn reason_to_wire(reason: DeadLetterReason) -> v1::dead_letter::Reason {
    dead_letter::reason_to_wire(reason)
}

/// Reads the event that a list is narrowed to: its id, or its name within the list's tenant.
pub(crate) fn event_filter(
    scope: &EndpointScope,
    text: &str,
) -> Result<Option<EventId>, Violation> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.contains('/') {
        return EventId::parse(text)
            .map(Some)
            .map_err(|error| Violation::new("event", error.to_string()));
    }
    let name = EventName::parse("event", text)?;
    if name.tenant != scope.tenant {
        let tenant = &scope.tenant;
        return Err(Violation::new("event", format!("not an event of tenants/{tenant}")));
    }
    Ok(Some(name.event))
}
