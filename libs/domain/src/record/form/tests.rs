use super::super::decode;
use super::*;
use crate::{Position, Shard};

const AT: LogPosition = LogPosition { shard: Shard(3), position: Position(9) };

fn record(headers: &[(&str, &'static str)], value: &'static str) -> Record {
    let header = |(name, value): &(&str, &'static str)| {
        ((*name).to_owned(), Some(Bytes::from_static(value.as_bytes())))
    };
    Record {
        key: None,
        headers: headers.iter().map(header).collect(),
        value: Some(Bytes::from_static(value.as_bytes())),
    }
}

fn read(record: &Record) -> Result<Event, Poison> {
    let version = ApiVersion::parse("2026-01-01").expect("valid");
    decode(record, AT, Timestamp::from_millis(5), &Trust::AnyTenant, &version)
}

#[test]
fn a_structured_cloud_event_is_the_event_that_the_api_makes_of_it() {
    let value = r#"{"specversion":"1.0","type":"payment.completed","source":"/shop","id":"A-1","time":"2026-08-01T12:00:00Z",
        "data": {"a" : 1.50}, "postriderchannels":"eu, us","postriderorderingkey":"order-1","extra":7}"#;
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let event = read(&record(&headers, value)).expect("an event");
    assert_eq!((event.id.as_str(), event.event_type.as_str()), ("A-1", "payment.completed"));
    assert_eq!(event.data, r#"{"a" : 1.50}"#, "byte for byte");
    assert_eq!(event.created_at.to_rfc3339(), "2026-08-01T12:00:00.000Z");
    assert_eq!(event.ordering_key.as_deref(), Some("order-1"));
    assert_eq!(event.channels, ["eu".into(), "us".into()]);
}

#[test]
fn an_id_that_is_none_of_ours_is_derived_from_source_and_id_in_every_form() {
    let structured = record(
        &[("content-type", "application/cloudevents+json")],
        r#"{"specversion":"1.0","type":"a.b","source":"/shop","id":"order 7/3","data":1}"#,
    );
    let binary = record(&[("ce_type", "a.b"), ("ce_source", "/shop"), ("ce_id", "order 7/3")], "1");
    let of_shop = read(&structured).expect("an event").id;
    assert_eq!(of_shop, read(&binary).expect("an event").id);
    assert!(of_shop.as_str().starts_with("ce_"), "{of_shop}");
    let elsewhere =
        record(&[("ce_type", "a.b"), ("ce_source", "/other"), ("ce_id", "order 7/3")], "1");
    assert_ne!(of_shop, read(&elsewhere).expect("an event").id);
}

#[test]
fn an_envelope_needs_no_header() {
    let value = r#"{"type":"payment.completed","data":{"a":1},"apiVersion":"2026-02-02","idempotency_key":"k","channels":["eu"]}"#;
    let event = read(&record(&[("postrider_tenant", "acme")], value)).expect("an event");
    assert_eq!(event.tenant.as_str(), "acme");
    assert_eq!(
        event.id,
        EventId::of_key(&event.tenant, "k"),
        "a repeat of the key has the same id"
    );
    assert_eq!((&event.data[..], event.api_version.as_str()), (&b"{\"a\":1}"[..], "2026-02-02"));
    assert_eq!(event.idempotency_key.as_deref(), Some("k"));
    assert_eq!(event.channels, ["eu".into()]);
    let text = r#"{"type":"a.b","data":"hello","content_type":"text/plain"}"#;
    assert_eq!(read(&record(&[], text)).expect("an event").data, "hello");
    let bytes = r#"{"type":"a.b","data_base64":"AP8=","content_type":"application/octet-stream"}"#;
    assert_eq!(read(&record(&[], bytes)).expect("an event").data, &[0, 0xff][..]);
}

#[test]
fn poison_says_which_field_in_the_words_of_its_form() {
    let cloud = [("content-type", "application/cloudevents+json")];
    for (headers, value, field, part) in [
        (&[][..], "hello", "value", "ce_type"),
        (&[], r#"[1]"#, "value", "envelope"),
        (&[], r#"{"data":1}"#, "type", "payment.completed"),
        (&[], r#"{"type":"a.b","data":1,"data_base64":""}"#, "data_base64", "one of them"),
        (&[], r#"{"type":"a.b","created_at":"yesterday"}"#, "created_at", "RFC 3339"),
        (&[], r#"{"type":"a.b","channels":["a b"]}"#, "channels", "not a channel"),
        (&cloud, r#"{"specversion":"0.3","type":"a.b"}"#, "specversion", "1.0"),
        (&cloud, r#"{"type":{}}"#, "type", "string"),
        (&[("ce_type", "a.b"), ("ce_specversion", "2")], "1", "ce_specversion", "1.0"),
        (&[("ce_type", "a.b"), ("content-type", "application/json")], "{", "value", "is not"),
    ] {
        let poison = read(&record(headers, value)).expect_err(value);
        assert_eq!(poison.field, field, "{value}: {poison}");
        assert!(poison.reason.contains(part), "{value}: {poison}");
    }
}
