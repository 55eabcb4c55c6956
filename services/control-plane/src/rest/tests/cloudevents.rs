//! CloudEvents going in: the three forms, and their faults.

use serde_json::json;
use wire::api::v1::NewEvent;

use super::fake::Fake;
use super::{PUBLISH, send_as, send_with};

const ONE: &str = "application/cloudevents+json";
const MANY: &str = "application/cloudevents-batch+json";

async fn published(content_type: &str, body: &str) -> Vec<NewEvent> {
    let fake = Fake::default();
    let answer = send_as(&fake, "POST", PUBLISH, content_type, body.to_owned()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let request = fake.published();
    assert_eq!(request.parent, "tenants/t");
    request.events
}

#[tokio::test]
async fn a_structured_event_keeps_id_time_and_the_bytes_of_its_data() {
    let data = "{ \"b\" : 1.0, \"a\":[1e400]}";
    let body = format!(
        r#"{{"specversion":"1.0","id":"e-1","source":"/shop","type":"a.b","time":"2026-03-01T12:00:00.5Z",
            "subject":"s","dataschema":"https://x/y","unknownext":7,"absent":null,"data":{data},
            "postriderorderingkey":"k","postriderchannels":"one, two","postriderapiversion":"2026-08-01",
            "postrideridempotencykey":"i","postriderdeliverat":"2026-03-02T00:00:00Z"}}"#
    );
    let event = published(&format!("{ONE}; charset=UTF-8"), &body).await.remove(0);
    assert_eq!((event.id.as_str(), event.r#type.as_str()), ("e-1", "a.b"));
    assert_eq!(std::str::from_utf8(&event.data).unwrap(), data);
    let time = event.create_time.unwrap();
    assert_eq!((time.seconds, time.nanos), (1_772_366_400, 500_000_000));
    assert_eq!((event.content_type.as_str(), event.ordering_key.as_str()), ("", "k"));
    assert_eq!(event.channels, ["one", "two"]);
    assert_eq!((event.api_version.as_str(), event.idempotency_key.as_str()), ("2026-08-01", "i"));
    assert_eq!(event.deliver_time.unwrap().seconds, 1_772_409_600);
}

#[tokio::test]
async fn a_batch_has_all_kinds_of_data_and_derived_ids() {
    let body = json!([
        {"specversion": "1.0", "id": "a b", "source": "/one", "type": "a.b", "data": null},
        {"specversion": "1.0", "id": "a b", "source": "/two", "type": "a.b", "data": 1},
        {"specversion": "1.0", "id": "c", "source": "/one", "type": "a.b",
         "datacontenttype": "text/plain", "data": "x\ny"},
        {"specversion": "1.0", "id": "d", "source": "/one", "type": "a.b",
         "datacontenttype": "image/png", "data_base64": "AP8="},
    ]);
    let events = published(MANY, &body.to_string()).await;
    let again = published(MANY, &body.to_string()).await;
    assert_eq!(events, again, "derived ids are the same at each repeat");
    assert!(events[0].id.starts_with("ce_") && events[0].id.len() == 35, "{}", events[0].id);
    assert_ne!(events[0].id, events[1].id, "another source is another event");
    assert_eq!(&events[0].data[..], b"null");
    assert_eq!(
        (&events[2].data[..], events[2].content_type.as_str()),
        (&b"x\ny"[..], "text/plain")
    );
    assert_eq!(
        (&events[3].data[..], events[3].content_type.as_str()),
        (&b"\x00\xff"[..], "image/png")
    );
}

#[tokio::test]
async fn a_binary_event_has_its_attributes_in_headers() {
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e%C3%BC"),
        ("ce-source", "/shop"),
        ("ce-type", "a.b"),
        ("ce-time", "2026-03-01T12:00:00Z"),
        ("ce-postriderorderingkey", "M%C3%BCller"),
    ];
    let fake = Fake::default();
    let answer = send_with(&fake, "POST", PUBLISH, &headers, "{ \"a\" : 1 }").await;
    assert_eq!(answer.json()["results"][0], json!({"id": "evt_0", "duplicate": false}));
    let event = fake.published().events.remove(0);
    assert_eq!(&event.data[..], b"{ \"a\" : 1 }");
    assert_eq!((event.r#type.as_str(), event.content_type.as_str()), ("a.b", "application/json"));
    assert!(event.id.starts_with("ce_"), "ü is in no id of an event: {}", event.id);
    assert_eq!(event.ordering_key, "Müller");
    assert_eq!(event.create_time.unwrap().seconds, 1_772_366_400);
}

#[tokio::test]
async fn faults_name_the_attribute() {
    let good = json!({"specversion": "1.0", "id": "a", "source": "/s", "type": "a.b", "data": 1});
    let with = |name: &str, value: serde_json::Value| {
        let mut event = good.clone();
        event[name] = value;
        event.to_string()
    };
    for (content_type, body, expected) in [
        (ONE, with("specversion", json!("0.3")), "events[0].specversion: \"0.3\" is not supported"),
        (ONE, with("id", json!(null)), "events[0].id: required in a CloudEvent"),
        (ONE, with("source", json!("")), "events[0].source: required"),
        (ONE, with("time", json!("now")), "events[0].time: must be a time"),
        (ONE, with("subject", json!({})), "events[0].subject: must be a string, a number or a"),
        (ONE, with("data_base64", json!("AA")), "events[0].dataBase64: and data are given"),
        (ONE, with("datacontenttype", json!("text/plain")), "events[0].data: must be a string"),
        (ONE, "[]".to_owned(), "events[0]: must be an object, not an array"),
        (ONE, "{".to_owned(), "events[0]: is not valid JSON"),
        (MANY, good.to_string(), "body: is not a JSON array of CloudEvents"),
        (MANY, format!("[{good},{{}}]"), "events[1].specversion: required"),
    ] {
        let fake = Fake::default();
        let answer = send_as(&fake, "POST", PUBLISH, content_type, body.clone()).await;
        let message = answer.error(400, "INVALID_ARGUMENT");
        assert!(message.contains(expected), "{body}: {message}");
        assert!(!fake.was_called());
    }
    let fake = Fake::default();
    let headers = [("ce-specversion", "1.0"), ("ce-id", "%ff")];
    let answer = send_with(&fake, "POST", PUBLISH, &headers, "1").await;
    assert!(answer.error(400, "INVALID_ARGUMENT").contains("events[0].id: is not UTF-8"));
    // They are events: no other path takes them.
    let other = send_as(&fake, "POST", "/v1/tenants/t/endpoints", ONE, good.to_string()).await;
    assert_eq!(other.status, 415, "{}", other.text);
    let other = send_as(&fake, "POST", PUBLISH, "text/xml", "<a/>").await;
    assert!(other.error(415, "INVALID_ARGUMENT").contains("application/cloudevents+json"));
}
