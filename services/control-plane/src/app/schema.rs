//! JSON Schemas: which are taken, and whether data conforms to one. The one place that knows the validator.
//!
//! Schemas and data both come from callers, so what compiling and checking may cost is bounded by what is taken ([`shape`]). Nothing is ever fetched.

mod shape;

use domain::limits;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// Bytes that a compiled schema takes for each byte of its text, at most; the part of patterns is counted apart.
const BYTES_PER_TEXT_BYTE: usize = 16;

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: Validator,
    cost: usize,
}

impl Schema {
    /// Compiles a schema. Blocks for milliseconds, up to some hundred for the costliest that are taken.
    ///
    /// # Errors
    /// Why it is not taken, and what is.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let max = limits::SCHEMA_BYTES_MAX;
        if text.len() > max {
            return Err(format!("{} bytes long, allowed are {max}", text.len()));
        }
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| format!("not a JSON Schema: not one JSON value: {error}"))?;
        let shape = shape::check(&schema)?;
        let patterns = PatternOptions::regex()
            .size_limit(limits::SCHEMA_PATTERN_BYTES_MAX)
            .dfa_size_limit(limits::SCHEMA_PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            // It would compile what the data says, at the data's cost.
            .with_format("regex", |_: &str| true)
            .build(&schema)
            .map_err(|error| {
                format!("not a JSON Schema: {} (at {})", what(&error), place(error.instance_path()))
            })?;
        let cost = text.len() * BYTES_PER_TEXT_BYTE
            + shape.patterns * 2 * limits::SCHEMA_PATTERN_BYTES_MAX;
        Ok(Self { validator, cost })
    }

    /// Most bytes of memory that it takes.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// Whether data conforms. Blocks.
    ///
    /// # Errors
    /// The first fault with its place in the data and in the schema; of the data it has names of properties and items that are too many, cut.
    pub(crate) fn check(&self, data: &[u8]) -> Result<(), String> {
        let data: Value = serde_json::from_slice(data)
            .map_err(|error| format!("cannot be checked by a schema: {error}"))?;
        self.validator.validate(&data).map_err(|error| {
            let (data, schema) = (place(error.instance_path()), place(error.schema_path()));
            format!("{} (at {data}, by {schema} of the schema)", what(&error))
        })
    }
}

/// What is wrong, without the value.
fn what(error: &ValidationError<'_>) -> String {
    cut(error.masked())
}

fn place(pointer: impl std::fmt::Display) -> String {
    let pointer = cut(pointer);
    if pointer.is_empty() { "the top".to_owned() } else { pointer }
}

/// A text that is as long as texts of callers may be in messages.
fn cut(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    match text.char_indices().nth(limits::QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests;
