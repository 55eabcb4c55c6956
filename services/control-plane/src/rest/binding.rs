//! What of a request comes from its path, its query and its body.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use serde_json::Value as Json;

use super::decode;
use super::path::{Path, Violation};
use super::route::Route;
use super::template::Capture;

/// The most parameters that a query may have.
const QUERY_PARAMETERS_MAX: usize = 100;

/// What the body holds: the `body` of a `google.api.HttpRule`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    /// Nothing; fields come from path and query.
    None,
    /// `*`: every field that the path does not bind.
    Whole,
    /// One field; the others come from path and query.
    Field(FieldDescriptor),
}

impl Body {
    /// Reads the rule.
    ///
    /// # Errors
    /// In words, when it names no field of the request.
    pub(super) fn of(rule: &str, input: &MessageDescriptor) -> Result<Self, String> {
        match rule {
            "" => Ok(Self::None),
            "*" => Ok(Self::Whole),
            name => match input.get_field_by_name(name) {
                Some(field) => Ok(Self::Field(field)),
                None => Err(format!("body {name:?} is no field of {}", input.name())),
            },
        }
    }
}

/// Sets the fields that the path binds. A body that says otherwise is at fault.
pub(super) fn bind_path(
    message: &mut DynamicMessage,
    captures: Vec<Capture>,
) -> Result<(), Violation> {
    for Capture { field: path, value } in captures {
        let (parent, field) = descend(message, &path)?;
        let at = Path::Root;
        let at = at.field(&path);
        let value = decode::field(&field, &Json::String(value), at)?
            .unwrap_or(Value::String(String::new()));
        if parent.has_field(&field) && *parent.get_field(&field) != value {
            let expected = value.as_str().unwrap_or_default();
            return Err(at.fault(format!(
                "is {expected:?} in the path; leave it out of the body or make them agree"
            )));
        }
        decode::set(parent, &field, value, at)?;
    }
    Ok(())
}

/// Sets the fields that the query names: `pageSize=50&endpoint.labels…`, lists by repeating the parameter.
pub(super) fn bind_query(
    message: &mut DynamicMessage,
    query: &str,
    route: &Route,
) -> Result<(), Violation> {
    for (count, (name, value)) in pairs(query).enumerate() {
        let root = Path::Root;
        let at = root.field(&name);
        if count == QUERY_PARAMETERS_MAX {
            return Err(at.fault(format!(
                "is one query parameter too many: at most {QUERY_PARAMETERS_MAX}"
            )));
        }
        if *route.body() == Body::Whole {
            return Err(at.fault("is a query parameter; this call takes its fields in the body"));
        }
        let (parent, field) = descend(message, &name)?;
        if is_bound_elsewhere(route, &name) {
            return Err(
                at.fault("comes from the path or the body; it is no query parameter of this call")
            );
        }
        let json = json_of(&field, value.into_owned());
        if field.is_list() {
            let item = decode::field(&field, &Json::Array(vec![json]), at)?;
            let (Value::List(items), Some(Value::List(item))) =
                (parent.get_field_mut(&field), item)
            else {
                return Err(at.fault("is not a list"));
            };
            items.extend(item);
        } else if parent.has_field(&field) {
            return Err(at.fault("is given twice"));
        } else if let Some(value) = decode::field(&field, &json, at)? {
            decode::set(parent, &field, value, at)?;
        }
    }
    Ok(())
}

/// Whether the path or the body holds this parameter, or something of it.
fn is_bound_elsewhere(route: &Route, name: &str) -> bool {
    let in_path = route.template().fields().any(|field| field == name);
    let first = name.split('.').next().unwrap_or_default();
    let in_body = match route.body() {
        Body::Field(field) => field.name() == first || field.json_name() == first,
        Body::None | Body::Whole => false,
    };
    in_path || in_body
}

/// Follows a dotted path of field names to its last field, making the messages on the way.
fn descend<'m>(
    message: &'m mut DynamicMessage,
    path: &str,
) -> Result<(&'m mut DynamicMessage, FieldDescriptor), Violation> {
    let mut message = message;
    let mut names = path.split('.').peekable();
    loop {
        let name = names.next().unwrap_or_default();
        let descriptor = message.descriptor();
        let field = decode::find(&descriptor, name, Path::Root)
            .map_err(|fault| Violation { path: path.to_owned(), ..fault })?;
        if names.peek().is_none() {
            return Ok((message, field));
        }
        // Times and the like are one value here, whatever is inside them.
        let kind = field.kind();
        let ours =
            kind.as_message().is_some_and(|message| message.package_name() != "google.protobuf");
        let nested = ours && !field.is_list() && !field.is_map();
        let next = if nested { message.get_field_mut(&field).as_message_mut() } else { None };
        message = next.ok_or_else(|| {
            Path::Root.field(path).fault(format!("has no parts: {name} is one value"))
        })?;
    }
}

/// A parameter's text as JSON: everything is a string there but booleans.
fn json_of(field: &FieldDescriptor, text: String) -> Json {
    match (field.kind(), text.as_str()) {
        (Kind::Bool, "true") => Json::Bool(true),
        (Kind::Bool, "false") => Json::Bool(false),
        (Kind::Enum(_), number) => match number.parse::<i32>() {
            Ok(number) => Json::from(number),
            Err(_) => Json::String(text),
        },
        _ => Json::String(text),
    }
}

/// The parameters of a query, decoded; `+` is a blank.
fn pairs(query: &str) -> impl Iterator<Item = (String, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(name).into_owned(), unescape(value))
    })
}

fn unescape(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let blanks = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&blanks).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}
