//! The bytes that go out for an event: a pure function of the event and the endpoint's format, so that they are the same after any crash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::Value;

use crate::{Event, PayloadFormat};

/// The body of a delivery, and the headers that come from the event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The exact bytes that are signed and sent.
    pub body: Bytes,
    /// `Content-Type`.
    pub content_type: String,
    /// Further headers (CloudEvents binary mode): `(name, value)`, visible ASCII.
    pub headers: Vec<(&'static str, String)>,
}

/// `source` of CloudEvents that we make; the field is required and says who the producer is.
const SOURCE: &str = "postrider";

/// Makes the body of an event in a format (spec §2).
///
/// The envelope is `{"id","type","created_at","api_version","data"}` with the bytes of `data` as published where they are JSON;
/// text becomes a JSON string, other bytes `data_base64`.
#[must_use]
pub fn payload(event: &Event, format: PayloadFormat) -> Payload {
    match format {
        PayloadFormat::Envelope => Payload {
            body: envelope(event),
            content_type: "application/json".to_owned(),
            headers: Vec::new(),
        },
        PayloadFormat::Raw => Payload {
            body: event.data.clone(),
            content_type: event.content_type.as_str().to_owned(),
            headers: Vec::new(),
        },
        PayloadFormat::CloudEvents => Payload {
            body: structured(event),
            content_type: "application/cloudevents+json".to_owned(),
            headers: Vec::new(),
        },
        PayloadFormat::CloudEventsBinary => Payload {
            body: event.data.clone(),
            content_type: event.content_type.as_str().to_owned(),
            headers: vec![
                ("ce-specversion", "1.0".to_owned()),
                ("ce-id", event.id.to_string()),
                ("ce-source", SOURCE.to_owned()),
                ("ce-type", event.event_type.to_string()),
                ("ce-time", event.created_at.to_rfc3339()),
                ("ce-apiversion", event.api_version.as_str().to_owned()),
            ],
        },
    }
}

fn envelope(event: &Event) -> Bytes {
    let mut out = Vec::with_capacity(event.data.len() + 192);
    member(&mut out, b"{\"id\":", event.id.as_str());
    member(&mut out, b",\"type\":", event.event_type.as_str());
    member(&mut out, b",\"created_at\":", &event.created_at.to_rfc3339());
    member(&mut out, b",\"api_version\":", event.api_version.as_str());
    data_member(&mut out, event);
    out.push(b'}');
    out.into()
}

fn structured(event: &Event) -> Bytes {
    let mut out = Vec::with_capacity(event.data.len() + 256);
    member(&mut out, b"{\"specversion\":", "1.0");
    member(&mut out, b",\"id\":", event.id.as_str());
    member(&mut out, b",\"source\":", SOURCE);
    member(&mut out, b",\"type\":", event.event_type.as_str());
    member(&mut out, b",\"time\":", &event.created_at.to_rfc3339());
    member(&mut out, b",\"apiversion\":", event.api_version.as_str());
    member(&mut out, b",\"datacontenttype\":", event.content_type.as_str());
    data_member(&mut out, event);
    out.push(b'}');
    out.into()
}

/// Writes `label` and a JSON string.
fn member(out: &mut Vec<u8>, label: &[u8], text: &str) {
    out.extend_from_slice(label);
    out.extend_from_slice(Value::from(text).to_string().as_bytes());
}

fn data_member(out: &mut Vec<u8>, event: &Event) {
    if event.content_type.is_json() {
        out.extend_from_slice(b",\"data\":");
        // Data that says it is JSON was checked when it was accepted; none at all is `null`.
        out.extend_from_slice(if event.data.is_empty() { b"null" } else { &event.data });
        return;
    }
    match std::str::from_utf8(&event.data) {
        Ok(text) if event.content_type.is_text() => member(out, b",\"data\":", text),
        _ => member(out, b",\"data_base64\":", &BASE64.encode(&event.data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiVersion, ContentType, EventId, EventType, TenantId, Timestamp};

    fn event(content_type: &str, data: &'static [u8]) -> Event {
        Event {
            tenant: TenantId::default_tenant(),
            id: EventId::parse("evt_1").expect("valid"),
            event_type: EventType::parse("payment.completed").expect("valid"),
            created_at: Timestamp::from_millis(0),
            api_version: ApiVersion::parse("2026-01-01").expect("valid"),
            content_type: ContentType::parse(content_type).expect("valid"),
            data: Bytes::from_static(data),
            ordering_key: None,
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        }
    }

    fn body(event: &Event, format: PayloadFormat) -> String {
        String::from_utf8(payload(event, format).body.to_vec()).expect("utf-8")
    }

    #[test]
    fn the_envelope_keeps_the_bytes_of_json_data() {
        let event = event("application/json", b"{ \"b\": 1.0,\n\"a\":1e2 }");
        assert_eq!(
            body(&event, PayloadFormat::Envelope),
            "{\"id\":\"evt_1\",\"type\":\"payment.completed\",\"created_at\":\"1970-01-01T00:00:00.000Z\",\
             \"api_version\":\"2026-01-01\",\"data\":{ \"b\": 1.0,\n\"a\":1e2 }}"
        );
    }

    #[test]
    fn text_becomes_a_string_and_other_bytes_base64() {
        let text = body(&event("text/plain", b"a\"b"), PayloadFormat::Envelope);
        assert!(text.ends_with(",\"data\":\"a\\\"b\"}"), "{text}");
        let bytes = body(&event("application/octet-stream", &[0xff, 0]), PayloadFormat::Envelope);
        assert!(bytes.ends_with(",\"data_base64\":\"/wA=\"}"), "{bytes}");
        let broken = body(&event("text/plain", &[0xff]), PayloadFormat::Envelope);
        assert!(broken.ends_with(",\"data_base64\":\"/w==\"}"), "{broken}");
    }

    #[test]
    fn cloudevents_carry_the_required_attributes() {
        let event = event("application/json", b"[1]");
        let structured: Value =
            serde_json::from_str(&body(&event, PayloadFormat::CloudEvents)).expect("json");
        for (name, value) in
            [("specversion", "1.0"), ("id", "evt_1"), ("type", "payment.completed")]
        {
            assert_eq!(structured.get(name), Some(&Value::from(value)));
        }
        let binary = payload(&event, PayloadFormat::CloudEventsBinary);
        assert_eq!(&binary.body[..], b"[1]");
        assert!(binary.headers.contains(&("ce-id", "evt_1".to_owned())));
    }
}
