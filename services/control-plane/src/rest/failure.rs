//! Errors as answers: `{"error":{"code","message","status","details"}}`, the HTTP form of `google.rpc.Status`.

use std::fmt;

use http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use tonic::body::Body;
use tonic::{Code, Status};
use wire::status::Details;

use super::encode::MessageJson;
use super::json_response;
use super::path::Violation;
use crate::api::status;

/// An error on its way to a REST caller.
#[derive(Debug)]
pub struct Failure {
    http: StatusCode,
    status: wire::rpc::Status,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// Translates what a service answered: the code by the mapping of `google.rpc.Code`, field paths into JSON names.
    pub fn of_status(status: &Status) -> Self {
        let mut details = Details::of(status);
        let mut message = status.message().to_owned();
        let mut rpc = wire::status::to_rpc(status);
        if let Some(bad_request) = &mut details.bad_request {
            for violation in &mut bad_request.field_violations {
                let json = json_path(&violation.field);
                if json != violation.field {
                    message = message.replace(&violation.field, &json);
                    violation.field = json;
                }
            }
            // Details of other types than ours stay as they came.
            let ours = details.to_rpc(status.code(), "").details;
            let known: Vec<_> = ours.iter().map(|any| any.type_url.clone()).collect();
            rpc.details.retain(|any| !known.contains(&any.type_url));
            rpc.details.splice(0..0, ours);
        }
        rpc.message = message;
        let mut headers = Vec::new();
        if let Some(delay) = details.retry.and_then(|retry| retry.retry_delay) {
            let seconds = delay.seconds.max(0).saturating_add(i64::from(delay.nanos > 0));
            headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if status.code() == Code::Unauthenticated {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        Self { http: http_status(status.code()), status: rpc, headers }
    }

    /// No route has this path.
    pub(crate) fn no_such_path(path: &str) -> Self {
        let message = format!("no such path: {path}; GET /openapi.json lists them");
        Self::of_status(&Details::reason("NO_SUCH_PATH").status(Code::NotFound, message))
    }

    /// The path exists with other methods.
    pub(crate) fn method_not_allowed(method: &Method, allowed: &[Method]) -> Self {
        let allowed: Vec<_> = allowed.iter().map(Method::as_str).collect();
        let allowed = allowed.join(", ");
        let message = format!("{method} is not allowed here; allowed: {allowed}");
        let status = Details::reason("METHOD_NOT_ALLOWED").status(Code::Unimplemented, message);
        let mut failure = Self { http: StatusCode::METHOD_NOT_ALLOWED, ..Self::of_status(&status) };
        // Methods are tokens, which headers can hold.
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            failure.headers.push((ALLOW, allowed));
        }
        failure
    }

    pub(super) fn unsupported_media_type(given: &str, also: &str) -> Self {
        let message =
            format!("content-type {given:?} is not supported; send application/json{also}");
        let status =
            Details::reason("UNSUPPORTED_MEDIA_TYPE").status(Code::InvalidArgument, message);
        Self { http: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..Self::of_status(&status) }
    }

    pub(super) fn body_too_large(limit: usize) -> Self {
        let message = format!("body: must be at most {limit} bytes");
        let details =
            Details::reason("BODY_TOO_LARGE").with_metadata("limit_bytes", limit.to_string());
        let status = details.status(Code::InvalidArgument, message);
        Self { http: StatusCode::PAYLOAD_TOO_LARGE, ..Self::of_status(&status) }
    }

    pub(super) fn invalid_body(problem: impl Into<String>) -> Self {
        Violation { path: String::new(), problem: problem.into() }.into()
    }

    /// A bug of ours. The text is fixed; what happened goes to the log.
    pub(super) fn internal(error: impl fmt::Display) -> Self {
        Self::of_status(&status::bug(&error))
    }

    /// The answer.
    pub fn into_response(self) -> Response<Body> {
        // Plain strings and numbers: writing them into memory cannot fail.
        let json =
            serde_json::to_vec(&self).unwrap_or_else(|_| br#"{"error":{"code":500}}"#.to_vec());
        let mut response = json_response(self.http, json);
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<Violation> for Failure {
    fn from(Violation { path, problem }: Violation) -> Self {
        let path = if path.is_empty() { "body".to_owned() } else { shortened(path) };
        let problem = shortened(problem);
        let message = format!("{path}: {problem}");
        let details = Details::reason("INVALID_FIELD").with_field(path, problem);
        Self::of_status(&details.status(Code::InvalidArgument, message))
    }
}

/// The most characters of a path or a problem: both may repeat what the caller sent, which may be megabytes.
const TEXT_CHARS_MAX: usize = 500;

fn shortened(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut envelope = serializer.serialize_struct("Failure", 1)?;
        envelope.serialize_field("error", &ErrorJson(self))?;
        envelope.end()
    }
}

struct ErrorJson<'f>(&'f Failure);

impl Serialize for ErrorJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Failure { http, status, .. } = self.0;
        let mut error = serializer.serialize_struct("Error", 4)?;
        error.serialize_field("code", &http.as_u16())?;
        error.serialize_field("message", &status.message)?;
        error.serialize_field("status", code_name(Code::from_i32(status.code)))?;
        error.serialize_field("details", &DetailsJson(status))?;
        error.end()
    }
}

struct DetailsJson<'s>(&'s wire::rpc::Status);

impl Serialize for DetailsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let any = wire::descriptor_pool().get_message_by_name("google.protobuf.Any");
        let decode = |detail: &prost_types::Any| {
            DynamicMessage::decode(any.clone()?, detail.encode_to_vec().as_slice()).ok()
        };
        let details: Vec<_> = self.0.details.iter().filter_map(decode).collect();
        serializer.collect_seq(details.iter().map(MessageJson))
    }
}

/// The mapping that `google/rpc/code.proto` documents.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // 499 Client Closed Request has no constant.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The name that `google.rpc.Code` has for it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// `endpoint.retry_schedule[1]` → `endpoint.retrySchedule[1]`; what is in brackets is data and stays.
fn json_path(path: &str) -> String {
    let mut json = String::with_capacity(path.len());
    let (mut depth, mut upper) = (0_usize, false);
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && c == '_' {
            upper = true;
            continue;
        }
        json.push(if upper { c.to_ascii_uppercase() } else { c });
        upper = false;
    }
    json
}
