//! Messages into JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// Writes a message as JSON text, by the rules in the documentation of [`super`].
///
/// # Errors
/// When a time or a duration is out of range: a bug of the handler.
pub fn to_json(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&MessageJson(message))
}

/// Whether a media type is JSON: `application/json`, any `…+json`, or none given.
pub(super) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.is_empty() || media_type == "application/json" || media_type.ends_with("+json")
}

/// A message, by the rules in the documentation of [`super`].
pub(super) struct MessageJson<'m>(pub(super) &'m DynamicMessage);

impl Serialize for MessageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let descriptor = self.0.descriptor();
        if descriptor.full_name() == "google.protobuf.Any" {
            return serialize_any(self.0, serializer);
        }
        if descriptor.full_name() == "google.protobuf.Duration" {
            return serialize_duration(self.0, serializer);
        }
        if descriptor.package_name() == "google.protobuf" {
            return self.0.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        entries(self.0, &mut map)?;
        map.end()
    }
}

fn entries<M: SerializeMap>(message: &DynamicMessage, map: &mut M) -> Result<(), M::Error> {
    let descriptor = message.descriptor();
    let content_type = descriptor.get_field_by_name("content_type");
    for field in descriptor.fields() {
        if !is_shown(message, &field) {
            continue;
        }
        let value = message.get_field(&field);
        match (&content_type, &*value) {
            (Some(content_type), Value::Bytes(data)) if field.name() == "data" => {
                let content_type = message.get_field(content_type);
                body(data, content_type.as_str().unwrap_or_default(), map)?;
            }
            (_, value) => {
                map.serialize_entry(field.json_name(), &ValueJson(value, &field.kind()))?
            }
        }
    }
    Ok(())
}

/// Lists, maps, numbers and booleans always; the rest when it is set.
fn is_shown(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    if message.has_field(field) || field.is_list() || field.is_map() {
        return true;
    }
    let has_zero =
        !matches!(field.kind(), Kind::Message(_) | Kind::String | Kind::Bytes | Kind::Enum(_));
    has_zero && !field.supports_presence()
}

/// The body of an event: JSON as it stands, other text as a string, other bytes as base64.
fn body<M: SerializeMap>(data: &[u8], content_type: &str, map: &mut M) -> Result<(), M::Error> {
    if is_json(content_type)
        && let Ok(json) = serde_json::from_slice::<&RawValue>(data)
    {
        return map.serialize_entry("data", json);
    }
    match std::str::from_utf8(data) {
        Ok(text) => map.serialize_entry("data", text),
        Err(_) => map.serialize_entry("dataBase64", &BASE64_STANDARD.encode(data)),
    }
}

/// A value of a field of the given kind.
struct ValueJson<'v>(&'v Value, &'v Kind);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            // proto3 JSON: 64 bits do not fit a JavaScript number.
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) => serialize_float(f64::from(*value), serializer),
            Value::F64(value) => serialize_float(*value, serializer),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => serializer.serialize_str(&BASE64_STANDARD.encode(value)),
            Value::EnumNumber(number) => serialize_enum(*number, self.1, serializer),
            Value::Message(message) => MessageJson(message).serialize(serializer),
            Value::List(items) => {
                serializer.collect_seq(items.iter().map(|item| ValueJson(item, self.1)))
            }
            Value::Map(map) => serialize_map(map.iter(), self.1, serializer),
        }
    }
}

/// A map in the order of its keys, so that an answer is the same each time.
fn serialize_map<'v, S: Serializer>(
    entries: impl Iterator<Item = (&'v MapKey, &'v Value)>,
    kind: &Kind,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Kind::Message(entry) = kind else {
        return Err(S::Error::custom("a map without entries"));
    };
    let kind = entry.map_entry_value_field().kind();
    let sorted: BTreeMap<&MapKey, &Value> = entries.collect();
    serializer.collect_map(
        sorted.into_iter().map(|(key, value)| (key_text(key), ValueJson(value, &kind))),
    )
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// A number; whole ones without `.0`, what JSON has no number for as proto3 JSON's string.
fn serialize_float<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        return serializer.serialize_str("NaN");
    }
    if value.is_infinite() {
        return serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2⁵³")]
        return serializer.serialize_i64(value as i64);
    }
    serializer.serialize_f64(value)
}

/// Seconds with as many decimals as are needed: `30s`, `3.5s`.
fn serialize_duration<S: Serializer>(
    duration: &DynamicMessage,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let duration: prost_types::Duration = duration.transcode_to().map_err(S::Error::custom)?;
    let sign = if duration.seconds < 0 || duration.nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (duration.seconds.unsigned_abs(), duration.nanos.unsigned_abs());
    let fraction = format!("{nanos:09}");
    match fraction.trim_end_matches('0') {
        "" => serializer.collect_str(&format_args!("{sign}{seconds}s")),
        fraction => serializer.collect_str(&format_args!("{sign}{seconds}.{fraction}s")),
    }
}

/// An enum by name; a number that this build does not know stays a number.
fn serialize_enum<S: Serializer>(
    number: i32,
    kind: &Kind,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match kind.as_enum().and_then(|descriptor| descriptor.get_value(number)) {
        Some(value) => serializer.serialize_str(value.name()),
        None => serializer.serialize_i32(number),
    }
}

/// `{"@type":…, fields…}`; of a type that this build does not know, `{"@type":…, "value": base64}`.
fn serialize_any<S: Serializer>(any: &DynamicMessage, serializer: S) -> Result<S::Ok, S::Error> {
    let any: prost_types::Any = any.transcode_to().map_err(S::Error::custom)?;
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("@type", &any.type_url)?;
    match unpack(&any) {
        Some(message) => entries(&message, &mut map)?,
        None => map.serialize_entry("value", &BASE64_STANDARD.encode(&any.value))?,
    }
    map.end()
}

fn unpack(any: &prost_types::Any) -> Option<DynamicMessage> {
    let name = any.type_url.rsplit('/').next()?;
    let descriptor = wire::descriptor_pool().get_message_by_name(name)?;
    if descriptor.package_name() == "google.protobuf" {
        return None;
    }
    DynamicMessage::decode(descriptor, any.value.as_slice()).ok()
}
