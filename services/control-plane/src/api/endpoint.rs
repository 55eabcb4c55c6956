//! Endpoints on the wire.

use domain::egress_policy::EgressPolicy;
use domain::{DisableReason, EndpointId, EndpointState, EventType, limits};
use wire::api::v1;
use wire::api::v1::endpoint as proto;

use super::{policy, request, secret, subscription, time};
use crate::app::{
    CreateEndpoint, CreatedEndpoint, EndpointDraft, EndpointName, EndpointView, Error, Faults,
    Health, Issued, RotateSecret, disable_text, name_of_endpoint, parse_tenant,
};

/// Reads and checks a request to make an endpoint.
///
/// # Errors
/// [`Error::Invalid`] with the faults of all its parts.
pub(crate) fn create(
    mut call: v1::CreateEndpointRequest,
    egress: &EgressPolicy,
) -> Result<CreateEndpoint, Error> {
    let id = std::mem::take(&mut call.request_id);
    let request = request::request_id("CreateEndpoint", &id, &call);
    let mut faults = Faults::default();
    let tenant = faults.take(parse_tenant("parent", &call.parent));
    let request = faults.take(request);
    let endpoint_id = Some(call.endpoint_id.as_str())
        .filter(|id| !id.is_empty())
        .map(|id| faults.check("endpoint_id", EndpointId::parse(id)));
    let draft = call.endpoint.as_ref().map(|given| draft(&mut faults, given, egress, None));
    if draft.is_none() {
        faults.add("endpoint", "required: it needs a url at least");
    }
    if call.subscriptions.len() > limits::SUBSCRIPTIONS_MAX {
        let count = call.subscriptions.len();
        let max = limits::SUBSCRIPTIONS_MAX;
        faults.add("subscriptions", format!("{count} subscriptions, allowed are {max}"));
        call.subscriptions.truncate(max);
    }
    let subscriptions = call.subscriptions.iter().enumerate();
    let subscriptions = subscriptions
        .map(|(i, s)| subscription::draft(&mut faults, &format!("subscriptions[{i}]"), s))
        .collect();
    let secret = faults.take(secret::from_wire(&call.secret));
    let (tenant, draft) = faults.finish_with(tenant.zip(draft))?;
    Ok(CreateEndpoint {
        tenant,
        id: endpoint_id.flatten(),
        draft,
        subscriptions,
        secret: secret.flatten(),
        request: request.flatten(),
        validate_only: call.validate_only,
    })
}

/// Reads and checks what a caller may set. A URL that is stored already is not checked again.
pub(crate) fn draft(
    faults: &mut Faults,
    endpoint: &v1::Endpoint,
    egress: &EgressPolicy,
    stored_url: Option<&str>,
) -> EndpointDraft {
    let delivery = endpoint.delivery.clone().unwrap_or_default();
    let draft = EndpointDraft {
        display_name: endpoint.display_name.clone(),
        description: endpoint.description.clone(),
        url: endpoint.url.clone(),
        headers: endpoint.headers.clone(),
        policy: policy::from_wire(faults, "endpoint.delivery", &delivery),
        labels: endpoint.labels.clone(),
    };
    draft.check(faults, egress, stored_url)
}

/// What a caller may set, on the wire.
pub(crate) fn draft_to_wire(draft: EndpointDraft) -> v1::Endpoint {
    v1::Endpoint {
        display_name: draft.display_name,
        description: draft.description,
        url: draft.url,
        headers: draft.headers,
        delivery: Some(policy::to_wire(&draft.policy)),
        labels: draft.labels,
        ..v1::Endpoint::default()
    }
}

