//! What filters see of an event.

use std::collections::HashMap;

use cel::{Context, IdedExpr, Value};
use serde::Serialize;
use serde_json::Value as Json;

use super::LANGUAGE;
use crate::Event;

/// An event as filters see it: made once for all of them.
pub struct FilterInput {
    context: Context<'static, 'static>,
}

/// The `event` of a filter.
#[derive(Serialize)]
struct Envelope<'e> {
    id: &'e str,
    #[serde(rename = "type")]
    event_type: &'e str,
    created_at: String,
    api_version: &'e str,
    ordering_key: &'e str,
    channels: Vec<&'e str>,
}

impl FilterInput {
    /// What filters see of an event. Data that no value stands for, such as 1e400 or bytes, is `null`.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let envelope = Envelope {
            id: event.id.as_str(),
            event_type: event.event_type.as_str(),
            created_at: event.created_at.to_rfc3339(),
            api_version: event.api_version.as_str(),
            ordering_key: event.ordering_key.as_deref().unwrap_or_default(),
            channels: event.channels.iter().map(|channel| &**channel).collect(),
        };
        let data = if event.content_type.is_json() {
            serde_json::from_slice(&event.data).ok().map(value)
        } else {
            std::str::from_utf8(&event.data).ok().map(Value::from)
        };
        let mut context = Context::with_env(LANGUAGE.clone());
        let envelope = cel::to_value(envelope).unwrap_or(Value::Null);
        context.add_variable_from_value("event", envelope);
        context.add_variable_from_value("data", data.unwrap_or(Value::Null));
        Self { context }
    }

    /// Whether an expression gives `true`. One that fails (something is missing, or of another type) does not.
    pub(super) fn satisfies(&self, expression: &IdedExpr) -> bool {
        matches!(Value::resolve(expression, &self.context), Ok(Value::Bool(true)))
    }
}

/// A number is an `int` where one holds it: CEL calculates with numbers of one kind only, and what people write (`data.count % 2`) is an `int`.
/// As deep as `serde_json` reads: 128 levels.
fn value(data: Json) -> Value {
    match data {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Bool(is),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => number.as_f64().map_or(Value::Null, Value::Float),
        },
        Json::String(text) => text.into(),
        Json::Array(list) => list.into_iter().map(value).collect::<Vec<Value>>().into(),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, data)| (name, value(data)));
            fields.collect::<HashMap<String, Value>>().into()
        }
    }
}
