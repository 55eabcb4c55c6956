//! The forms of a record that a producer may write (surface §6), each as the same fields, which are then checked as the API checks them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    API_VERSION, CHANNELS, CONTENT_TYPE, DELIVER_AT, ID, IDEMPOTENCY_KEY, ORDERING_KEY, OWN_SOURCE,
    Poison, REVISION, Record, SOURCE, SPEC, TENANT, TIME, TRACEPARENT, TYPE, Trust, id_of_place,
};
use crate::{
    ApiVersion, ContentType, Event, EventId, EventType, LogPosition, Revision, TenantId, Timestamp,
    is_channel, limits,
};

/// The media type of a structured CloudEvent.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// Where a form has a field, for what is wrong with it.
#[derive(Clone, Copy)]
struct Names {
    /// What the form is called.
    form: &'static str,
    is_cloud_event: bool,
    id: &'static str,
    event_type: &'static str,
    time: &'static str,
    content_type: &'static str,
    api_version: &'static str,
    idempotency_key: &'static str,
    ordering_key: &'static str,
    deliver_at: &'static str,
    channels: &'static str,
    data: &'static str,
}

const BINARY: Names = Names {
    form: "a CloudEvent in binary mode",
    is_cloud_event: true,
    id: ID,
    event_type: TYPE,
    time: TIME,
    content_type: CONTENT_TYPE,
    api_version: API_VERSION,
    idempotency_key: IDEMPOTENCY_KEY,
    ordering_key: ORDERING_KEY,
    deliver_at: DELIVER_AT,
    channels: CHANNELS,
    data: "value",
};
const STRUCTURED: Names = Names {
    form: "a CloudEvent",
    is_cloud_event: true,
    id: "id",
    event_type: "type",
    time: "time",
    content_type: "datacontenttype",
    api_version: "postriderapiversion",
    idempotency_key: "postrideridempotencykey",
    ordering_key: "postriderorderingkey",
    deliver_at: "postriderdeliverat",
    channels: "postriderchannels",
    data: "data",
};
const ENVELOPE: Names = Names {
    form: "an envelope with type and data (or headers ce_type and so on)",
    is_cloud_event: false,
    id: "id",
    event_type: "type",
    time: "created_at",
    content_type: "content_type",
    api_version: "api_version",
    idempotency_key: "idempotency_key",
    ordering_key: "ordering_key",
    deliver_at: "deliver_time",
    channels: "channels",
    data: "data",
};

/// What a record says, not checked yet.
pub(super) struct Draft<'a> {
    names: Names,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    api_version: Option<Cow<'a, str>>,
    idempotency_key: Option<Cow<'a, str>>,
    ordering_key: Option<Cow<'a, str>>,
    deliver_at: Option<Cow<'a, str>>,
    channels: Option<Cow<'a, str>>,
    tenant: Option<&'a str>,
    revision: Option<&'a str>,
    traceparent: Option<&'a str>,
    data: Bytes,
}

/// Reads a record in the form that it is in.
pub(super) fn of(record: &Record) -> Result<Draft<'_>, Poison> {
    let essence = record.text(CONTENT_TYPE).and_then(|text| text.split(';').next());
    if essence.is_some_and(|text| text.trim().eq_ignore_ascii_case(CLOUD_EVENT)) {
        return json(record, STRUCTURED);
    }
    let is_binary = record.headers.iter().any(|(name, _)| name.starts_with("ce_"));
    if is_binary { binary(record) } else { json(record, ENVELOPE) }
}

fn binary(record: &Record) -> Result<Draft<'_>, Poison> {
    let text = |name| record.text(name).map(Cow::Borrowed);
    check_version(SPEC, record.text(SPEC))?;
    Ok(Draft {
        names: BINARY,
        id: text(ID),
        source: text(SOURCE),
        event_type: text(TYPE),
        time: text(TIME),
        content_type: text(CONTENT_TYPE),
        api_version: text(API_VERSION),
        idempotency_key: text(IDEMPOTENCY_KEY),
        ordering_key: text(ORDERING_KEY),
        deliver_at: text(DELIVER_AT),
        channels: text(CHANNELS),
        tenant: record.text(TENANT),
        revision: record.text(REVISION),
        traceparent: record.text(TRACEPARENT),
        data: record.value.clone().unwrap_or_default(),
    })
}