/// An endpoint on the wire.
pub(crate) fn to_wire(view: EndpointView) -> v1::Endpoint {
    let name = name_of_endpoint(&view.endpoint).to_string();
    let EndpointView { endpoint, secrets, health } = view;
    let (state, reason, message) = state(endpoint.state);
    v1::Endpoint {
        name,
        uid: endpoint.uid.uuid().hyphenated().to_string(),
        state: state.into(),
        state_reason: reason.into(),
        state_message: message,
        state_time: Some(time::to_wire(endpoint.state_time)),
        health: Some(health_to_wire(&health)),
        secrets: secrets.iter().map(secret::to_wire).collect(),
        create_time: Some(time::to_wire(endpoint.create_time)),
        update_time: Some(time::to_wire(endpoint.update_time)),
        etag: request::etag(endpoint.revision),
        ..draft_to_wire(EndpointDraft::of(&endpoint))
    }
}

fn state(state: EndpointState) -> (proto::State, proto::StateReason, String) {
    match state {
        EndpointState::Active => {
            (proto::State::Active, proto::StateReason::Unspecified, String::new())
        }
        EndpointState::Paused => {
            (proto::State::Paused, proto::StateReason::Unspecified, String::new())
        }
        EndpointState::Disabled(reason) => {
            let wire = match reason {
                DisableReason::Failing => proto::StateReason::Failing,
                DisableReason::Answer(_) => proto::StateReason::HttpResponse,
                DisableReason::ByHand => proto::StateReason::ByHand,
            };
            (proto::State::Disabled, wire, disable_text(reason))
        }
    }
}

fn health_to_wire(health: &Health) -> v1::EndpointHealth {
    let breaker = if health.is_open {
        v1::endpoint_health::Breaker::Open
    } else {
        v1::endpoint_health::Breaker::Closed
    };
    v1::EndpointHealth {
        consecutive_failures: i32::try_from(health.consecutive_failures).unwrap_or(i32::MAX),
        last_success_time: health.last_success.map(time::to_wire),
        last_failure_time: health.last_failure.map(time::to_wire),
        breaker: breaker.into(),
        backlog_size: i32::try_from(health.waiting).unwrap_or(i32::MAX),
        oldest_undelivered_time: health.oldest_due.map(time::to_wire),
    }
}

/// The answer to a create.
pub(crate) fn created(created: CreatedEndpoint) -> v1::CreateEndpointResponse {
    let endpoint = created.view.endpoint.uid;
    let subscriptions = created.subscriptions.into_iter();
    v1::CreateEndpointResponse {
        subscriptions: subscriptions.map(|made| subscription::to_wire(endpoint, made)).collect(),
        secret: created.secret.as_ref().map(secret::issued),
        endpoint: Some(to_wire(created.view)),
    }
}

/// Reads a request to rotate.
pub(crate) fn rotate(mut call: v1::RotateSecretRequest) -> Result<RotateSecret, Error> {
    let id = std::mem::take(&mut call.request_id);
    let request = request::request_id("RotateSecret", &id, &call);
    let mut faults = Faults::default();
    let request = faults.take(request);
    let name = faults.take(EndpointName::parse("name", &call.name));
    let secret = faults.take(secret::from_wire(&call.secret));
    let grace = match call.grace_period {
        Some(grace) => faults.take(time::duration_from_wire("grace_period", grace)),
        None => Some(limits::ROTATION_GRACE_DEFAULT),
    };
    if grace.is_some_and(|grace| grace > limits::ROTATION_GRACE_MAX) {
        faults.add("grace_period", "longer than the 7 days (604800s) that are allowed");
    }
    let name = faults.finish_with(name)?;
    Ok(RotateSecret {
        name,
        grace: grace.unwrap_or(limits::ROTATION_GRACE_DEFAULT),
        secret: secret.flatten(),
        etag: call.etag,
        request: request.flatten(),
    })
}

/// The answer to a rotation.
pub(crate) fn rotated((view, made): (EndpointView, Issued)) -> v1::RotateSecretResponse {
    v1::RotateSecretResponse { secret: Some(secret::issued(&made)), endpoint: Some(to_wire(view)) }
}

/// Reads the type of a test event.
pub(crate) fn test_type(text: &str) -> Result<EventType, Error> {
    let text = if text.is_empty() { "postrider.test" } else { text };
    let mut faults = Faults::default();
    let parsed = faults.check("event_type", EventType::parse(text));
    faults.finish_with(parsed)
}

#[cfg(test)]
mod tests;
