//! Why there is no answer: the class for the engine, one line for people.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use domain::ErrorClass;

/// A request that got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: ErrorClass,
    pub(crate) detail: Cow<'static, str>,
}

impl Failure {
    pub(crate) fn new(class: ErrorClass, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { class, detail: detail.into() }
    }

    /// The total time was up.
    pub(crate) fn timeout() -> Self {
        Self::new(ErrorClass::Timeout, "no answer within the timeout")
    }

    /// The policy forbids the destination. One constant line: tenants learn neither address nor reason.
    pub(crate) fn blocked() -> Self {
        Self::new(ErrorClass::Blocked, "destination is not allowed by the egress policy")
    }

    /// The TCP connection did not come about or broke.
    pub(crate) fn connect(error: &io::Error) -> Self {
        Self::new(ErrorClass::Connect, describe(error))
    }

    /// An exchange over an open connection failed before there was an answer.
    pub(crate) fn exchange(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            return Self::new(ErrorClass::Http, "head of the answer is too large");
        }
        if error.is_parse() {
            return Self::new(ErrorClass::Http, "answer is not HTTP/1.1");
        }
        match io_source(error) {
            Some(io) => Self::connect(io),
            None => Self::new(ErrorClass::Connect, "connection closed before the answer"),
        }
    }
}

fn io_source(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        source = error.source();
    }
    None
}

/// A fixed line for each kind that occurs: the system's own texts differ and may name addresses.
fn describe(error: &io::Error) -> Cow<'static, str> {
    let known = [
        (io::ErrorKind::ConnectionRefused, "connection refused"),
        (io::ErrorKind::ConnectionReset, "connection reset by the receiver"),
        (io::ErrorKind::ConnectionAborted, "connection aborted"),
        (io::ErrorKind::BrokenPipe, "connection closed by the receiver"),
        (io::ErrorKind::UnexpectedEof, "connection closed by the receiver"),
        (io::ErrorKind::HostUnreachable, "host unreachable"),
        (io::ErrorKind::NetworkUnreachable, "network unreachable"),
        (io::ErrorKind::TimedOut, "connection timed out"),
    ];
    match known.iter().find(|(kind, _)| *kind == error.kind()) {
        Some((_, text)) => Cow::Borrowed(text),
        None => Cow::Owned(format!("connection failed: {}", error.kind())),
    }
}
