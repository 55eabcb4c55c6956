//! One request and its answer over one connection, driven by the caller's own task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use domain::ErrorClass;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;

use crate::failure::Failure;
use crate::pool::Live;

/// Most interim answers (1xx) before the real one (`reliability.md` §2.5).
const INTERIM_MAX: usize = 8;

/// A request as hyper takes it.
pub(crate) type WireRequest = Request<Full<Bytes>>;

/// Why there is no answer's head.
pub(crate) enum HeadError {
    /// Not a byte of the request was sent; it may go out over another connection.
    NotSent(Box<WireRequest>),
    /// Anything may have been sent.
    Failed(Failure),
}

/// How reading a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// The body ended; the connection can be used again.
    Complete,
    /// There is more than is wanted.
    Cut,
    /// The connection broke.
    Broken,
}

/// Sends the request and waits for the head of the answer.
///
/// Cancel safe in the sense of SN-4: dropping the future together with `live` ends the request.
pub(crate) async fn head(
    live: &mut Live,
    mut request: WireRequest,
) -> Result<Response<Incoming>, HeadError> {
    let interim = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&interim);
    hyper::ext::on_informational(&mut request, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut response = pin!(live.sender.try_send_request(request));
    let (driver, ended) = (&mut live.driver, &mut live.ended);
    poll_fn(|cx| {
        if !*ended && Pin::new(&mut *driver).poll(cx).is_ready() {
            *ended = true;
        }
        if let Poll::Ready(result) = response.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|mut error| match error.take_message() {
                Some(request) => HeadError::NotSent(Box::new(request)),
                None => HeadError::Failed(Failure::exchange(error.error())),
            }));
        }
        let failed =
            |class, detail| Poll::Ready(Err(HeadError::Failed(Failure::new(class, detail))));
        if interim.load(Ordering::Relaxed) > INTERIM_MAX {
            return failed(ErrorClass::Http, "too many interim answers");
        }
        if *ended {
            return failed(ErrorClass::Connect, "connection closed before the answer");
        }
        Poll::Pending
    })
    .await
}

/// Reads a body into `kept`, at most `max` bytes.
///
/// Cancel safe: what was read is in `kept`, whatever happens to the future.
pub(crate) async fn body(
    live: &mut Live,
    body: &mut Incoming,
    kept: &mut Vec<u8>,
    max: usize,
) -> BodyEnd {
    poll_fn(|cx| {
        let mut driven = false;
        loop {
            match poll_data(body, cx) {
                Poll::Ready(Some(Ok(data))) => {
                    driven = false;
                    let room = max.saturating_sub(kept.len());
                    kept.extend_from_slice(data.get(..data.len().min(room)).unwrap_or_default());
                    if data.len() > room {
                        return Poll::Ready(BodyEnd::Cut);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(BodyEnd::Complete),
                Poll::Ready(Some(Err(()))) => return Poll::Ready(BodyEnd::Broken),
                Poll::Pending if driven => return Poll::Pending,
                Poll::Pending if live.ended => return Poll::Ready(BodyEnd::Broken),
                Poll::Pending => {
                    live.ended = Pin::new(&mut live.driver).poll(cx).is_ready();
                    // A driver that ended may have left data behind; look once more either way.
                    driven = !live.ended;
                }
            }
        }
    })
    .await
}

/// The next piece of data; trailers count as an empty one.
fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ()>>> {
    Pin::new(body).poll_frame(cx).map(|frame| {
        frame.map(|frame| match frame {
            Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
            Err(_) => Err(()),
        })
    })
}
