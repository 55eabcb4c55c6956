//! The `Sender` port over the pool and the dialler.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{ErrorClass, Outcome, OutcomeKind, limits};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use ports::{Request, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::answer::{keep_alive, retry_after};
use crate::destination::{Destination, Destinations};
use crate::dial::Dialler;
use crate::exchange::{self, BodyEnd, HeadError, WireRequest};
use crate::failure::Failure;
use crate::monotonic;
use crate::pool::{IdleLimits, Live};
use crate::settings::{BuildError, Settings};

/// How often idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The client that all deliveries go through.
pub struct Egress {
    dialler: Dialler,
    destinations: Arc<Destinations>,
    limits: Arc<IdleLimits>,
    /// Holds the sweeper, which ends with the client.
    _sweeper: JoinSet<()>,
}

impl Egress {
    /// Makes the client. Must be called within a tokio runtime: a task of it closes idle connections.
    ///
    /// # Errors
    /// [`BuildError`] when the file with certificate authorities cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, BuildError> {
        let destinations = Arc::new(Destinations::default());
        let mut sweeper = JoinSet::new();
        sweeper.spawn(sweep(Arc::clone(&destinations)));
        Ok(Self {
            dialler: Dialler::new(settings)?,
            destinations,
            limits: Arc::new(IdleLimits {
                idle_timeout: settings.idle_timeout,
                age_max: settings.connection_age_max,
                max: settings.idle_max,
                per_origin_max: settings.idle_per_origin_max,
                idle: AtomicUsize::new(0),
            }),
            _sweeper: sweeper,
        })
    }

    /// How many connections to a URL's origin idle and are alive.
    #[cfg(test)]
    pub(crate) fn idle_alive(&self, url: &str) -> usize {
        let destination = self.destinations.get(&url.into(), self.dialler.policy(), &self.limits);
        destination.map_or(0, |destination| destination.origin.alive())
    }

    async fn attempt(&self, request: Request, deadline: Instant) -> Result<Answer, Failure> {
        let destination =
            self.destinations.get(&request.url, self.dialler.policy(), &self.limits)?;
        let wire = wire_request(&destination, request)?;
        let answered = timeout_at(deadline, self.exchange(&destination, wire)).await;
        let (mut live, response) = answered.map_err(|_| Failure::timeout())??;
        let (head, mut body) = response.into_parts();
        let mut excerpt = Vec::new();
        let reading =
            exchange::body(&mut live, &mut body, &mut excerpt, limits::EXCERPT_FAILURE_BYTES);
        // The status has decided; a body that is late or breaks only costs the connection.
        if timeout_at(deadline, reading).await == Ok(BodyEnd::Complete) {
            let told = keep_alive(&head.headers);
            destination.origin.give_back(live, told, monotonic::now());
        }
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: retry_after(&head.headers),
            excerpt: excerpt.into(),
        })
    }

    /// Sends over an idle connection, else over a new one. SN-2: only a request that hyper gives back untouched is sent again.
    async fn exchange(
        &self,
        destination: &Destination,
        mut request: WireRequest,
    ) -> Result<(Live, Response<Incoming>), Failure> {
        while let Some(mut live) = destination.origin.take(monotonic::now()) {
            match exchange::head(&mut live, request).await {
                Ok(response) => return Ok((live, response)),
                Err(HeadError::Failed(failure)) => return Err(failure),
                Err(HeadError::NotSent(unsent)) => request = *unsent,
            }
        }
        let mut live = Box::pin(self.dialler.dial(&destination.origin.key)).await?;
        match exchange::head(&mut live, request).await {
            Ok(response) => Ok((live, response)),
            Err(HeadError::Failed(failure)) => Err(failure),
            Err(HeadError::NotSent(_)) => {
                Err(Failure::new(ErrorClass::Connect, "connection closed before the request"))
            }
        }
    }
}

#[async_trait]
impl Sender for Egress {
    async fn send(&self, request: Request) -> Outcome {
        let start = monotonic::now();
        let deadline = start + request.timeout;
        let result = self.attempt(request, deadline).await;
        let duration = start.elapsed();
        match result {
            Ok(answer) => Outcome {
                kind: OutcomeKind::Answered(answer.status),
                duration,
                excerpt: answer.excerpt,
                retry_after: answer.retry_after,
                detail: String::new(),
            },
            Err(failure) => Outcome {
                kind: OutcomeKind::Failed(failure.class),
                duration,
                excerpt: Bytes::new(),
                retry_after: None,
                detail: failure.detail.into_owned(),
            },
        }
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("limits", &self.limits).finish_non_exhaustive()
    }
}

struct Answer {
    status: u16,
    retry_after: Option<domain::RetryAfter>,
    excerpt: Bytes,
}

async fn sweep(destinations: Arc<Destinations>) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        destinations.sweep(every.tick().await);
    }
}

/// Puts the request into hyper's form. The body is shared, not copied.
fn wire_request(destination: &Destination, request: Request) -> Result<WireRequest, Failure> {
    let length = HeaderValue::from(request.body.len());
    let mut wire = WireRequest::new(Full::new(request.body));
    *wire.method_mut() = Method::POST;
    *wire.uri_mut() = destination.uri.clone();
    let headers = wire.headers_mut();
    headers.reserve(request.headers.len() + 4);
    headers.insert(HOST, destination.host_header.clone());
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // hyper leaves it out of a POST without body, which some receivers answer with 411.
    headers.insert(CONTENT_LENGTH, length);
    for (name, value) in request.headers {
        // The value's memory becomes the header's.
        let pair = (header_name(&name), HeaderValue::try_from(String::from(value)));
        let (Some(wire_name), Ok(value)) = pair else {
            let detail = format!("header {:?} cannot be sent", name.as_str());
            return Err(Failure::new(ErrorClass::Http, detail));
        };
        headers.append(wire_name, value);
    }
    Ok(wire)
}

fn header_name(name: &ports::HeaderName) -> Option<HeaderName> {
    match name {
        // Constants are in lower case by the port's contract; this way they are not copied.
        ports::HeaderName::Static(name) => Some(HeaderName::from_static(name)),
        ports::HeaderName::Shared(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
    }
}
