//! A row for every kind and every number of one.

mod config;
mod delivery;
mod event_type;
mod fact;
mod job;
mod line;

use bytes::Bytes;
use domain::{
    ApiVersion, ContentType, EndpointUid, Event, EventId, EventRef, EventType, LogPosition,
    Position, Revision, RunId, Shard, TenantId, Timestamp,
};
use postrider_codec::{Damaged, decode_event, encode_event};

/// Whether bytes are read as the row that they were written from.
type Check = Box<dyn Fn(&[u8]) -> bool>;

/// A row as it is written now, and whether bytes are read as that row.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_read: Check,
}

impl Sample {
    fn new<T: PartialEq + 'static>(
        name: impl Into<String>,
        row: T,
        encode: impl Fn(&T) -> Vec<u8>,
        decode: impl Fn(&[u8]) -> Result<T, Damaged> + 'static,
    ) -> Self {
        let bytes = encode(&row);
        let is_read = Box::new(move |bytes: &[u8]| decode(bytes).is_ok_and(|read| read == row));
        Self { name: name.into(), bytes, is_read }
    }
}

pub(crate) fn all() -> Vec<Sample> {
    let mut all = vec![
        Sample::new("event-full", full_event(), encode_event, decode_event),
        Sample::new("event-bare", bare_event(), encode_event, decode_event),
    ];
    all.extend(fact::all());
    all.extend(delivery::all());
    all.extend(config::all());
    all.extend(job::all());
    all.extend(line::all());
    all.extend(event_type::all());
    all
}

fn tenant() -> TenantId {
    TenantId::parse("acme").expect("valid")
}

fn endpoint() -> EndpointUid {
    EndpointUid::from_slice(&[0xe1; 16]).expect("16 bytes")
}

fn run(byte: u8) -> RunId {
    RunId::from_slice(&[byte; 16]).expect("16 bytes")
}

fn event() -> EventRef {
    EventRef {
        tenant: tenant(),
        id: EventId::parse("evt_1").expect("valid"),
        at: LogPosition { shard: Shard(3), position: Position(70_000) },
    }
}

/// Milliseconds in 2026.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_772_366_400_000 + ms)
}

fn bare_event() -> Event {
    Event {
        tenant: tenant(),
        id: EventId::parse("evt_1").expect("valid"),
        event_type: EventType::parse("payment.completed").expect("valid"),
        created_at: time(0),
        api_version: ApiVersion::parse("2026-01-01").expect("valid"),
        content_type: ContentType::json(),
        data: Bytes::from_static(b"{\"n\":1}"),
        ordering_key: None,
        idempotency_key: None,
        channels: Vec::new(),
        deliver_at: None,
        revision: None,
        traceparent: None,
    }
}

fn full_event() -> Event {
    Event {
        content_type: ContentType::parse("text/plain").expect("valid"),
        ordering_key: Some("order-7".into()),
        idempotency_key: Some("once".into()),
        channels: vec!["eu".into(), "us".into()],
        deliver_at: Some(time(60_000)),
        revision: Some(Revision(300)),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..bare_event()
    }
}
