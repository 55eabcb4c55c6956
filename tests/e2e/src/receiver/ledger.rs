//! What arrived at a receiver.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::watch;

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its body was complete; for intervals.
    pub at: Instant,
    /// The same on the wall clock; for comparison with timestamps.
    pub time: SystemTime,
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its query, without the question mark; empty without one.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
}

impl Request {
    /// Returns a header's value; empty when it is missing or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the event's id, from whichever family of headers is there.
    #[must_use]
    pub fn event_id(&self) -> &str {
        match self.header("webhook-id") {
            "" => self.header("x-webhook-id"),
            id => id,
        }
    }

    /// Returns the number of the attempt; 0 when there is none.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.header("x-webhook-attempt").parse().unwrap_or(0)
    }

    /// Returns why the request was made (spec §7).
    #[must_use]
    pub fn trigger(&self) -> &str {
        self.header("x-webhook-trigger")
    }

    /// Returns the body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("the body of {self}"))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, trigger, bytes) = (self.event_id(), self.trigger(), self.body.len());
        let Self { method, path, .. } = self;
        write!(
            f,
            "{method} {path} event {id:?}, attempt {} ({trigger:?}), {bytes} bytes",
            self.attempt()
        )
    }
}

/// Every request, in the order of arrival, and how many are unanswered.
pub(super) struct Ledger {
    entries: Mutex<Entries>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Entries {
    requests: Vec<Request>,
    in_flight: usize,
    in_flight_max: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { entries: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Ledger {
    /// Enters a request; it counts as unanswered until the guard is dropped.
    pub(super) fn enter(&self, request: Request) -> InFlight<'_> {
        let mut entries = self.lock();
        entries.requests.push(request);
        entries.in_flight += 1;
        entries.in_flight_max = entries.in_flight_max.max(entries.in_flight);
        drop(entries);
        self.count.send_modify(|count| *count += 1);
        InFlight(self)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&[Request]) -> T) -> T {
        look(&self.lock().requests)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    pub(super) async fn reaches(&self, n: usize) {
        let mut count = self.count.subscribe();
        // The sender lives in `self`.
        let _ = count.wait_for(|count| *count >= n).await;
    }

    pub(super) fn in_flight_max(&self) -> usize {
        self.lock().in_flight_max
    }

    pub(super) async fn wait_for(&self, enough: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let mut count = self.count.subscribe();
        loop {
            count.mark_unchanged();
            if let Some(found) = self.read(|all| enough(all).then(|| all.to_vec())) {
                return found;
            }
            // The sender lives in `self`.
            let _ = count.changed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An unanswered request.
pub(super) struct InFlight<'a>(&'a Ledger);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}