/// A structured CloudEvent or an envelope. What a header of ours says comes first: it is what a producer adds to bodies that it does not make.
fn json(record: &Record, names: Names) -> Result<Draft<'_>, Poison> {
    let fault = |reason: String| Poison { field: "value", reason };
    let value = record.value.as_deref().unwrap_or_default();
    let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(value)
        .map_err(|error| fault(format!("is not the JSON object of {}: {error}", names.form)))?;
    let (data, base64) = (fields.remove("data"), fields.remove("data_base64"));
    let text = |name: &'static str, header: &str| -> Result<Option<Cow<'_, str>>, Poison> {
        if let Some(text) = record.text(header) {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let raw = fields.get(name).copied().or_else(|| fields.get(camel(name).as_ref()).copied());
        let Some(raw) = raw else { return Ok(None) };
        let value = serde_json::from_str(raw.get()).unwrap_or_default();
        match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(Cow::Owned(text))),
            Value::Bool(_) | Value::Number(_) => Ok(Some(Cow::Owned(value.to_string()))),
            Value::Array(items) if name == names.channels => {
                let items = items.iter().map(|item| item.as_str().unwrap_or("?"));
                Ok(Some(Cow::Owned(items.collect::<Vec<_>>().join(","))))
            }
            Value::Array(_) | Value::Object(_) => {
                Err(Poison { field: name, reason: "must be a string".to_owned() })
            }
        }
    };
    if names.is_cloud_event {
        check_version("specversion", text("specversion", SPEC)?.as_deref())?;
    }
    let mut draft = Draft {
        names,
        id: text(names.id, ID)?,
        source: text("source", SOURCE)?.filter(|_| names.is_cloud_event),
        event_type: text(names.event_type, TYPE)?,
        time: text(names.time, TIME)?,
        content_type: text(names.content_type, "")?,
        api_version: text(names.api_version, API_VERSION)?,
        idempotency_key: text(names.idempotency_key, IDEMPOTENCY_KEY)?,
        ordering_key: text(names.ordering_key, ORDERING_KEY)?,
        deliver_at: text(names.deliver_at, DELIVER_AT)?,
        channels: text(names.channels, CHANNELS)?,
        tenant: record.text(TENANT),
        revision: record.text(REVISION),
        traceparent: record.text(TRACEPARENT),
        data: Bytes::new(),
    };
    draft.data = body(record, data, base64, draft.content_type.as_deref())?;
    Ok(draft)
}

/// The data, byte for byte as it lies in the record where it is JSON.
fn body(
    record: &Record,
    data: Option<&RawValue>,
    base64: Option<&RawValue>,
    content_type: Option<&str>,
) -> Result<Bytes, Poison> {
    let fault = |field, reason: &str| Err(Poison { field, reason: reason.to_owned() });
    let is_json = content_type.is_none_or(|text| {
        ContentType::parse(text).is_ok_and(|content_type| content_type.is_json())
    });
    match (data, base64) {
        (Some(_), Some(_)) => fault("data_base64", "and data are given: give one of them"),
        (None, None) => Ok(Bytes::new()),
        (None, Some(raw)) => {
            let decoded = serde_json::from_str::<String>(raw.get()).ok();
            match decoded.and_then(|text| BASE64.decode(text).ok()) {
                Some(bytes) => Ok(bytes.into()),
                None => fault("data_base64", "must be a string of base64"),
            }
        }
        // Text of another type lies as a JSON string.
        (Some(raw), None) if !is_json && let Ok(text) = serde_json::from_str(raw.get()) => {
            Ok(Bytes::from(String::into_bytes(text)))
        }
        (Some(raw), None) => Ok(match &record.value {
            Some(value) => value.slice_ref(raw.get().as_bytes()),
            None => Bytes::new(),
        }),
    }
}

/// `created_at` as `createdAt`: what the API's JSON calls it.
fn camel(name: &str) -> Cow<'_, str> {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default();
    let rest = words.map(|word| {
        let (head, tail) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{}{tail}", head.to_ascii_uppercase())
    });
    Cow::Owned(std::iter::once(first.to_owned()).chain(rest).collect())
}

fn check_version(field: &'static str, version: Option<&str>) -> Result<(), Poison> {
    match version {
        None | Some("1.0") => Ok(()),
        Some(other) => {
            Err(Poison { field, reason: format!("{other:?} is not supported: it must be 1.0") })
        }
    }
}

