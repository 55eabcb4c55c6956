use bytes::Bytes;
use domain::Timestamp;
use wire::api::v1;

use super::{Bounds, from_wire, traceparent};
use crate::app::{Error, Publish, Violation};

const BOUNDS: Bounds =
    Bounds { event_bytes_max: 64, now: Timestamp::from_millis(1_772_366_400_000) };

fn event() -> v1::NewEvent {
    v1::NewEvent {
        r#type: "payment.completed".to_owned(),
        data: Bytes::from_static(b"{\"a\": 1}"),
        ..v1::NewEvent::default()
    }
}

fn read(events: Vec<v1::NewEvent>) -> Result<Publish, Vec<Violation>> {
    let call = v1::PublishEventsRequest {
        parent: "tenants/default".to_owned(),
        events,
        validate_only: false,
    };
    from_wire(call, None, BOUNDS).map_err(|error| {
        let Error::Invalid(violations) = error else {
            panic!("not a field fault: {error}");
        };
        violations
    })
}

fn fault(change: impl FnOnce(&mut v1::NewEvent)) -> Violation {
    let mut bad = event();
    change(&mut bad);
    let mut faults = read(vec![event(), bad]).expect_err("refused");
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

fn at(ms: i64) -> Option<prost_types::Timestamp> {
    Some(super::time::to_wire(Timestamp::from_millis(ms)))
}

#[test]
fn every_bad_field_is_named_with_what_is_allowed() {
    type Change = fn(&mut v1::NewEvent);
    let table: [(&str, &str, Change); 16] = [
        ("type", "required", |e| e.r#type.clear()),
        ("type", "two or more segments", |e| e.r#type = "payment".into()),
        ("type", "reserved", |e| e.r#type = "postrider.x".into()),
        ("id", "1 to 64 characters", |e| e.id = "a b".into()),
        ("data", "bytes long, allowed are 64", |e| e.data = vec![b'1'; 65].into()),
        ("data", "not one JSON value", |e| e.data = Bytes::from_static(b"{")),
        ("data", "not one JSON value", |e| e.data = Bytes::from_static(b"1 2")),
        ("data", "not one JSON value", |e| e.data = Bytes::from_static(b"\xff")),
        ("data", "required", |e| e.data = Bytes::new()),
        ("content_type", "media type", |e| e.content_type = "json".into()),
        ("api_version", "1 to 32", |e| e.api_version = "a b".into()),
        ("idempotency_key", "visible ASCII", |e| e.idempotency_key = "a b".into()),
        ("idempotency_key", "256", |e| e.idempotency_key = "a".repeat(257)),
        ("ordering_key", "control", |e| e.ordering_key = "a\n".into()),
        ("channels[0]", "is not a channel", |e| e.channels = vec!["a b".into()]),
        ("channels", "allowed are 10", |e| e.channels = vec!["a".into(); 11]),
    ];
    for (field, words, change) in table {
        let fault = fault(change);
        assert_eq!(fault.field, format!("events[1].{field}"));
        assert!(fault.description.contains(words), "{fault:?}");
    }
}

#[test]
fn a_delivery_time_over_seven_days_ahead_is_refused() {
    let week = 7 * 24 * 3_600 * 1_000;
    let now = BOUNDS.now.as_millis();
    let fault = fault(|event| event.deliver_time = at(now + week + 1));
    assert_eq!(fault.field, "events[1].deliver_time");
    for ms in [now + week, now, 0] {
        let mut good = event();
        good.deliver_time = at(ms);
        assert!(read(vec![good]).is_ok(), "{ms}");
    }
}

#[test]
fn empty_and_huge_batches_are_refused() {
    assert_eq!(read(Vec::new()).expect_err("empty")[0].field, "events");
    assert_eq!(read(vec![event(); 1_001]).expect_err("huge")[0].field, "events");
    assert_eq!(read(vec![event(); 1_000]).expect("full").drafts.len(), 1_000);
}

#[test]
fn all_faults_of_a_batch_come_at_once_but_not_without_bound() {
    let mut bad = event();
    bad.r#type.clear();
    assert_eq!(read(vec![bad.clone(); 3]).expect_err("bad").len(), 3);
    assert_eq!(read(vec![bad; 500]).expect_err("bad").len(), 20);
}

#[test]
fn data_that_is_not_json_needs_no_json() {
    let mut text = event();
    text.content_type = "text/plain".to_owned();
    text.data = Bytes::from_static(b"{");
    assert!(read(vec![text]).is_ok());
}

#[test]
fn an_unknown_shape_of_tenant_is_named() {
    let call = v1::PublishEventsRequest {
        parent: "default".to_owned(),
        events: vec![event()],
        validate_only: false,
    };
    let Err(Error::Invalid(faults)) = from_wire(call, None, BOUNDS) else {
        panic!("accepted");
    };
    assert_eq!(faults[0].field, "parent");
}

#[test]
fn only_a_well_formed_trace_context_is_kept() {
    let read = |text: &'static str| {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("traceparent", text.parse().expect("ascii"));
        traceparent(&metadata)
    };
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(read(good).as_deref(), Some(good));
    assert_eq!(read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"), None);
    assert_eq!(read("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), None);
    assert_eq!(read("x"), None);
}
