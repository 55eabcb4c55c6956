//! Reading batches of events: everything is checked before anything is appended (spec §2).

use std::sync::Arc;

use domain::{ApiVersion, ContentType, EventId, EventType, Timestamp, limits};
use wire::api::v1;

use super::{status, subscription, time};
use crate::app::{Error, Faults, Publish, PublishDraft, Published, parse_tenant};

/// What a batch is checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most bytes of an event's data.
    pub(crate) event_bytes_max: usize,
    /// The time that `deliver_time` counts from.
    pub(crate) now: Timestamp,
}

/// Reads a batch.
///
/// # Errors
/// [`Error::Invalid`] with paths such as `events[3].type`.
pub(crate) fn from_wire(
    call: v1::PublishEventsRequest,
    traceparent: Option<Arc<str>>,
    bounds: Bounds,
) -> Result<Publish, Error> {
    let mut faults = Faults::default();
    let tenant = faults.take(parse_tenant("parent", &call.parent));
    check_size(&mut faults, &call.events);
    let mut drafts = Vec::with_capacity(call.events.len().min(limits::PUBLISH_BATCH_MAX));
    for (i, event) in call.events.into_iter().enumerate() {
        if faults.is_full() {
            break;
        }
        drafts.extend(draft(&mut faults, &format!("events[{i}]"), event, bounds));
    }
    let tenant = faults.finish_with(tenant)?;
    Ok(Publish { tenant, drafts, traceparent, validate_only: call.validate_only })
}

fn check_size(faults: &mut Faults, events: &[v1::NewEvent]) {
    let max = limits::PUBLISH_BATCH_MAX;
    if events.is_empty() || events.len() > max {
        let count = events.len();
        faults.add("events", format!("{count} events, allowed are 1 to {max}"));
    }
    let bytes: usize = events.iter().map(|event| event.data.len()).sum();
    let max = limits::PUBLISH_BATCH_BYTES_MAX;
    if bytes > max {
        faults.add(
            "events",
            format!("{bytes} bytes of data in sum, allowed are {max}: publish smaller batches"),
        );
    }
}

/// `None` when a fault was noted that leaves no draft.
fn draft(
    faults: &mut Faults,
    path: &str,
    event: v1::NewEvent,
    bounds: Bounds,
) -> Option<PublishDraft> {
    let at = |field: &str| format!("{path}.{field}");
    let id = given(&event.id).map(|id| faults.check(at("id"), EventId::parse(id)));
    let event_type = event_type(faults, &at("type"), &event.r#type);
    let content_type = match given(&event.content_type) {
        Some(text) => faults.check(at("content_type"), ContentType::parse(text)),
        None => Some(ContentType::json()),
    };
    if let Some(content_type) = &content_type {
        check_data(faults, &at("data"), &event.data, content_type, bounds);
    }
    let api_version = given(&event.api_version)
        .map(|text| faults.check(at("api_version"), ApiVersion::parse(text)));
    check_idempotency_key(faults, &at("idempotency_key"), &event.idempotency_key);
    check_ordering_key(faults, &at("ordering_key"), &event.ordering_key);
    let channels = subscription::channels(faults, &at("channels"), &event.channels);
    let deliver_at = deliver_at(faults, &at("deliver_time"), event.deliver_time, bounds.now);
    let created_at = faults.take(time::from_wire(&at("create_time"), event.create_time));
    Some(PublishDraft {
        id: id.flatten(),
        event_type: event_type?,
        data: event.data,
        content_type: content_type?,
        api_version: api_version.flatten(),
        idempotency_key: given(&event.idempotency_key).map(Arc::from),
        ordering_key: given(&event.ordering_key).map(Arc::from),
        channels,
        deliver_at,
        created_at: created_at.flatten(),
    })
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn event_type(faults: &mut Faults, field: &str, text: &str) -> Option<EventType> {
    if text.is_empty() {
        faults.add(field, "required: a type such as payment.completed");
        return None;
    }
    let parsed = faults.check(field, EventType::parse(text))?;
    if parsed.is_operational() {
        faults.add(
            field,
            format!("{text:?} is reserved: types that begin with postrider. are Postrider's own"),
        );
        return None;
    }
    Some(parsed)
}

fn check_data(
    faults: &mut Faults,
    field: &str,
    data: &[u8],
    content_type: &ContentType,
    bounds: Bounds,
) {
    let max = bounds.event_bytes_max;
    if data.len() > max {
        faults.add(field, format!("{} bytes long, allowed are {max}", data.len()));
        return;
    }
    if !content_type.is_json() {
        return;
    }
    if data.is_empty() {
        faults.add(field, "required: one JSON value, as content_type says application/json");
    } else if let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(data) {
        faults.add(
            field,
            format!("not one JSON value, as content_type {} says: {error}", content_type.as_str()),
        );
    }
}

fn check_idempotency_key(faults: &mut Faults, field: &str, key: &str) {
    let max = limits::KEY_BYTES_MAX;
    if key.len() > max || !key.bytes().all(|b| b.is_ascii_graphic()) {
        faults.add(
            field,
            format!("not a key: at most {max} characters of visible ASCII without blanks"),
        );
    }
}

fn check_ordering_key(faults: &mut Faults, field: &str, key: &str) {
    let max = limits::KEY_BYTES_MAX;
    if key.len() > max || key.chars().any(char::is_control) {
        faults.add(
            field,
            format!("not a key: at most {max} bytes of text without control characters"),
        );
    }
}

fn deliver_at(
    faults: &mut Faults,
    field: &str,
    time: Option<prost_types::Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let time = faults.take(time::from_wire(field, time))??;
    if time > now + limits::DELIVER_TIME_AHEAD_MAX {
        faults.add(
            field,
            format!("{time} is over 7 days ahead: allowed is until then, or a time in the past for at once"),
        );
        return None;
    }
    Some(time)
}

/// The answer: one result per event, in order.
pub(crate) fn to_wire(results: Vec<Published>) -> v1::PublishEventsResponse {
    let results = results.into_iter().enumerate().map(|(index, result)| v1::PublishResult {
        id: result.id.to_string(),
        duplicate: result.duplicate,
        error: result
            .failure
            .map(|failure| status::of_failure(failure, &format!("events[{index}]"))),
        warning: result.warning.unwrap_or_default(),
    });
    v1::PublishEventsResponse { results: results.collect() }
}

/// The trace context of a call, if it is one (W3C Trace Context §3.2).
pub(crate) fn traceparent(metadata: &tonic::metadata::MetadataMap) -> Option<Arc<str>> {
    let text = metadata.get("traceparent")?.to_str().ok()?;
    let lengths = [2, 32, 16, 2];
    let is_part = |(part, length): (&str, usize)| {
        part.len() == length
            && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_valid = text.split('-').count() == lengths.len()
        && text.split('-').zip(lengths).all(is_part)
        && !text.starts_with("ff");
    is_valid.then(|| text.into())
}

#[cfg(test)]
mod tests;
