//! Messages of the API as the REST API shows them.

use anyhow::Context as _;
use prost_reflect::DynamicMessage;
use serde_json::Value;
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
    CreateEventTypeResponse,
    GetEventTypeResponse,
    ListEventTypesResponse,
    UpdateEventTypeResponse,
    DeleteEventTypeResponse,
    PublishEventsResponse,
    GetEventResponse,
    ListEventsResponse,
    ResendEventResponse,
    GetDeliveryResponse,
    ListDeliveriesResponse,
    CancelDeliveryResponse,
    ListAttemptsResponse,
    WatchDeliveriesResponse,
    GetDeadLetterResponse,
    GetJobResponse,
    ListDeadLettersResponse,
    ListJobsResponse,
    RedriveDeadLetterResponse,
);

/// Makes the JSON of a message: the REST API's own, so that scripts may use the one or the other.
pub(crate) fn of<M: Named>(message: &M) -> Result<Value, Failure> {
    let descriptor = wire::descriptor_pool()
        .get_message_by_name(M::NAME)
        .context("the API's descriptors lack a message of the API")?;
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(descriptor, bytes.as_slice())
        .context("a message of the API does not fit its descriptor")?;
    let json = control_plane::rest::to_json(&dynamic).context("a message has no JSON form")?;
    // An event's data may be JSON that no value of ours holds, such as 1e400: then it stays the base64 of proto3 JSON.
    let value = serde_json::from_slice(&json).or_else(|_| serde_json::to_value(&dynamic));
    Ok(value.context("a message has no JSON form")?)
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
        assert_eq!(event(b"1e400", "application/json")["data"], "MWU0MDA=");
    }

    #[test]
    fn lists_and_false_are_there_as_in_rest() {
        let none = of(&v1::ListDeadLettersResponse::default()).unwrap();
        assert_eq!(none, serde_json::json!({ "deadLetters": [] }));
        let result = v1::PublishResult { id: "e".to_owned(), ..Default::default() };
        let published = of(&v1::PublishEventsResponse { results: vec![result] }).unwrap();
        assert_eq!(published["results"][0], serde_json::json!({ "id": "e", "duplicate": false }));
    }
}
