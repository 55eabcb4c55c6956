//! The body of `events:publish`: the one body that is read by hand.
//!
//! `data` is any JSON value there, and what is delivered and signed is the very text between its first and its last byte,
//! whatever its spacing, key order or numbers. Every other field goes the way of all fields, so that names, types and faults
//! are those of [`super::decode`].

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, Value};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::path::{Path, Violation};
use super::{decode, encode, scalar};

/// The method whose body this is.
const METHOD: &str = "postrider.api.v1.EventService.PublishEvents";

type Object<'b> = BTreeMap<String, &'b RawValue>;

pub(super) fn is_publish(rpc: &MethodDescriptor) -> bool {
    rpc.full_name() == METHOD
}

/// Makes a `PublishEventsRequest` of a body.
pub(super) fn decode(input: &MessageDescriptor, body: &[u8]) -> Result<DynamicMessage, Violation> {
    let root = Path::Root;
    let text =
        std::str::from_utf8(body).map_err(|error| root.fault(format!("is not UTF-8: {error}")))?;
    let object = object(text, root)?;
    let mut request = DynamicMessage::new(input.clone());
    for (name, raw) in &object {
        let field = decode::find(input, name, root)?;
        let at = root.field(name);
        check_once(&request, &field, at)?;
        let value = match field.kind().as_message() {
            Some(event) if field.name() == "events" => events(event, raw, at)?,
            _ => decode::field(&field, &value(raw, at)?, at)?,
        };
        if let Some(value) = value {
            decode::set(&mut request, &field, value, at)?;
        }
    }
    Ok(request)
}

fn events(
    descriptor: &MessageDescriptor,
    raw: &RawValue,
    path: Path<'_>,
) -> Result<Option<Value>, Violation> {
    let items: Option<Vec<&RawValue>> = serde_json::from_str(raw.get())
        .map_err(|_| path.fault(format!("must be an array, not {}", kind_of(raw))))?;
    let event =
        |(index, raw)| event(descriptor, raw, Path::Index(&path, index)).map(Value::Message);
    let items =
        items.map(|items| items.into_iter().enumerate().map(event).collect::<Result<_, _>>());
    Ok(items.transpose()?.map(Value::List))
}

fn event(
    descriptor: &MessageDescriptor,
    raw: &RawValue,
    path: Path<'_>,
) -> Result<DynamicMessage, Violation> {
    let mut object = object(raw.get(), path)?;
    let data = object.remove("data");
    let base64 = match (object.remove("dataBase64"), object.remove("data_base64")) {
        (Some(_), Some(_)) => {
            return Err(path.field("data_base64").fault(is_twice("dataBase64")));
        }
        (camel, snake) => camel.or(snake),
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, raw) in &object {
        let field = decode::find(descriptor, name, path)?;
        let at = path.field(name);
        check_once(&message, &field, at)?;
        if let Some(value) = decode::field(&field, &value(raw, at)?, at)? {
            decode::set(&mut message, &field, value, at)?;
        }
    }
    let content_type = message.get_field_by_name("content_type");
    let content_type =
        content_type.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let bytes = match (data, base64) {
        (None, None) => return Ok(message),
        (Some(_), Some(_)) => {
            return Err(path.field("dataBase64").fault("and data are given: give one of them"));
        }
        (Some(data), None) => body_of(data, &content_type, path.field("data"))?,
        (None, Some(base64)) => {
            let at = path.field("dataBase64");
            let text: String = serde_json::from_str(base64.get())
                .map_err(|_| at.fault(format!("must be a string, not {}", kind_of(base64))))?;
            scalar::bytes(&text, at)?
        }
    };
    let field = decode::find(descriptor, "data", path)?;
    decode::set(&mut message, &field, Value::Bytes(bytes), path.field("data"))?;
    Ok(message)
}

/// A field has two names; a body that uses both is at fault.
fn check_once(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    at: Path<'_>,
) -> Result<(), Violation> {
    if message.has_field(field) { Err(at.fault(is_twice(field.json_name()))) } else { Ok(()) }
}

fn is_twice(json_name: &str) -> String {
    format!("is given twice: {json_name} is the same field")
}

/// The bytes of `data`: JSON as it stands; of any other content type, the text of a string.
pub(super) fn body_of(
    data: &RawValue,
    content_type: &str,
    path: Path<'_>,
) -> Result<Bytes, Violation> {
    if encode::is_json(content_type) {
        return Ok(Bytes::copy_from_slice(data.get().as_bytes()));
    }
    let text: String = serde_json::from_str(data.get()).map_err(|_| {
        path.fault(format!(
            "must be a string for content type {content_type:?}, not {}; other bytes go into dataBase64",
            kind_of(data)
        ))
    })?;
    Ok(Bytes::from(text))
}

pub(super) fn object<'b>(text: &'b str, path: Path<'_>) -> Result<Object<'b>, Violation> {
    serde_json::from_str(text).map_err(|error| match serde_json::from_str::<Json>(text) {
        Ok(value) => path.fault(format!("must be an object, not {}", decode::kind_of(&value))),
        Err(_) => path.fault(format!("is not valid JSON: {error}")),
    })
}

pub(super) fn value(raw: &RawValue, path: Path<'_>) -> Result<Json, Violation> {
    serde_json::from_str(raw.get())
        .map_err(|error| path.fault(format!("is not valid JSON: {error}")))
}

fn kind_of(raw: &RawValue) -> &'static str {
    serde_json::from_str::<Json>(raw.get()).map_or("malformed", |value| decode::kind_of(&value))
}
