//! What every request passes: pages, limits, authentication, then gRPC or REST.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use runtime::metrics::{self, Registry, Stopwatch};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::ServiceExt;
use wire::status::Details;

use super::auth::Authenticator;
use super::requests::Requests;
use super::{Readiness, ServerOptions};
use crate::api::status;
use crate::rest::{Failure, Rest, json_response};

/// What a caller that met the limit of calls should wait.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// The one gRPC service that is open to everyone; it says nothing but whether we serve.
const HEALTH_PREFIX: &str = "/grpc.health.v1.Health/";

/// Answers requests.
pub(super) struct Front {
    routes: Routes,
    rest: Rest,
    openapi: Bytes,
    readiness: watch::Receiver<Readiness>,
    metrics: Registry,
    requests: Requests,
    auth: Arc<dyn Authenticator>,
    calls: Semaphore,
    call_timeout: Duration,
    /// When this is cancelled, we are not ready whatever `readiness` says.
    pub(super) shutdown: CancellationToken,
}

/// How a caller speaks, and so how it must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Rest,
}

impl Front {
    pub(super) fn new(
        routes: Routes,
        rest: Rest,
        openapi: String,
        requests: Requests,
        readiness: watch::Receiver<Readiness>,
        options: &ServerOptions,
    ) -> Self {
        Self {
            routes,
            rest,
            openapi: Bytes::from(openapi),
            readiness,
            metrics: options.metrics.clone(),
            requests,
            auth: options.auth.clone(),
            calls: Semaphore::new(options.calls_max),
            call_timeout: options.call_timeout,
            shutdown: CancellationToken::new(),
        }
    }

    /// Answers one request.
    pub(super) async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let protocol = if is_grpc(request.headers()) { Protocol::Grpc } else { Protocol::Rest };
        if protocol == Protocol::Rest && !request.uri().path().starts_with("/v1/") {
            return self.page(request.method(), request.uri().path());
        }
        let begun = Stopwatch::start();
        let uri = request.uri().clone();
        let method = match protocol {
            Protocol::Grpc => Some(uri.path()),
            Protocol::Rest => self.rest.grpc_path(request.method(), uri.path()),
        };
        let answer = self.limited(protocol, request).await;
        let answer = answer.unwrap_or_else(|status| match protocol {
            Protocol::Grpc => status.into_http(),
            Protocol::Rest => Failure::of_status(&status).into_response(),
        });
        self.requests.count(protocol, method, &answer, begun.elapsed());
        answer
    }

    /// Calls within the limits of number and time.
    async fn limited(
        &self,
        protocol: Protocol,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let Ok(_permit) = self.calls.try_acquire() else {
            let details = Details::reason("TOO_MANY_CALLS").with_retry_after(BUSY_RETRY);
            return Err(
                details.status(Code::ResourceExhausted, "too many calls at one time; try again")
            );
        };
        let limit = match protocol {
            Protocol::Grpc => grpc_timeout(request.headers())
                .map_or(self.call_timeout, |t| t.min(self.call_timeout)),
            Protocol::Rest => self.call_timeout,
        };
        let call = Box::pin(self.call(protocol, request));
        timeout(limit, call).await.map_err(|_| status::late(limit))?
    }

    async fn call(
        &self,
        protocol: Protocol,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        if !parts.uri.path().starts_with(HEALTH_PREFIX) {
            let principal = self.auth.authenticate(&parts).await;
            let principal = principal.map_err(|denied| {
                Details::reason("UNAUTHENTICATED").status(Code::Unauthenticated, denied.to_string())
            })?;
            parts.extensions.insert(principal);
        }
        let request = Request::from_parts(parts, body);
        match protocol {
            Protocol::Rest => Ok(self.rest.handle(request).await),
            Protocol::Grpc => match self.routes.clone().oneshot(request).await {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            },
        }
    }

    /// What is neither gRPC nor below `/v1`: open to everyone.
    fn page(&self, method: &Method, path: &str) -> Response<Body> {
        let page: fn(&Self) -> Response<Body> = match path {
            "/" => Self::index,
            "/healthz" => |_| json_response(StatusCode::OK, r#"{"status":"ok"}"#),
            "/readyz" => Self::readyz,
            "/metrics" => Self::metrics,
            "/openapi.json" => |front| json_response(StatusCode::OK, front.openapi.clone()),
            _ => return Failure::no_such_path(path).into_response(),
        };
        if method == Method::GET || method == Method::HEAD {
            page(self)
        } else {
            Failure::method_not_allowed(method, &[Method::GET, Method::HEAD]).into_response()
        }
    }

    fn index(&self) -> Response<Body> {
        let index = json!({
            "name": "postrider",
            "version": env!("CARGO_PKG_VERSION"),
            "rest": "/v1",
            "openapi": "/openapi.json",
            "health": "/healthz",
            "readiness": "/readyz",
            "metrics": "/metrics",
        });
        json_response(StatusCode::OK, index.to_string())
    }

    /// Open to everyone: it names no tenant, endpoint or event.
    fn metrics(&self) -> Response<Body> {
        let mut answer = json_response(StatusCode::OK, self.metrics.text());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
        answer
    }

    fn readyz(&self) -> Response<Body> {
        let readiness = if self.shutdown.is_cancelled() {
            Readiness::not_ready("shutting down")
        } else {
            self.readiness.borrow().clone()
        };
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({"ready": readiness.ready, "reasons": readiness.reasons});
        json_response(status, body.to_string())
    }
}

/// `application/grpc`, with any codec after a `+`; not gRPC-Web.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type =
        headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let rest = content_type.strip_prefix(b"application/grpc".as_slice());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The client's deadline: up to 8 digits and a unit. A malformed one is no deadline.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}
