//! One unary call through the gRPC routes, in process: the same bytes that a client would send.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT,
};
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use prost_reflect::DynamicMessage;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use super::RESPONSE_BYTES_MAX;
use crate::api::status;

/// The headers of a REST request that the handlers see as metadata.
const FORWARDED: [HeaderName; 5] = [
    AUTHORIZATION,
    USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// Length of a gRPC frame's head: a flag and the message's length.
const FRAME_HEAD_BYTES: usize = 5;

/// Sends `message` to `path` (`/package.Service/Method`) with the credentials and extensions of the REST request `parts`,
/// and returns the encoded answer.
///
/// # Errors
/// The status that the service answered; INTERNAL when the answer is no gRPC.
pub(super) async fn unary(
    routes: &Routes,
    path: &str,
    parts: &http::request::Parts,
    message: &DynamicMessage,
) -> Result<Bytes, Status> {
    let request = request(path, parts, message)?;
    let response = match routes.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    // An error without an answer comes in the headers alone.
    if let Some(status) = failure(&head.headers) {
        return Err(status);
    }
    let collected = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
    let collected = collected.map_err(|error| status::bug(&error))?;
    if let Some(status) = collected.trailers().and_then(failure) {
        return Err(status);
    }
    unframe(collected.to_bytes())
}

fn request(
    path: &str,
    parts: &http::request::Parts,
    message: &DynamicMessage,
) -> Result<Request<Body>, Status> {
    let too_long = |_| status::too_large();
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).map_err(too_long)?);
    message.encode(&mut frame).map_err(|error| status::bug(&error))?;

    let mut request = Request::new(Body::new(Full::new(frame.freeze())));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = path.parse().map_err(|_| status::bug(&"a method's path is no URI"))?;
    *request.extensions_mut() = parts.extensions.clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    for name in FORWARDED {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Ok(request)
}

/// The status in headers or trailers, unless it is OK or not there.
fn failure(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != tonic::Code::Ok)
}

/// Takes the one message out of its frame.
fn unframe(mut frame: Bytes) -> Result<Bytes, Status> {
    let malformed = || status::bug(&"the answer is not one uncompressed gRPC message");
    if frame.len() < FRAME_HEAD_BYTES || frame.get_u8() != 0 {
        return Err(malformed());
    }
    let length = usize::try_from(frame.get_u32()).map_err(|_| malformed())?;
    if length == frame.len() { Ok(frame) } else { Err(malformed()) }
}
