//! `update_mask` of a PATCH that gives none: the fields that its body names.
//!
//! gRPC takes an absent mask for "what is populated", which cannot say "set to empty". JSON can: `{"description":""}` names
//! the field. So the mask is made of the body's keys, down to leaves, without what callers cannot change.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use serde_json::Value as Json;

use super::binding::Body;
use super::decode;
use super::route::Route;

/// Sets `update_mask` from `body`, if the request has that field and it is unset.
pub(super) fn infer(message: &mut DynamicMessage, route: &Route, body: &[u8]) {
    let Body::Field(resource) = route.body() else {
        return;
    };
    let Some(mask) = message.descriptor().get_field_by_name("update_mask") else {
        return;
    };
    let (Kind::Message(resource), Kind::Message(mask_type)) = (resource.kind(), mask.kind()) else {
        return;
    };
    if message.has_field(&mask) {
        return;
    }
    // The body has been decoded once already: it parses.
    let Ok(Json::Object(object)) = serde_json::from_slice(body) else {
        return;
    };
    let mut paths = Vec::new();
    collect(&resource, &object, "", &mut paths);
    let mut value = DynamicMessage::new(mask_type);
    let paths = Value::List(paths.into_iter().map(Value::String).collect());
    if value.try_set_field_by_name("paths", paths).is_ok() {
        message.set_field(&mask, Value::Message(value));
    }
}

fn collect(
    descriptor: &MessageDescriptor,
    object: &serde_json::Map<String, Json>,
    prefix: &str,
    paths: &mut Vec<String>,
) {
    for (name, value) in object {
        let by_name = || descriptor.get_field_by_name(name);
        let Some(field) = descriptor.get_field_by_json_name(name).or_else(by_name) else {
            continue;
        };
        if !is_changeable(&field) {
            continue;
        }
        let path = format!("{prefix}{}", field.name());
        match (nested(&field), value) {
            (Some(nested), Json::Object(object)) => {
                collect(&nested, object, &format!("{path}."), paths)
            }
            _ => paths.push(path),
        }
    }
}

/// Whether callers change it: not its name, its etag, nor what the server alone sets.
fn is_changeable(field: &FieldDescriptor) -> bool {
    field.name() != "etag"
        && !decode::is_output_only(field)
        && !decode::has_behavior(field, "IDENTIFIER")
}

/// The message inside, when it is one of ours: maps, lists and well-known types are leaves.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let nested = field.kind().as_message()?.clone();
    let is_leaf = field.is_list() || field.is_map() || nested.package_name() == "google.protobuf";
    (!is_leaf).then_some(nested)
}
