//! The receivers: HTTP servers in one thread of their own that count, and take latencies from the send times in the bodies.
//!
//! Every endpoint has a port of its own, as receivers of different owners do; with `--origins 1` all share one, as those of a
//! platform do.

use std::convert::Infallible;
use std::future::pending;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::options::Death;
use crate::payload::Epoch;

const HANG: &str = "/hang";
const FAIL: &str = "/fail";
const SLOW: &str = "/slow";
/// What stands before the number of an endpoint that refuses when it is told to.
const MOODY: &str = "/moody/";
/// How long a slow endpoint takes (`reference/performance.md` §6, W3).
const SLOW_ANSWER: Duration = Duration::from_secs(2);

/// A running sink; ends with this value.
pub(crate) struct Sink {
    addresses: Vec<SocketAddr>,
    /// An address that refuses: its listener is gone.
    refusing: SocketAddr,
    tally: Arc<Tally>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the sink has seen.
pub(crate) struct Tally {
    epoch: Epoch,
    answered: AtomicU64,
    refusing: AtomicBool,
    refused: AtomicU64,
    recording: AtomicBool,
    /// Microseconds by endpoint, of deliveries that came while recording.
    latencies: Mutex<Vec<Vec<u32>>>,
}

impl Tally {
    /// Deliveries that were answered with a 2xx, those of slow endpoints apart.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Requests that moody endpoints refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuses(&self, path: &str) -> bool {
        let refuses = path.starts_with(MOODY) && self.refusing.load(Ordering::Relaxed);
        self.refused.fetch_add(u64::from(refuses), Ordering::Relaxed);
        refuses
    }

    /// Starts to keep latencies, from none.
    pub(crate) fn record(&self) {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.recording.store(true, Ordering::Relaxed);
    }

    /// Stops, and gives the latencies in microseconds of endpoints from `first` on.
    pub(crate) fn recorded(&self, first: u16) -> Vec<u32> {
        self.recording.store(false, Ordering::Relaxed);
        let mut all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all).into_iter().skip(usize::from(first)).flatten().collect()
    }

    fn count(&self, path: &str, body: &[u8]) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if !self.recording.load(Ordering::Relaxed) {
            return;
        }
        let endpoint = path.rsplit('/').next().and_then(|name| name.parse::<usize>().ok());
        if let (Some(endpoint), Some(latency)) = (endpoint, self.epoch.latency(body)) {
            let mut all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() <= endpoint {
                all.resize_with(endpoint + 1, Vec::new);
            }
            if let Some(own) = all.get_mut(endpoint) {
                own.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
            }
        }
    }
}

impl Sink {
    /// Starts the sink on so many free ports of loopback.
    pub(crate) fn start(epoch: Epoch, origins: u16) -> Result<Self> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..origins {
            let listener = StdListener::bind("127.0.0.1:0").context("a port for the sink")?;
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            listeners.push(listener);
        }
        let refusing = StdListener::bind("127.0.0.1:0")?.local_addr()?;
        let tally = Arc::new(Tally {
            epoch,
            answered: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            recording: AtomicBool::new(false),
            latencies: Mutex::new(Vec::new()),
        });
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&tally);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("sink".into()).spawn(move || {
            runtime.block_on(async {
                let mut origins = JoinSet::new();
                for listener in listeners {
                    origins.spawn(accept(listener, Arc::clone(&shared)));
                }
                // The sender of `stopped` is dropped with the sink.
                let _ = stopped.await;
            });
        })?;
        Ok(Self { addresses, refusing, tally, stop: Some(stop), thread: Some(thread) })
    }

    /// Where an endpoint listens.
    pub(crate) fn address(&self, endpoint: u16) -> SocketAddr {
        let origin = usize::from(endpoint) % self.addresses.len().max(1);
        self.addresses.get(origin).copied().unwrap_or(self.refusing)
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The URL of a healthy endpoint.
    pub(crate) fn url(&self, endpoint: u16) -> String {
        format!("http://{}/e/{endpoint}", self.address(endpoint))
    }

    /// The URL of a dead one.
    pub(crate) fn dead_url(&self, endpoint: u16, how: Death) -> String {
        match how {
            Death::Hang => format!("http://{}{HANG}", self.address(endpoint)),
            Death::Refuse => format!("http://{}/", self.refusing),
            Death::Fail => format!("http://{}{FAIL}", self.address(endpoint)),
        }
    }

    /// The URL of one that takes two seconds for each.
    pub(crate) fn slow_url(&self, endpoint: u16) -> String {
        format!("http://{}{SLOW}", self.address(endpoint))
    }

    /// The URL of one that is healthy until it is told to refuse.
    pub(crate) fn moody_url(&self, endpoint: u16) -> String {
        format!("http://{}{MOODY}{endpoint}", self.address(endpoint))
    }

    /// Lets moody endpoints answer 500, or be healthy again.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.tally.refusing.store(refuse, Ordering::Relaxed);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A sink that panicked has shown it by its counts.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: StdListener, tally: Arc<Tally>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Answers are small: without this each would wait for the sender's delayed ACK.
                let _ = stream.set_nodelay(true);
                let tally = Arc::clone(&tally);
                connections.spawn(async move {
                    let service = service_fn(|request| answer(&tally, request));
                    // A sender that goes away is none of the sink's errors.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Takes the time of a slow receiver. Nothing is waited for: the delay itself is the load that the scenario puts on the others.
async fn be_slow() {
    tokio::time::sleep_until((Instant::now() + SLOW_ANSWER).into()).await;
}

async fn answer(
    tally: &Tally,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Empty::new());
    let Ok(body) = body.collect().await else { return Ok(response) };
    match head.uri.path() {
        HANG => pending().await,
        FAIL => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        // Its deliveries are not counted, since how many come in a run is no figure.
        SLOW => be_slow().await,
        path if tally.refuses(path) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        path => tally.count(path, &body.to_bytes()),
    }
    Ok(response)
}
