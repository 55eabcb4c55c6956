//! The body of an answer, which ends with the server.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;

use crate::api::status;

/// A body that, once the server shuts down, ends where it would have waited for more: a stream that lives for ever, such as
/// health's `Watch`, must not hold up the drain. Bodies that have all they need are not touched.
pub(super) struct AnswerBody<C> {
    inner: Body,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    cut: bool,
    /// Dropped with the body: until then the call is under way.
    _call: C,
}

impl<C> AnswerBody<C> {
    pub(super) fn new(inner: Body, shutdown: CancellationToken, call: C) -> Self {
        Self { inner, shutdown: Box::pin(shutdown.cancelled_owned()), cut: false, _call: call }
    }
}

impl<C: Unpin> http_body::Body for AnswerBody<C> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.cut {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.shutdown.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.cut = true;
        let status = status::shutting_down();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.cut || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
