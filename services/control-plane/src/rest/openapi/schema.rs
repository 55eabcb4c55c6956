//! JSON Schemas of messages.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::comments::Comments;
use crate::rest::decode::has_behavior;

/// Collects the schemas of every message that was referred to.
pub(super) struct Schemas<'c> {
    comments: &'c Comments,
    done: Map<String, Json>,
    pending: Vec<MessageDescriptor>,
}

impl<'c> Schemas<'c> {
    pub(super) fn new(comments: &'c Comments) -> Self {
        Self { comments, done: Map::new(), pending: Vec::new() }
    }

    /// A reference to the schema of `message`, which will be among those of [`Schemas::finish`].
    pub(super) fn reference(&mut self, message: &MessageDescriptor) -> Json {
        let name = name_of(message.full_name(), message.package_name());
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        if !self.done.contains_key(&name) && !self.pending.contains(message) {
            self.pending.push(message.clone());
        }
        reference
    }

    /// The schema of a body: `message` without the fields that the path holds.
    pub(super) fn body(&mut self, message: &MessageDescriptor, without: &[&str]) -> Json {
        self.object(message, without)
    }

    /// The schema of a field's value.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Json {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                return json!({"type": "object"});
            };
            let values = self.kind(&entry.map_entry_value_field().kind());
            return json!({"type": "object", "additionalProperties": values});
        }
        let value = self.kind(&field.kind());
        if field.is_list() { json!({"type": "array", "items": value}) } else { value }
    }

    /// Every schema that is needed, and that of errors.
    pub(super) fn finish(mut self) -> Map<String, Json> {
        while let Some(message) = self.pending.pop() {
            let name = name_of(message.full_name(), message.package_name());
            // Before its fields, which may refer to it again.
            self.done.insert(name.clone(), Json::Null);
            let schema = self.object(&message, &[]);
            self.done.insert(name, schema);
        }
        self.done.insert("Error".to_owned(), error());
        self.done
    }

    fn object(&mut self, message: &MessageDescriptor, without: &[&str]) -> Json {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let carries_body = message.get_field_by_name("content_type").is_some();
        for field in message.fields().filter(|field| !without.contains(&field.name())) {
            if has_behavior(&field, "REQUIRED") {
                required.push(field.json_name().to_owned());
            }
            let property = if carries_body && field.name() == "data" {
                properties.insert(
                    "dataBase64".to_owned(),
                    json!({"type": "string", "contentEncoding": "base64"}),
                );
                Json::Object(Map::new())
            } else {
                self.field(&field)
            };
            properties.insert(field.json_name().to_owned(), self.annotate(&field, property));
        }
        let mut object =
            json!({"type": "object", "properties": properties, "additionalProperties": false});
        if let Json::Object(object) = &mut object {
            let comment = self.comments.of(&message.parent_file(), message.path());
            insert_text(object, "description", comment);
            if !required.is_empty() {
                object.insert("required".to_owned(), json!(required));
            }
        }
        object
    }

    /// Adds a field's comment and who sets it.
    fn annotate(&self, field: &FieldDescriptor, schema: Json) -> Json {
        let Json::Object(mut schema) = schema else {
            return schema;
        };
        insert_text(
            &mut schema,
            "description",
            self.comments.of(&field.parent_file(), field.path()),
        );
        if has_behavior(field, "OUTPUT_ONLY") {
            schema.insert("readOnly".to_owned(), json!(true));
        }
        if has_behavior(field, "INPUT_ONLY") {
            schema.insert("writeOnly".to_owned(), json!(true));
        }
        Json::Object(schema)
    }

    fn kind(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64"})
            }
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
            Kind::Enum(descriptor) => json!({"type": "string", "enum": names(descriptor)}),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
                "google.protobuf.Duration" => {
                    json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"})
                }
                "google.protobuf.FieldMask" => json!({"type": "string"}),
                name if name.starts_with("google.protobuf.") => json!({"type": "object"}),
                _ => self.reference(message),
            },
        }
    }
}

/// The values that are ever sent: all but the zero.
fn names(descriptor: &EnumDescriptor) -> Vec<String> {
    descriptor
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| value.name().to_owned())
        .collect()
}

/// The name inside the package, as a component may be called: `EndpointHealth`, `Status`.
fn name_of(full: &str, package: &str) -> String {
    full.strip_prefix(package).unwrap_or(full).trim_start_matches('.').to_owned()
}

fn insert_text(object: &mut Map<String, Json>, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.to_owned(), json!(text));
    }
}

fn error() -> Json {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message", "status", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string", "description": "What was wrong with which field, and what is allowed."},
                "status": {"type": "string", "description": "The name of the google.rpc.Code."},
                "details": {"type": "array", "items": {
                    "type": "object",
                    "description": "ErrorInfo (with `reason`), BadRequest, RetryInfo.",
                    "required": ["@type"],
                    "properties": {"@type": {"type": "string"}, "reason": {"type": "string"}},
                }},
            },
        }},
    })
}
