//! How an event lies in the log: a CloudEvents 1.0 record in Kafka's binary mode, the same that plain producers write (surface §6).
//!
//! Attributes are headers, the value is the data, untouched. Unknown headers are kept out of the event and never an error. Producers may write two further
//! forms, which are read alike (`form`).

mod form;

use bytes::Bytes;

use crate::{ApiVersion, Event, EventId, LogPosition, TenantId, Timestamp};

/// A record of the log, without its place.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Decides the shard; records of one key keep their order.
    pub key: Option<Bytes>,
    /// Names may repeat, values may be null or any bytes.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The body; `None` is Kafka's null value.
    pub value: Option<Bytes>,
}

impl Record {
    /// Bytes of key, headers and value together.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, Bytes::len));
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers.sum::<usize>()
    }

    /// The last value of a header; `None` when it is missing, null or not UTF-8.
    fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(n, _)| n == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// How far the words of whoever wrote a record are believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It may speak for any tenant: it names one, or means `default`.
    AnyTenant,
    /// It speaks for this tenant alone.
    Only(TenantId),
}

/// A record that is no event. It goes to the quarantine; it never blocks a shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Poison {
    /// The header, or `value`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const SOURCE: &str = "ce_source";
/// The source of what Postrider writes itself.
const OWN_SOURCE: &str = "postrider";
const SPEC: &str = "ce_specversion";
const TIME: &str = "ce_time";
const CONTENT_TYPE: &str = "content-type";
const TENANT: &str = "postrider_tenant";
const API_VERSION: &str = "postrider_api_version";
const IDEMPOTENCY_KEY: &str = "postrider_idempotency_key";
const ORDERING_KEY: &str = "postrider_ordering_key";
const DELIVER_AT: &str = "postrider_deliver_at";
const CHANNELS: &str = "postrider_channels";
const REVISION: &str = "postrider_revision";
const TRACEPARENT: &str = "traceparent";

/// Writes an event as a record. Its key is the ordering key, else the event's id.
#[must_use]
pub fn encode(event: &Event) -> Record {
    let mut headers = Vec::with_capacity(12);
    let mut put = |name: &str, value: &str| {
        headers.push((name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))));
    };
    put(SPEC, "1.0");
    put(ID, event.id.as_str());
    put(TYPE, event.event_type.as_str());
    put(SOURCE, OWN_SOURCE);
    put(TIME, &event.created_at.to_rfc3339());
    put(CONTENT_TYPE, event.content_type.as_str());
    put(TENANT, event.tenant.as_str());
    put(API_VERSION, event.api_version.as_str());
    if let Some(key) = &event.idempotency_key {
        put(IDEMPOTENCY_KEY, key);
    }
    if let Some(key) = &event.ordering_key {
        put(ORDERING_KEY, key);
    }
    if let Some(at) = event.deliver_at {
        put(DELIVER_AT, &at.to_rfc3339());
    }
    if !event.channels.is_empty() {
        put(CHANNELS, &event.channels.join(","));
    }
    if let Some(revision) = event.revision {
        put(REVISION, &revision.0.to_string());
    }
    if let Some(trace) = &event.traceparent {
        put(TRACEPARENT, trace);
    }
    let key = event.ordering_key.as_deref().unwrap_or(event.id.as_str());
    Record {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        headers,
        value: Some(event.data.clone()),
    }
}

/// Reads a record as an event, in any of its forms: a CloudEvent in binary mode, a structured one, or the JSON envelope.
///
/// `at` and `log_time` are the record's place and time: an event without an id gets one from its idempotency key, else from its place, one without a time gets the record's.
/// `trust` decides whose event it is. `api_version` stands in for a missing one.
///
/// # Errors
/// [`Poison`] names the header or field and what is wrong with it, or the tenant that the record may not speak for.
pub fn decode(
    record: &Record,
    at: LogPosition,
    log_time: Timestamp,
    trust: &Trust,
    api_version: &ApiVersion,
) -> Result<Event, Poison> {
    form::of(record)?.event(at, log_time, trust, api_version)
}

/// Whether an event of this place has an id of its own, and not the one of its place.
#[must_use]
pub fn has_own_id(event: &Event, at: LogPosition) -> bool {
    event.id != id_of_place(at)
}

