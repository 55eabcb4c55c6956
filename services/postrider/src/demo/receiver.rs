//! A receiver of webhooks as a customer would write it: verify the signature, answer. It tells the tour what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ports::Clock as _;
use runtime::{Shutdown, SystemClock, TaskGroup};
use signing::{DEFAULT_TOLERANCE, Secret};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cast::Part;

/// Largest request that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// One request as the receiver saw it.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Who got it.
    pub(crate) part: Part,
    /// `webhook-id`.
    pub(crate) event: String,
    /// The type in the envelope.
    pub(crate) event_type: String,
    /// `x-webhook-attempt`.
    pub(crate) attempt: String,
    /// `x-webhook-trigger`.
    pub(crate) trigger: String,
    /// Why a signature did not verify; none when both did.
    pub(crate) unverified: Option<String>,
    /// What was answered.
    pub(crate) status: StatusCode,
}

/// A receiver that runs.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    part: Part,
    secret: OnceLock<Secret>,
    failures_left: AtomicUsize,
    arrivals: mpsc::Sender<Arrival>,
}

impl Receiver {
    /// Starts one on a free port of this machine.
    pub(crate) async fn start(
        part: Part,
        arrivals: mpsc::Sender<Arrival>,
        tasks: &mut TaskGroup,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
        let address = listener.local_addr().context("the listener has no address")?;
        let state = Arc::new(State {
            part,
            secret: OnceLock::new(),
            failures_left: AtomicUsize::new(part.failures()),
            arrivals,
        });
        tasks.spawn(part.id(), accept(listener, state.clone(), tasks.shutdown().clone()));
        Ok(Self { address, state })
    }

    /// Where requests go.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// Gives it the secret that its owner was shown.
    pub(crate) fn trust(&self, secret: Secret) {
        // The tour creates each endpoint once.
        let _ = self.state.secret.set(secret);
    }

    /// Makes it well.
    pub(crate) fn repair(&self) {
        self.state.failures_left.store(0, Ordering::SeqCst);
    }
}

async fn accept(
    listener: TcpListener,
    state: Arc<State>,
    shutdown: Shutdown,
) -> Result<(), std::io::Error> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(serve(stream, state.clone()));
            }
        }
    }
    connections.shutdown().await;
    Ok(())
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let answer = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(state.answer(request).await) }
    });
    // A sender that goes away in the middle is its own affair.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return response(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        let unverified = self.verify(&head, &body).err();
        let status = if unverified.is_some() {
            StatusCode::BAD_REQUEST
        } else if self.is_failing() {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        let envelope: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let event_type = envelope.get("type").and_then(serde_json::Value::as_str);
        let arrival = Arrival {
            part: self.part,
            event: text(&head.headers, "webhook-id"),
            event_type: event_type.unwrap_or_default().to_owned(),
            attempt: text(&head.headers, "x-webhook-attempt"),
            trigger: text(&head.headers, "x-webhook-trigger"),
            unverified,
            status,
        };
        // The tour outlives its receivers, unless everything is ending.
        let _ = self.arrivals.send(arrival).await;
        response(status)
    }

    /// Verifies both header families: each must do by itself.
    fn verify(&self, head: &Parts, body: &[u8]) -> Result<(), String> {
        let secret = self.secret.get().ok_or("the receiver has no secret yet")?;
        let secrets = std::slice::from_ref(secret);
        let header = |name: &str| head.headers.get(name).map(http::HeaderValue::as_bytes);
        let now = SystemClock::new().now().as_secs();
        signing::verify_standard(secrets, header, body, now, DEFAULT_TOLERANCE)
            .map_err(|error| format!("standard: {error}"))?;
        signing::verify_x_webhook(secrets, header, body, now, DEFAULT_TOLERANCE)
            .map_err(|error| format!("x-webhook: {error}"))?;
        Ok(())
    }

    /// Whether this request fails; counts it.
    fn is_failing(&self) -> bool {
        self.failures_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                0 => None,
                usize::MAX => Some(usize::MAX),
                left => Some(left - 1),
            })
            .is_ok()
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = status;
    response
}
