//! What a schema may look like, so that compiling and checking are bounded.
//!
//! *Theory.* With every reference replaced by what it refers to, a schema without recursion is a tree. A value of the data is looked at by each of its
//! nodes once at most, so the nodes of the tree times the values of the data bound the work. The walk below goes over that tree, and stops where a bound
//! is passed: it is bounded itself. Nodes are subschemas, and values of enumerations, with each of which a value may be compared.

use std::borrow::Cow;

use domain::limits;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::cut;

/// Keywords whose value is a schema (`items`: or a list of them).
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value has a schema for each name (`dependencies`: or a list of names).
const NAMED: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// The drafts, by what `$schema` says without scheme and final `#`.
const DRAFTS: [&str; 5] = [
    NEWEST,
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft-06/schema",
    DRAFT_4,
];
const NEWEST: &str = "json-schema.org/draft/2020-12/schema";
/// Its `id` has no dollar.
const DRAFT_4: &str = "json-schema.org/draft-04/schema";

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shape {
    pub(super) nodes: usize,
    pub(super) patterns: usize,
    unevaluated: usize,
}

/// Walks over a schema.
///
/// # Errors
/// What is not taken, where, and what is.
pub(super) fn check(schema: &Value) -> Result<Shape, String> {
    if !(schema.is_object() || schema.is_boolean()) {
        return Err("not a JSON Schema: allowed is an object, true or false".to_owned());
    }
    let id = if draft(schema)? == DRAFT_4 { "id" } else { "$id" };
    let mut walk =
        Walk { root: schema, id, at: Vec::new(), following: Vec::new(), found: Shape::default() };
    walk.schema(schema, 0)?;
    Ok(walk.found)
}

/// The draft that a schema is of; the newest unless it says so.
fn draft(schema: &Value) -> Result<&'static str, String> {
    let Some(given) = schema.get("$schema") else { return Ok(NEWEST) };
    let text = given.as_str().unwrap_or_default().trim_end_matches('#');
    let text = text.trim_start_matches("https://").trim_start_matches("http://");
    DRAFTS.into_iter().find(|draft| *draft == text).ok_or_else(|| {
        format!(
            "$schema {} is none of those that are known: allowed are \
             https://json-schema.org/draft/2020-12/schema, 2019-09, and draft 7, 6 and 4",
            cut(given)
        )
    })
}

struct Walk<'s> {
    root: &'s Value,
    /// The keyword that gives a schema a name of its own.
    id: &'static str,
    /// The place of the walk, as a JSON pointer's parts.
    at: Vec<Cow<'s, str>>,
    /// The references that led here.
    following: Vec<&'s str>,
    found: Shape,
}

impl<'s> Walk<'s> {
    fn schema(&mut self, schema: &'s Value, depth: usize) -> Result<(), String> {
        self.found.nodes += 1;
        self.bound(depth, limits::SCHEMA_DEPTH_MAX, "levels deep")?;
        self.bound(self.found.nodes, limits::SCHEMA_NODES_MAX, "subschemas and values of enums")?;
        // What is neither an object nor true nor false is refused when it is compiled.
        let Value::Object(keywords) = schema else { return Ok(()) };
        for (keyword, value) in keywords {
            self.at.push(keyword.into());
            self.keyword(keyword, value, depth + 1)?;
            self.at.pop();
        }
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &'s Value, depth: usize) -> Result<(), String> {
        match keyword {
            "$ref" => return self.follow(value.as_str().unwrap_or_default(), depth),
            "$dynamicRef" | "$recursiveRef" => {
                return Err(self.fault(format!("{keyword} is not supported: use $ref")));
            }
            "pattern" => self.found.patterns += 1,
            "patternProperties" => self.found.patterns += value.as_object().map_or(0, Map::len),
            "enum" => self.found.nodes += value.as_array().map_or(0, Vec::len),
            "unevaluatedItems" | "unevaluatedProperties" => self.found.unevaluated += 1,
            id if id == self.id && self.at.len() > 1 => {
                let what = format!("{id} is supported at the top alone: use $defs and $ref");
                return Err(self.fault(what));
            }
            _ => {}
        }
        let Shape { nodes, patterns, unevaluated } = self.found;
        self.bound(nodes, limits::SCHEMA_NODES_MAX, "subschemas and values of enums")?;
        self.bound(patterns, limits::SCHEMA_PATTERNS_MAX, "patterns")?;
        self.bound(unevaluated, limits::SCHEMA_UNEVALUATED_MAX, "unevaluated… keywords")?;
        self.below(keyword, value, depth)
    }

    /// Goes on with the schemas that a keyword holds.
    fn below(&mut self, keyword: &str, value: &'s Value, depth: usize) -> Result<(), String> {
        if NAMED.contains(&keyword) {
            let schemas = value.as_object().into_iter().flatten();
            for (name, schema) in schemas.filter(|(_, schema)| !schema.is_array()) {
                self.part(name, schema, depth)?;
            }
            return Ok(());
        }
        if let Some(schemas) = value.as_array() {
            let holds_schemas = LIST.contains(&keyword) || keyword == "items";
            for (index, schema) in schemas.iter().enumerate().filter(|_| holds_schemas) {
                self.part(index.to_string(), schema, depth)?;
            }
            return Ok(());
        }
        if ONE.contains(&keyword) { self.schema(value, depth) } else { Ok(()) }
    }

    fn part(
        &mut self,
        name: impl Into<Cow<'s, str>>,
        schema: &'s Value,
        depth: usize,
    ) -> Result<(), String> {
        self.at.push(name.into());
        self.schema(schema, depth)?;
        self.at.pop();
        Ok(())
    }

    fn follow(&mut self, reference: &'s str, depth: usize) -> Result<(), String> {
        let shown = || cut(format!("{reference:?}"));
        let Some(pointer) =
            reference.strip_prefix('#').filter(|at| at.is_empty() || at.starts_with('/'))
        else {
            let allowed = "allowed are references within the schema, such as #/$defs/money; nothing is fetched";
            return Err(self.fault(format!("refers to {}: {allowed}", shown())));
        };
        if self.following.contains(&reference) {
            return Err(self.fault(format!("{} leads back to itself", shown())));
        }
        let pointer = percent_decode_str(pointer).decode_utf8_lossy();
        let Some(target) = self.root.pointer(&pointer) else {
            return Err(self.fault(format!("refers to {}, which is not there", shown())));
        };
        let there = pointer.split('/').skip(1).map(|part| Cow::Owned(part.to_owned())).collect();
        let here = std::mem::replace(&mut self.at, there);
        self.following.push(reference);
        self.schema(target, depth)?;
        self.following.pop();
        self.at = here;
        Ok(())
    }

    fn bound(&self, count: usize, max: usize, what: &str) -> Result<(), String> {
        if count <= max {
            return Ok(());
        }
        Err(self.fault(format!("more than {max} {what}, references followed")))
    }

    /// A fault at the place of the walk.
    fn fault(&self, what: impl std::fmt::Display) -> String {
        let place: String = self.at.iter().flat_map(|part| ["/", part]).collect();
        format!("not taken as a schema: {what} (at {})", super::place(place))
    }
}
