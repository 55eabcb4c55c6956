//! W0: what a bare HTTP client reaches here and now.
//!
//! hyper's `client::conn::http1` in a closed loop over 64 connections on one thread, one body of the same size, signed anew for
//! each request with both header families as Postrider does, to the same sink. Nothing else: no log, no store, no retries,
//! no address policy, no timeouts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use signing::{Scheme, Secret, SignedHeaders, Signer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::figures::micros_each;
use crate::payload::Epoch;
use crate::sink::Sink;
use crate::usage::Cpu;

const CONNECTIONS: usize = 64;
/// What is left out of the measurement at its start; it is a stretch of time, not a condition.
const WARM_UP: Duration = Duration::from_millis(500);

/// What one run of W0 reached.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) requests_per_second: f64,
    /// User and system time of the client's thread, microseconds a request.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
}

/// The body of an envelope around `size` bytes of data.
fn envelope(size: usize) -> Bytes {
    let data = Epoch::start().data(Instant::now(), size);
    let head = br#"{"id":"evt_0198f0a2c3d47e8fa0b1c2d3e4f50617","type":"load.group0","created_at":"2026-01-01T00:00:00.000Z","api_version":"2026-01-01","data":"#;
    [head.as_slice(), &data, b"}"].concat().into()
}

/// Sends for `time` from a thread of its own.
pub(crate) fn measure(sink: &Sink, endpoints: u16, size: usize, time: Duration) -> Result<Limit> {
    let targets: Vec<SocketAddr> = (0..endpoints).map(|index| sink.address(index)).collect();
    let body = envelope(size);
    let thread = thread::Builder::new().name("w0".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(send_for(targets, body, time))
    })?;
    thread.join().map_err(|_| anyhow!("the client of W0 panicked"))?
}

async fn send_for(targets: Vec<SocketAddr>, body: Bytes, time: Duration) -> Result<Limit> {
    let sent = Arc::new(AtomicU64::new(0));
    let signer = Arc::new(Signer::new(&Secret::generate(), &[], Scheme::Both));
    let mut clients = JoinSet::new();
    for (endpoint, address) in targets.into_iter().enumerate().cycle().take(CONNECTIONS) {
        let client = Client {
            sender: connect(address).await?,
            path: format!("/e/{endpoint}"),
            host: address.to_string(),
            signer: Arc::clone(&signer),
            body: body.clone(),
        };
        clients.spawn(client.send_on(Arc::clone(&sent)));
    }
    let measured = async {
        // Until caches are warm no condition tells; time is what a run is made of.
        tokio::time::sleep_until((Instant::now() + WARM_UP).into()).await;
        let (before, cpu_before, began) =
            (sent.load(Ordering::Relaxed), Cpu::of_this_thread()?, Instant::now());
        tokio::time::sleep_until((began + time).into()).await;
        let cpu = Cpu::of_this_thread()?.since(cpu_before);
        let requests = sent.load(Ordering::Relaxed) - before;
        Ok(Limit {
            requests_per_second: requests as f64 / began.elapsed().as_secs_f64(),
            cpu_us: micros_each(cpu.total(), requests),
            user_us: micros_each(cpu.user, requests),
        })
    };
    tokio::select! {
        limit = measured => limit,
        Some(ended) = clients.join_next() => Err(ended.unwrap_or_else(Into::into)),
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("the sink")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender; its errors come out of the calls.
    tokio::spawn(connection);
    Ok(sender)
}

struct Client {
    sender: SendRequest<Full<Bytes>>,
    path: String,
    host: String,
    signer: Arc<Signer>,
    body: Bytes,
}

impl Client {
    /// Sends one request after another until one fails.
    async fn send_on(mut self, sent: Arc<AtomicU64>) -> anyhow::Error {
        let mut signed = SignedHeaders::new();
        loop {
            if let Err(error) = self.send(&mut signed).await {
                return error.context("W0");
            }
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn send(&mut self, signed: &mut SignedHeaders) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let id = "evt_0198f0a2c3d47e8fa0b1c2d3e4f50617";
        self.signer.sign(id, i64::try_from(now)?, &self.body, signed);
        let mut request = Request::post(self.path.as_str())
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "Postrider/0.0.0");
        for (name, value) in signed.iter() {
            request = request.header(name, value);
        }
        let request = request
            .header("x-webhook-attempt", "1")
            .header("x-webhook-trigger", "event")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
            .body(Full::new(self.body.clone()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        response.into_body().collect().await?;
        Ok(())
    }
}
