//! What a receiver answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// One answer, or the lack of one.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) behaviour: Behaviour,
    pub(super) delay: Duration,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Answer,
    /// Reads the request and says nothing until the sender gives up.
    Hang,
    /// Sends the head of the answer and never its body.
    HangInBody,
    /// Reads the request and closes the connection.
    Drop,
}

impl Reply {
    /// Answers with a status and no body.
    ///
    /// # Panics
    /// When it is no status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            behaviour: Behaviour::Answer,
            delay: Duration::ZERO,
            status: StatusCode::from_u16(status).expect("a status of three digits"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Never answers.
    #[must_use]
    pub fn hang() -> Self {
        Self { behaviour: Behaviour::Hang, ..Self::status(200) }
    }

    /// Sends status and headers, and never the body.
    #[must_use]
    pub fn hang_in_body() -> Self {
        Self { behaviour: Behaviour::HangInBody, ..Self::status(200) }
    }

    /// Closes the connection instead of answering.
    #[must_use]
    pub fn drop_connection() -> Self {
        Self { behaviour: Behaviour::Drop, ..Self::status(200) }
    }

    /// Adds a header.
    ///
    /// # Panics
    /// When name or value is none that HTTP allows.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("a header's name");
        self.headers.append(name, HeaderValue::try_from(value).expect("a header's value"));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Does all this only after a time, which begins when the request is complete.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// Replies by path; `None` is every path without its own.
#[derive(Default)]
pub(super) struct Scripts(Mutex<BTreeMap<Option<String>, VecDeque<Reply>>>);

impl Scripts {
    pub(super) fn set(&self, path: Option<&str>, replies: impl IntoIterator<Item = Reply>) {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.insert(path.map(str::to_owned), replies.into_iter().collect());
    }

    /// Takes the reply to a request that arrived; the last one of a script stays.
    pub(super) fn next(&self, path: &str) -> Reply {
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Some(path.to_owned());
        let key = if scripts.contains_key(&own) { own } else { None };
        match scripts.get_mut(&key) {
            Some(script) if script.len() > 1 => script.pop_front(),
            Some(script) => script.front().cloned(),
            None => None,
        }
        .unwrap_or_else(|| Reply::status(200))
    }
}
