//! Messages of the API as the REST API shows them: proto3 JSON, with an event's `data` as what it is.

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_reflect::DynamicMessage;
use serde_json::{Map, Value};
use wire::api::v1;

use crate::failure::Failure;

/// A message that knows its full name.
pub(crate) trait Named: prost::Message {
    /// Such as `postrider.api.v1.Endpoint`.
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ident),* $(,)?) => {
        $(impl Named for v1::$message {
            const NAME: &'static str = concat!("postrider.api.v1.", stringify!($message));
        })*

        #[cfg(test)]
        const NAMES: &[&str] = &[$(v1::$message::NAME),*];
    };
}

named!(
    CreateEndpointResponse,
    GetEndpointResponse,
    ListEndpointsResponse,
    UpdateEndpointResponse,
    DeleteEndpointResponse,
    PauseEndpointResponse,
    ResumeEndpointResponse,
    DisableEndpointResponse,
    TestEndpointResponse,
    RotateSecretResponse,
    CreateSubscriptionResponse,
    GetSubscriptionResponse,
    ListSubscriptionsResponse,
    UpdateSubscriptionResponse,
    DeleteSubscriptionResponse,
    PublishEventsResponse,
    GetEventResponse,
    ListEventsResponse,
    ResendEventResponse,
    GetDeliveryResponse,
    ListDeliveriesResponse,
    CancelDeliveryResponse,
    ListAttemptsResponse,
    GetDeadLetterResponse,
    ListDeadLettersResponse,
    RedriveDeadLetterResponse,
);

/// Makes the JSON of a message.
pub(crate) fn of<M: Named>(message: &M) -> Result<Value, Failure> {
    let descriptor = wire::descriptor_pool()
        .get_message_by_name(M::NAME)
        .context("the API's descriptors lack a message of the API")?;
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(descriptor, bytes.as_slice())
        .context("a message of the API does not fit its descriptor")?;
    let mut value = serde_json::to_value(&dynamic).context("a message has no JSON form")?;
    show_data(&mut value);
    Ok(value)
}

/// Finds events, which sit under `event` and `events`, and shows their `data`.
fn show_data(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(show_data),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match (name.as_str(), &mut *field) {
                    ("event", Value::Object(event)) => show_event_data(event),
                    ("events", Value::Array(events)) => {
                        events
                            .iter_mut()
                            .filter_map(Value::as_object_mut)
                            .for_each(show_event_data);
                    }
                    _ => show_data(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn show_event_data(event: &mut Map<String, Value>) {
    let Some(bytes) =
        event.get("data").and_then(Value::as_str).and_then(|data| STANDARD.decode(data).ok())
    else {
        return;
    };
    let is_json =
        event.get("contentType").and_then(Value::as_str).is_none_or(|media| media.contains("json"));
    let parsed = is_json.then(|| serde_json::from_slice(&bytes).ok()).flatten();
    let shown = parsed.or_else(|| String::from_utf8(bytes).ok().map(Value::String));
    match shown {
        Some(shown) => {
            event.insert("data".to_owned(), shown);
        }
        None => {
            let encoded = event.remove("data").unwrap_or_default();
            event.insert("dataBase64".to_owned(), encoded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &'static [u8], content_type: &str) -> Value {
        let message = v1::GetEventResponse {
            event: Some(v1::Event {
                data: data.into(),
                content_type: content_type.to_owned(),
                ..Default::default()
            }),
        };
        of(&message).unwrap()["event"].clone()
    }

    #[test]
    fn every_named_message_is_in_the_descriptors() {
        for name in NAMES {
            assert!(wire::descriptor_pool().get_message_by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn data_is_shown_as_what_it_is() {
        assert_eq!(event(b"{\"a\":1}", "application/json")["data"]["a"], 1);
        assert_eq!(event(b"hello", "text/plain")["data"], "hello");
        assert_eq!(event(b"\xff\x00", "application/octet-stream")["dataBase64"], "/wA=");
    }
}
