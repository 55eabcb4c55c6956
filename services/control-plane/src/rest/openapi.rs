//! The OpenAPI 3.1 document of the REST surface, made from the same table of routes and the same descriptors.

mod comments;
mod schema;

use prost_reflect::{DescriptorPool, FieldDescriptor};
use serde_json::{Map, Value as Json, json};

use super::binding::Body;
use super::route::{Route, Table};
use super::template::{Segment, Template};
use comments::Comments;
use schema::Schemas;

/// Writes the document as JSON text.
pub(super) fn document(pool: &DescriptorPool, table: &Table, version: &str) -> String {
    let comments = Comments::new(pool);
    let mut schemas = Schemas::new(&comments);
    let mut paths: Map<String, Json> = Map::new();
    for route in table.routes() {
        let (path, variables) = path_of(route.template());
        let operation = operation(route, &variables, &comments, &mut schemas);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Json::Object(item) = item {
            item.insert(route.method().as_str().to_ascii_lowercase(), operation);
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Postrider",
            "version": version,
            "description": "Webhook delivery. proto3 JSON of the gRPC API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    });
    document.to_string()
}

fn operation(
    route: &Route,
    variables: &[String],
    comments: &Comments,
    schemas: &mut Schemas<'_>,
) -> Json {
    let rpc = route.rpc();
    let mut parameters: Vec<Json> = variables
        .iter()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if *route.body() != Body::Whole {
        parameters.extend(query(route, comments, schemas));
    }
    let mut operation = json!({
        "operationId": rpc.name(),
        "tags": [rpc.parent_service().name()],
        "description": comments.of(&rpc.parent_file(), rpc.path()),
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "content": content(schemas.reference(&route.output()))},
            "default": {"description": "An error", "content": content(json!({"$ref": "#/components/schemas/Error"}))},
        },
    });
    let body = match route.body() {
        Body::None => None,
        Body::Whole => Some((schemas.body(&rpc.input(), &bound(route)), false)),
        Body::Field(field) => Some((schemas.field(field), true)),
    };
    if let (Some((schema, required)), Json::Object(operation)) = (body, &mut operation) {
        operation.insert(
            "requestBody".to_owned(),
            json!({"required": required, "content": content(schema)}),
        );
    }
    operation
}

fn content(schema: Json) -> Json {
    json!({"application/json": {"schema": schema}})
}

/// The fields that neither the path nor the body holds.
fn query(route: &Route, comments: &Comments, schemas: &mut Schemas<'_>) -> Vec<Json> {
    let bound = bound(route);
    let in_body =
        |field: &FieldDescriptor| matches!(route.body(), Body::Field(body) if body == field);
    let input = route.rpc().input();
    let fields = input.fields().filter(|field| !bound.contains(&field.name()) && !in_body(field));
    fields
        .map(|field| {
            json!({
                "name": field.json_name(),
                "in": "query",
                "description": comments.of(&field.parent_file(), field.path()),
                "schema": schemas.field(&field),
            })
        })
        .collect()
}

/// The names of the top fields that the path holds.
fn bound(route: &Route) -> Vec<&str> {
    route.template().fields().collect()
}

/// `/v1/tenants/{tenant}/endpoints/{endpoint}:pause` and the names in it: each `*` is named by the collection before it.
fn path_of(template: &Template) -> (String, Vec<String>) {
    let mut path = String::new();
    let mut names = Vec::new();
    let mut collection = "";
    for segment in template.segments() {
        path.push('/');
        match segment {
            Segment::Literal(literal) => {
                path.push_str(literal);
                collection = literal;
            }
            Segment::Wildcard => {
                let name = singular(collection);
                path.push_str(&format!("{{{name}}}"));
                names.push(name);
            }
        }
    }
    if let Some(verb) = template.verb() {
        path.push(':');
        path.push_str(verb);
    }
    (path, names)
}

fn singular(collection: &str) -> String {
    match collection.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => collection.strip_suffix('s').unwrap_or(collection).to_owned(),
    }
}
