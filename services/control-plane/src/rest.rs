//! REST/JSON: proto3 JSON over the same gRPC services, in process.
//!
//! # Theory of operation
//!
//! At start [`Rest::new`] reads the `google.api.http` annotation of every method and builds the table of routes. A request
//! finds its route by path and method; path variables, query and body become one request message; that message goes, as a
//! gRPC request, through the very [`Routes`] that gRPC clients use, so interceptors, limits and handlers are the same. The
//! answer becomes JSON, or the status becomes `{"error":{"code","message","status","details"}}`.
//!
//! No route is written by hand. One body is: that of `events:publish`, so that `data` keeps its bytes (see [`publish`]), and so that it may be
//! CloudEvents (see [`cloudevents`]).
//!
//! What it deliberately does not do: validate beyond types and names (handlers do), stream, compress, or speak
//! `google.api.HttpBody`.
//!
//! # JSON
//!
//! - In: both `camelCase` and `snake_case` names; `null` is absent; an unknown field is an error that names it.
//! - Out: `camelCase`. Lists, maps, numbers and booleans are always there, even empty, 0 or false, so that readers need no
//!   defaults; strings, enums and messages only when they are set.
//! - A message with `data` and `contentType` shows JSON as JSON, other text as a string, other bytes as `dataBase64`.

mod binding;
mod call;
mod cloudevents;
mod decode;
mod encode;
mod failure;
mod mask;
mod openapi;
mod path;
mod publish;
mod route;
mod scalar;
mod template;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::body::Body;
use tonic::service::Routes;

use binding::Body as BodyRule;
pub use encode::to_json;
pub use failure::Failure;
pub(crate) use failure::code_name;
pub use route::BuildError;
use route::{Lookup, Route, Table};

/// The largest body of a request, and the largest message of gRPC: a full batch of `PublishEvents` (4 MiB) fits.
pub const REQUEST_BYTES_MAX: usize = 5 * 1024 * 1024;

/// The largest answer that is turned into JSON; a page of 1 000 items stays below.
const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The transcoder: cheap to clone.
#[derive(Clone)]
pub struct Rest {
    table: std::sync::Arc<Table>,
    routes: Routes,
}

impl Rest {
    /// Builds the table of routes for every annotated method of `package` in `pool`. `routes` serve the calls.
    ///
    /// # Errors
    /// [`BuildError`] when an annotation is malformed or uses what this transcoder does not support: a bug in the protos.
    pub fn new(pool: &DescriptorPool, package: &str, routes: Routes) -> Result<Self, BuildError> {
        Ok(Self { table: std::sync::Arc::new(Table::new(pool, package)?), routes })
    }

    /// Writes the OpenAPI 3.1 document of these routes, as JSON text.
    pub fn openapi(&self, pool: &DescriptorPool) -> String {
        openapi::document(pool, &self.table, env!("CARGO_PKG_VERSION"))
    }

    /// `/package.Service/Method` of the RPC that a request calls; none when it is no route.
    pub(crate) fn grpc_path(&self, method: &http::Method, path: &str) -> Option<&str> {
        match self.table.lookup(method, path) {
            Lookup::Found(route, _) => Some(route.grpc_path()),
            Lookup::WrongMethod(_) | Lookup::NotFound => None,
        }
    }

    /// Answers one request. Extensions and credentials of the request reach the handlers. Never fails: every error is an
    /// answer in JSON.
    ///
    /// Cancel safe: what is dropped is the request.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        match self.answer(request).await {
            Ok(json) => json_response(StatusCode::OK, json),
            Err(failure) => failure.into_response(),
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Bytes, Failure> {
        let (parts, body) = request.into_parts();
        let (route, captures) = match self.table.lookup(&parts.method, parts.uri.path()) {
            Lookup::Found(route, captures) => (route, captures),
            Lookup::WrongMethod(allowed) => {
                return Err(Failure::method_not_allowed(&parts.method, &allowed));
            }
            Lookup::NotFound => return Err(Failure::no_such_path(parts.uri.path())),
        };
        let cloudevents = match publish::is_publish(route.rpc()) {
            true => cloudevents::Form::of(&parts.headers),
            false => None,
        };
        let body = read_body(&parts, body, route, cloudevents).await?;
        let mut message = match cloudevents {
            None => self.table.decode_body(route, &body)?,
            Some(form) => {
                let request = cloudevents::request(form, &parts.headers, &body)?;
                let mut message = DynamicMessage::new(route.rpc().input());
                message.transcode_from(&request).map_err(Failure::internal)?;
                message
            }
        };
        binding::bind_path(&mut message, captures)?;
        binding::bind_query(&mut message, parts.uri.query().unwrap_or_default(), route)?;
        mask::infer(&mut message, route, &body);

        let answer = call::unary(&self.routes, route.grpc_path(), &parts, &message).await;
        let answer = answer.map_err(|status| Failure::of_status(&status))?;
        let answer = DynamicMessage::decode(route.output(), answer).map_err(Failure::internal)?;
        encode::to_json(&answer).map(Bytes::from).map_err(Failure::internal)
    }
}

/// Reads the body of a request that may have one; empty otherwise.
async fn read_body(
    parts: &http::request::Parts,
    body: Body,
    route: &Route,
    cloudevents: Option<cloudevents::Form>,
) -> Result<Bytes, Failure> {
    if matches!(route.body(), BodyRule::None) {
        return Ok(Bytes::new());
    }
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > REQUEST_BYTES_MAX) {
        return Err(Failure::body_too_large(REQUEST_BYTES_MAX));
    }
    let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Failure::body_too_large(REQUEST_BYTES_MAX));
        }
        Err(error) => return Err(Failure::invalid_body(format!("could not be read: {error}"))),
    };
    if !body.is_empty() && cloudevents.is_none() {
        check_content_type(parts, route)?;
    }
    Ok(body)
}

/// Accepts JSON, whatever its parameters; a missing header is taken for it.
fn check_content_type(parts: &http::request::Parts, route: &Route) -> Result<(), Failure> {
    let Some(value) = parts.headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let given = String::from_utf8_lossy(value.as_bytes());
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let also = match publish::is_publish(route.rpc()) {
        true => {
            ", or CloudEvents: application/cloudevents+json, application/cloudevents-batch+json or ce-… headers"
        }
        false => "",
    };
    Err(Failure::unsupported_media_type(media_type, also))
}

/// An answer of JSON text.
pub(crate) fn json_response(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let body = Body::new(http_body_util::Full::new(json.into()));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
