//! One signed request to one outcome.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::Outcome;

/// Sends one request.
///
/// SN-1  A receiver's fault is an outcome, never a panic or an error; the call always ends within `timeout` and a little.
/// SN-2  One call sends at most one request: nothing is sent again silently, no redirect is followed.
/// SN-3  No connection is made to an address that the egress policy forbids; that is `Failed(Blocked)`.
/// SN-4  Dropping the future ends the request.
/// SN-5  At most 16 KiB of an answer are read.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Sends a POST and waits for its outcome.
    async fn send(&self, request: Request) -> Outcome;
}

/// One POST.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to, as stored in the endpoint.
    pub url: Arc<str>,
    /// Headers in the order they go out; names in lower case, values visible ASCII. `host`, `content-length` and `accept-encoding` are the sender's.
    pub headers: Vec<(HeaderName, Box<str>)>,
    /// The exact bytes of the body.
    pub body: Bytes,
    /// Time for all of it, name resolution to last byte read.
    pub timeout: Duration,
}

/// A header's name: most are constants, an endpoint's own are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderName {
    /// One of ours.
    Static(&'static str),
    /// One of the endpoint's.
    Shared(Arc<str>),
}

impl HeaderName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}
