//! Small valid values.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::record::Record;
use domain::{
    ApiVersion, Attempt, AttemptId, BacklogKey, BacklogRow, CommandId, ContentType, DeadLetter,
    DeadLetterId, DeadLetterReason, DeliveryPolicy, Disposition, Endpoint, EndpointId,
    EndpointState, EndpointUid, Event, EventId, EventPattern, EventRef, EventType, Fact, FactKind,
    LaneKey, LogPosition, OutcomeKind, Position, Revision, RunId, SealedSecret, Seq, Shard,
    Subscription, SubscriptionId, TenantId, Timestamp, Trigger, WaitReason,
};

use uuid::Uuid;

use crate::{EndpointConfig, StoredEvent};

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a valid tenant id")
}

pub(super) fn event_id(name: &str) -> EventId {
    EventId::parse(name).expect("a valid event id")
}

fn id(kind: u8, number: u64) -> [u8; 16] {
    (u128::from(kind) << 120 | u128::from(number)).to_be_bytes()
}

pub(super) fn uid(number: u64) -> EndpointUid {
    EndpointUid::from_slice(&id(1, number)).expect("16 bytes")
}

pub(super) fn run(number: u64) -> RunId {
    RunId::from_slice(&id(2, number)).expect("16 bytes")
}

pub(super) fn attempt_id(number: u64) -> AttemptId {
    AttemptId::from_slice(&id(3, number)).expect("16 bytes")
}

/// A UUIDv7 of the command's time.
pub(super) fn command_id(number: u64, time: Timestamp) -> CommandId {
    let ms = u128::try_from(time.as_millis()).expect("after the epoch");
    CommandId(Uuid::from_u128(ms << 80 | 7 << 76 | 2 << 62 | u128::from(number)))
}

pub(super) fn at(shard: u16, position: u64) -> LogPosition {
    LogPosition { shard: Shard(shard), position: Position(position) }
}

pub(super) fn event_ref(tenant_name: &str, name: &str, position: u64) -> EventRef {
    EventRef { tenant: tenant(tenant_name), id: event_id(name), at: at(1, position) }
}

/// An event in which every field is set.
pub(super) fn stored_event(event: &EventRef, data: &str) -> StoredEvent {
    let body = Event {
        tenant: event.tenant.clone(),
        id: event.id.clone(),
        event_type: EventType::parse("payment.completed").expect("valid"),
        created_at: Timestamp::from_millis(1_700_000_000_123),
        api_version: ApiVersion::parse("2026-01-01").expect("valid"),
        content_type: ContentType::parse("text/plain; charset=utf-8").expect("valid"),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ordering_key: Some("order 1".into()),
        idempotency_key: Some("schlüssel".into()),
        channels: vec!["a".into(), "b".into()],
        deliver_at: Some(Timestamp::from_millis(1_700_000_100_000)),
        revision: Some(Revision(12)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    };
    StoredEvent { at: event.clone(), event: Arc::new(body) }
}

pub(super) fn attempt(
    event: &EventRef,
    endpoint: EndpointUid,
    number: u64,
    time: Timestamp,
) -> Fact {
    let attempt = Attempt {
        number: u32::try_from(number).unwrap_or(u32::MAX),
        trigger: Trigger::Retry,
        outcome: OutcomeKind::Answered(503),
        duration: Duration::from_micros(1_234_567),
        excerpt: Bytes::from_static(b"busy \xff"),
        detail: "try later".to_owned(),
        signatures: 2,
        disposition: Disposition::Retry { next: time + Duration::from_secs(10) },
    };
    Fact {
        event: event.clone(),
        endpoint,
        run: RunId::LOG,
        id: attempt_id(number),
        time,
        kind: FactKind::Attempt(attempt),
    }
}

pub(super) fn mark(event: &EventRef, endpoint: EndpointUid, number: u64, time: Timestamp) -> Fact {
    Fact { kind: FactKind::Cancelled, ..attempt(event, endpoint, number, time) }
}

pub(super) fn lane(shard: u16, endpoint: u64) -> LaneKey {
    LaneKey { shard: Shard(shard), endpoint: uid(endpoint) }
}

pub(super) fn key(due: i64, seq: u64) -> BacklogKey {
    BacklogKey { due: Timestamp::from_millis(due), seq: Seq(seq) }
}

pub(super) fn backlog_row(due: i64, seq: u64) -> BacklogRow {
    BacklogRow {
        key: key(due, seq),
        event: event_ref("acme", "evt_1", seq),
        run: run(7),
        number: 3,
        trigger: Trigger::Event,
        reason: WaitReason::Overflow,
        first_due: Timestamp::from_millis(due - 5),
    }
}

pub(super) fn dead_letter(
    endpoint: u64,
    name: &str,
    run_number: u64,
    time: Timestamp,
) -> DeadLetter {
    let event = event_ref("acme", name, 4);
    DeadLetter {
        id: DeadLetterId::of(uid(endpoint), &event),
        tenant: tenant("acme"),
        endpoint: uid(endpoint),
        url: "https://example.com/hook".to_owned(),
        event,
        event_type: "payment.completed".to_owned(),
        reason: DeadLetterReason::Exhausted,
        last_outcome: Some(OutcomeKind::Answered(500)),
        attempts: 8,
        run: run(run_number),
        time,
    }
}

pub(super) fn endpoint(tenant_name: &str, name: &str, number: u64) -> EndpointConfig {
    let time = Timestamp::from_millis(1_700_000_000_000);
    let endpoint = Endpoint {
        tenant: tenant(tenant_name),
        id: EndpointId::parse(name).expect("a valid endpoint id"),
        uid: uid(number),
        display_name: "Orders".to_owned(),
        description: "where orders go".to_owned(),
        url: "https://example.com/hook".to_owned(),
        headers: [("x-team".to_owned(), "core".to_owned())].into(),
        state: EndpointState::Active,
        state_time: time,
        policy: DeliveryPolicy::default(),
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        create_time: time,
        update_time: time,
        revision: Revision(0),
    };
    let secret = |version, not_after| SealedSecret {
        version,
        create_time: time,
        not_after,
        sealed: Bytes::from_static(b"\x01sealed"),
    };
    EndpointConfig { endpoint, secrets: vec![secret(2, None), secret(1, Some(time))] }
}

pub(super) fn subscription(tenant_name: &str, endpoint: &str, name: &str) -> Subscription {
    let time = Timestamp::from_millis(1_700_000_000_000);
    let patterns = ["payment.*", "order.created", "*"];
    let pattern = |text: &&str| EventPattern::parse(text).expect("a valid pattern");
    Subscription {
        tenant: tenant(tenant_name),
        endpoint: EndpointId::parse(endpoint).expect("a valid endpoint id"),
        id: SubscriptionId::parse(name).expect("a valid subscription id"),
        event_types: patterns.iter().map(pattern).collect(),
        filter: "data.amount > 1".to_owned(),
        channels: vec!["eu".into()],
        create_time: time,
        update_time: time,
        revision: Revision(0),
    }
}

/// A record with a key and a number as its value.
pub(super) fn record(key: Option<&str>, number: usize) -> Record {
    Record {
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        headers: vec![("n".to_owned(), Some(Bytes::from(number.to_string())))],
        value: Some(Bytes::from(number.to_string())),
    }
}
