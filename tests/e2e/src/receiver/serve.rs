//! The connections of a receiver.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Instant, SystemTime};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::Response;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{self, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, sleep_until};

use super::Shared;
use super::connections::Connection;
use super::ledger::Request;
use super::script::{Behaviour, Reply};

type Body = BoxBody<Bytes, Infallible>;

/// Accepts connections until it is aborted, which closes them too.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                let open = Connection::enter(Arc::clone(&shared), peer);
                connections.spawn(async move {
                    let _open = open;
                    let service = service_fn(|request| answer(&shared, request));
                    let io = TokioIo::new(stream);
                    // A sender that goes away is none of the receiver's errors.
                    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Enters the request when it is complete, then does what the script says. An `Err` closes the connection.
async fn answer(shared: &Shared, request: http::Request<Incoming>) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path().to_owned();
    // The reply is taken in the same breath, so that the script follows the order of the ledger.
    let reply = shared.scripts.next(&path);
    let _in_flight = shared.ledger.enter(Request {
        at: Instant::now(),
        time: SystemTime::now(),
        method: head.method,
        query: head.uri.query().unwrap_or_default().to_owned(),
        path,
        headers: head.headers,
        body,
    });
    if !reply.delay.is_zero() {
        sleep_until(Deadline::now() + reply.delay).await;
    }
    match reply.behaviour {
        Behaviour::Answer => {
            let body = Full::new(reply.body.clone()).boxed();
            Ok(response(reply, body))
        }
        Behaviour::HangInBody => Ok(response(reply, NeverBody.boxed())),
        Behaviour::Hang => pending().await,
        Behaviour::Drop => bail!("the script drops the connection"),
    }
}

fn response(reply: Reply, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// A body of which nothing ever comes.
struct NeverBody;

impl body::Body for NeverBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
