//! The client against receivers on loopback: well-behaved, broken and hostile ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::egress_policy::EgressPolicy;
use domain::{ErrorClass, Outcome, OutcomeKind};
use ports::{HeaderName, Request, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{Egress, Settings};

mod answers;
mod blocked;
mod dns;
mod pooling;
mod tls;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn dev() -> Egress {
    Egress::new(&Settings::new(EgressPolicy::dev())).unwrap()
}

fn request(url: &str) -> Request {
    Request {
        url: url.into(),
        headers: vec![
            (HeaderName::Static("content-type"), "application/json".into()),
            (HeaderName::Shared(Arc::from("x-custom")), "yes".into()),
        ],
        body: Bytes::from_static(br#"{"a":1}"#),
        timeout: Duration::from_secs(20),
    }
}

fn class(outcome: &Outcome) -> ErrorClass {
    match outcome.kind {
        OutcomeKind::Failed(class) => class,
        OutcomeKind::Answered(status) => panic!("answered {status}"),
    }
}

fn status(outcome: &Outcome) -> u16 {
    match outcome.kind {
        OutcomeKind::Answered(status) => status,
        OutcomeKind::Failed(class) => panic!("{class:?}: {}", outcome.detail),
    }
}

/// A listener that hands each connection, with its number from 0, to a script. Ends with the test.
struct Receiver {
    port: u16,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    async fn start<F, R>(script: F) -> Self
    where
        F: Fn(TcpStream, usize) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                running.spawn(script(stream, number));
            }
        });
        Self { port, connections, _tasks: tasks }
    }

    /// Answers every request with the same bytes, then closes where `close` says so.
    async fn answering(answer: impl Into<Vec<u8>>, close: bool) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream, _| {
            let answer = Arc::clone(&answer);
            async move {
                while read_request(&mut stream).await.is_some() {
                    if stream.write_all(&answer).await.is_err() || close {
                        break;
                    }
                }
            }
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?x=1", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one request with a `content-length`; `None` at the end of the connection.
async fn read_request<S: AsyncReadExt + Unpin>(stream: &mut S) -> Option<(String, Vec<u8>)> {
    let mut seen = Vec::new();
    loop {
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(seen[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            while seen.len() < end + 4 + length {
                if stream.read_buf(&mut seen).await.ok()? == 0 {
                    return None;
                }
            }
            return Some((head, seen.split_off(end + 4)));
        }
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
}
