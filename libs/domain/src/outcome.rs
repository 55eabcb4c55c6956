//! What a receiver did with one request.

use std::time::Duration;

use bytes::Bytes;

use crate::Timestamp;

/// What a receiver did with one request. A receiver's fault is an outcome, never an error of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What happened.
    pub kind: OutcomeKind,
    /// From the start of the attempt to its end.
    pub duration: Duration,
    /// The beginning of the answer's body, 16 KiB at most.
    pub excerpt: Bytes,
    /// The answer's `Retry-After`.
    pub retry_after: Option<RetryAfter>,
    /// One line for people, such as `connection refused`; empty for plain answers. Never an address that policy forbids.
    pub detail: String,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutcomeKind {
    /// The receiver answered with this status, 100 to 999.
    Answered(u16),
    /// No answer.
    Failed(ErrorClass),
}

/// Why there was no answer (spec §7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorClass {
    /// The name did not resolve.
    Dns,
    /// No connection, or it broke before the answer.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The time was up.
    Timeout,
    /// What came back was not HTTP.
    Http,
    /// The egress policy forbids the destination.
    Blocked,
}

impl ErrorClass {
    /// The name that the API, the metrics and the stores use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Http => "http",
            Self::Blocked => "blocked",
        }
    }

    /// Undoes [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Dns, Self::Connect, Self::Tls, Self::Timeout, Self::Http, Self::Blocked]
            .into_iter()
            .find(|class| class.as_str() == text)
    }
}

/// The `Retry-After` header, RFC 9110 §10.2.3, unclamped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryAfter {
    /// So long from the answer.
    Delay(Duration),
    /// At that time.
    At(Timestamp),
}

impl RetryAfter {
    /// How long to wait from `now`.
    #[must_use]
    pub fn delay(self, now: Timestamp) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(time) => time.since(now),
        }
    }
}

impl Outcome {
    /// Whether the receiver took the delivery: any 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.kind, OutcomeKind::Answered(200..=299))
    }
}