impl Draft<'_> {
    /// Checks all of it.
    pub(super) fn event(
        self,
        at: LogPosition,
        log_time: Timestamp,
        trust: &Trust,
        api_version: &ApiVersion,
    ) -> Result<Event, Poison> {
        let poison =
            |field: &'static str| move |e: crate::IdError| Poison { field, reason: e.to_string() };
        let names = self.names;
        let event_type = self.event_type.as_deref().ok_or_else(|| Poison {
            field: names.event_type,
            reason: "missing; it must be a type such as payment.completed".to_owned(),
        })?;
        let event_type = EventType::parse(event_type).map_err(poison(names.event_type))?;
        // Who may speak for any tenant is believed to be Postrider too, where it says so.
        let is_own = *trust == Trust::AnyTenant && self.source.as_deref() == Some(OWN_SOURCE);
        if event_type.is_operational() && !is_own {
            let reason = "types that begin with postrider. are Postrider's own".to_owned();
            return Err(Poison { field: names.event_type, reason });
        }
        let content_type = self
            .content_type
            .as_deref()
            .map_or_else(|| Ok(ContentType::json()), ContentType::parse);
        let version = self.api_version.as_deref();
        let version = version.map_or_else(|| Ok(api_version.clone()), ApiVersion::parse);
        let tenant = tenant(self.tenant, trust)?;
        let idempotency_key = key(names.idempotency_key, self.idempotency_key.as_deref())?;
        let id = match (self.id.as_deref(), self.source.as_deref()) {
            (None, _) => match &idempotency_key {
                Some(key) => EventId::of_key(&tenant, key),
                None => id_of_place(at),
            },
            (Some(id), Some(source)) => EventId::of_cloud_event(source, id),
            (Some(id), None) => EventId::parse(id).map_err(poison(names.id))?,
        };
        let created_at = time(names.time, self.time.as_deref())?;
        let event = Event {
            tenant,
            id,
            event_type,
            created_at: created_at.unwrap_or(log_time),
            api_version: version.map_err(poison(names.api_version))?,
            content_type: content_type.map_err(poison(names.content_type))?,
            ordering_key: key(names.ordering_key, self.ordering_key.as_deref())?,
            idempotency_key,
            channels: channels(names.channels, self.channels.as_deref())?,
            deliver_at: time(names.deliver_at, self.deliver_at.as_deref())?,
            // Stamped by the API. From anybody else, a wrong one would let the workers wait for it.
            revision: self
                .revision
                .filter(|_| *trust == Trust::AnyTenant)
                .and_then(|text| text.parse().ok())
                .map(Revision),
            traceparent: self.traceparent.map(Arc::from),
            data: self.data,
        };
        check_data(names.data, &event)?;
        Ok(event)
    }
}

fn tenant(named: Option<&str>, trust: &Trust) -> Result<TenantId, Poison> {
    let named = named.map(TenantId::parse).transpose();
    let named = named.map_err(|error| Poison { field: TENANT, reason: error.to_string() })?;
    match (named, trust) {
        (Some(named), Trust::Only(tenant)) if named != *tenant => Err(Poison {
            field: TENANT,
            reason: format!("is {named}, and the topic is bound to tenant {tenant}"),
        }),
        (_, Trust::Only(tenant)) => Ok(tenant.clone()),
        (named, Trust::AnyTenant) => Ok(named.unwrap_or_else(TenantId::default_tenant)),
    }
}

fn check_data(field: &'static str, event: &Event) -> Result<(), Poison> {
    let fault = |reason: String| Err(Poison { field, reason });
    if event.data.len() > limits::EVENT_BODY_BYTES_MAX {
        let max = limits::EVENT_BODY_BYTES_MAX;
        return fault(format!("{} bytes long; {max} are allowed", event.data.len()));
    }
    if event.content_type.is_json()
        && !event.data.is_empty()
        && let Err(error) = serde_json::from_slice::<&RawValue>(&event.data)
    {
        return fault(format!("says it is JSON and is not: {error}"));
    }
    Ok(())
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Poison> {
    let Some(text) = text else { return Ok(None) };
    match Timestamp::parse_rfc3339(text) {
        Some(time) => Ok(Some(time)),
        None => Err(Poison { field, reason: format!("{text:?} is not an RFC 3339 time") }),
    }
}

fn key(field: &'static str, text: Option<&str>) -> Result<Option<Arc<str>>, Poison> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let max = limits::KEY_BYTES_MAX;
    if text.len() > max {
        let reason = format!("{} bytes long; {max} are allowed", text.len());
        return Err(Poison { field, reason });
    }
    Ok(Some(text.into()))
}

fn channels(field: &'static str, text: Option<&str>) -> Result<Vec<Arc<str>>, Poison> {
    let mut channels: Vec<Arc<str>> = Vec::new();
    let named = text.unwrap_or_default().split(',').map(str::trim);
    for channel in named.filter(|channel| !channel.is_empty()) {
        if !is_channel(channel) {
            let channel: String = channel.chars().take(80).collect();
            let reason =
                format!("{channel:?} is not a channel: 1 to 128 of A-Z, a-z, 0-9, _ . : / and -");
            return Err(Poison { field, reason });
        }
        if !channels.iter().any(|known| **known == *channel) {
            channels.push(channel.into());
        }
    }
    if channels.len() > limits::CHANNELS_MAX {
        let (count, max) = (channels.len(), limits::CHANNELS_MAX);
        return Err(Poison { field, reason: format!("{count} channels, allowed are {max}") });
    }
    Ok(channels)
}

#[cfg(test)]
mod tests;