/// The id of a record that has neither id nor idempotency key: `log_<shard>_<position>`, the same at every read.
fn id_of_place(at: LogPosition) -> EventId {
    let text = format!("log_{}_{}", at.shard.0, at.position.0);
    EventId::parse(&text).expect("digits and underscores within 64 characters are a valid id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, EventType, Position, Revision, Shard, TenantId};

    const AT: LogPosition = LogPosition { shard: Shard(3), position: Position(9) };

    fn version() -> ApiVersion {
        ApiVersion::parse("2026-01-01").expect("valid")
    }

    fn event() -> Event {
        Event {
            tenant: TenantId::parse("acme").expect("valid"),
            id: EventId::parse("evt_1").expect("valid"),
            event_type: EventType::parse("payment.completed").expect("valid"),
            created_at: Timestamp::from_millis(1_700_000_000_123),
            api_version: version(),
            content_type: ContentType::json(),
            data: Bytes::from_static(b"{\"a\": 1}"),
            ordering_key: Some("order-1".into()),
            idempotency_key: Some("k".into()),
            channels: vec!["a".into(), "b".into()],
            deliver_at: Some(Timestamp::from_millis(1_700_000_100_000)),
            revision: Some(Revision(12)),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        }
    }

    #[test]
    fn an_event_survives_its_record() {
        let record = encode(&event());
        assert_eq!(record.key.as_deref(), Some(&b"order-1"[..]));
        assert_eq!(
            decode(&record, AT, Timestamp::ZERO, &Trust::AnyTenant, &version()),
            Ok(event())
        );
    }

    #[test]
    fn a_bare_record_gets_its_id_and_time_from_the_log() {
        let headers = vec![(TYPE.to_owned(), Some(Bytes::from_static(b"a.b")))];
        let record = Record { key: None, headers, value: Some(Bytes::from_static(b"1")) };
        let time = Timestamp::from_millis(5);
        let event = decode(&record, AT, time, &Trust::AnyTenant, &version()).expect("an event");
        assert_eq!(event.id.as_str(), "log_3_9");
        assert_eq!(event.created_at, Timestamp::from_millis(5));
        assert_eq!(event.tenant, TenantId::default_tenant());
    }

    #[test]
    fn a_record_that_speaks_for_one_tenant_is_believed_about_no_other() {
        let of = |tenant| Trust::Only(TenantId::parse(tenant).expect("valid"));
        let read = |record: &Record, trust| decode(record, AT, Timestamp::ZERO, &trust, &version());
        let own = read(&encode(&event()), of("acme")).expect("its own tenant");
        assert_eq!(own, Event { revision: None, ..event() }, "only the API knows revisions");
        let poison = read(&encode(&event()), of("globex")).expect_err("poison");
        assert_eq!(poison.field, TENANT);
        assert!(poison.reason.contains("acme") && poison.reason.contains("globex"), "{poison}");
        let mut unnamed = encode(&event());
        unnamed.headers.retain(|(name, _)| name != TENANT);
        let bound = read(&unnamed, of("globex")).expect("an event");
        assert_eq!(bound.tenant.as_str(), "globex");
    }

    #[test]
    fn an_operational_event_is_believed_from_postrider_alone() {
        let operational = Event {
            event_type: EventType::parse("postrider.endpoint.disabled").expect("valid"),
            ..event()
        };
        let own = encode(&operational);
        let read = |record: &Record, trust: &Trust| {
            decode(record, AT, Timestamp::ZERO, trust, &version()).map_err(|poison| poison.field)
        };
        assert_eq!(read(&own, &Trust::AnyTenant), Ok(operational));
        let bound = Trust::Only(TenantId::parse("acme").expect("valid"));
        assert_eq!(read(&own, &bound), Err(TYPE), "a topic that is bound to a tenant");
        let mut foreign = own;
        foreign.headers.push((SOURCE.to_owned(), Some(Bytes::from_static(b"shop"))));
        assert_eq!(read(&foreign, &Trust::AnyTenant), Err(TYPE));
    }

    #[test]
    fn poison_names_the_header_and_the_fault() {
        let fault = |name: &str, value: &'static [u8]| {
            let mut record = encode(&event());
            record.headers.push((name.to_owned(), Some(Bytes::from_static(value))));
            decode(&record, AT, Timestamp::ZERO, &Trust::AnyTenant, &version())
                .expect_err("poison")
                .field
        };
        assert_eq!(fault(TYPE, b"nodots"), TYPE);
        assert_eq!(fault(TENANT, b"No Tenant"), TENANT);
        assert_eq!(fault(TIME, b"yesterday"), TIME);
        let mut broken = encode(&event());
        broken.value = Some(Bytes::from_static(b"{"));
        assert_eq!(
            decode(&broken, AT, Timestamp::ZERO, &Trust::AnyTenant, &version())
                .expect_err("poison")
                .field,
            "value"
        );
    }
}
