//! JSON into messages. Every fault names the field and what is allowed.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use serde_json::Value as Json;

use super::path::{Path, Violation};
use super::scalar;

/// Parses text. Depth is bounded by `serde_json` (128).
pub(super) fn parse(body: &[u8]) -> Result<Json, Violation> {
    serde_json::from_slice(body)
        .map_err(|error| Path::Root.fault(format!("is not valid JSON: {error}")))
}

/// Makes a message of an object.
pub(super) fn message(
    descriptor: &MessageDescriptor,
    value: &Json,
    path: Path<'_>,
) -> Result<DynamicMessage, Violation> {
    if descriptor.package_name() == "google.protobuf" {
        return scalar::well_known(descriptor, value, path);
    }
    let Json::Object(object) = value else {
        return Err(path.fault(format!("must be an object, not {}", kind_of(value))));
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in object {
        let descriptor = find(descriptor, name, path)?;
        let path = path.field(name);
        if message.has_field(&descriptor) {
            return Err(
                path.fault(format!("is given twice: {} is the same field", descriptor.json_name()))
            );
        }
        if let Some(value) = field(&descriptor, value, path)? {
            set(&mut message, &descriptor, value, path)?;
        }
    }
    Ok(message)
}

/// Makes a field's value; none for `null`.
pub(super) fn field(
    field: &FieldDescriptor,
    value: &Json,
    path: Path<'_>,
) -> Result<Option<Value>, Violation> {
    if value.is_null() {
        return Ok(None);
    }
    if field.is_map() {
        return map(field, value, path).map(Some);
    }
    if !field.is_list() {
        return single(&field.kind(), value, path).map(Some);
    }
    let Json::Array(items) = value else {
        return Err(path.fault(format!("must be an array, not {}", kind_of(value))));
    };
    let kind = field.kind();
    let item = |(index, item)| single(&kind, item, Path::Index(&path, index));
    Ok(Some(Value::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)))
}

/// Finds a field by its JSON name or its proto name.
pub(super) fn find(
    descriptor: &MessageDescriptor,
    name: &str,
    path: Path<'_>,
) -> Result<FieldDescriptor, Violation> {
    let found =
        descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
    found.ok_or_else(|| {
        path.field(name).fault(format!("is unknown; allowed here: {}", allowed(descriptor)))
    })
}

/// Sets a field; a value of the wrong type would be a bug of this module, and is a fault of the field at worst.
pub(super) fn set(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    value: Value,
    path: Path<'_>,
) -> Result<(), Violation> {
    message.try_set_field(field, value).map_err(|error| path.fault(error.to_string()))
}

/// What a JSON value is, in words.
pub(super) fn kind_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

fn single(kind: &Kind, value: &Json, path: Path<'_>) -> Result<Value, Violation> {
    match kind.as_message() {
        Some(descriptor) => message(descriptor, value, path).map(Value::Message),
        None => scalar::scalar(kind, value, path),
    }
}

fn map(field: &FieldDescriptor, value: &Json, path: Path<'_>) -> Result<Value, Violation> {
    let (Kind::Message(entry), Json::Object(object)) = (field.kind(), value) else {
        return Err(path.fault(format!("must be an object, not {}", kind_of(value))));
    };
    if entry.map_entry_key_field().kind() != Kind::String {
        return Err(path.fault("maps with other keys than strings are not supported"));
    }
    let kind = entry.map_entry_value_field().kind();
    let mut map = HashMap::with_capacity(object.len());
    for (key, value) in object {
        let value = single(&kind, value, Path::Key(&path, key))?;
        map.insert(MapKey::String(key.clone()), value);
    }
    Ok(Value::Map(map))
}

/// The names that a caller may set, in the order of the proto.
fn allowed(descriptor: &MessageDescriptor) -> String {
    let fields = descriptor.fields().filter(|field| !is_output_only(field));
    let names: Vec<_> = fields.map(|field| field.json_name().to_owned()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Whether only the server sets this field: `field_behavior` says OUTPUT_ONLY.
pub(super) fn is_output_only(field: &FieldDescriptor) -> bool {
    has_behavior(field, "OUTPUT_ONLY")
}

/// Whether `google.api.field_behavior` of `field` names `behavior`.
pub(super) fn has_behavior(field: &FieldDescriptor, behavior: &str) -> bool {
    let pool = field.parent_pool();
    let (Some(extension), Some(behaviors)) = (
        pool.get_extension_by_name("google.api.field_behavior"),
        pool.get_enum_by_name("google.api.FieldBehavior"),
    ) else {
        return false;
    };
    let Some(number) = behaviors.get_value_by_name(behavior).map(|value| value.number()) else {
        return false;
    };
    let options = field.options();
    let list = options.get_extension(&extension);
    list.as_list()
        .is_some_and(|list| list.iter().any(|value| value.as_enum_number() == Some(number)))
}
