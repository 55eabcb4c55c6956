//! Receivers in memory, with a ledger of every request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{Outcome, OutcomeKind};
use ports::{Clock as _, Request, Sender};
use runtime::SystemClock;

/// What all receivers saw.
#[derive(Default)]
pub(crate) struct Ledger {
    requests: Mutex<Vec<Received>>,
    /// Requests to receivers with `flaky` in their address, which fail every second one.
    flaky: AtomicUsize,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) worker: &'static str,
    pub(crate) url: Arc<str>,
    pub(crate) event: String,
    /// What was answered; nothing yet.
    pub(crate) ok: Option<bool>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// How often each (address, event) was taken.
    pub(crate) fn taken(&self) -> BTreeMap<(Arc<str>, String), usize> {
        let mut taken = BTreeMap::new();
        for request in self.lock().iter().filter(|request| request.ok == Some(true)) {
            *taken.entry((request.url.clone(), request.event.clone())).or_insert(0) += 1;
        }
        taken
    }
}

/// The way of one worker to the receivers.
pub(crate) struct Line {
    pub(crate) worker: &'static str,
    pub(crate) ledger: Arc<Ledger>,
    /// How long a receiver takes.
    pub(crate) work: Duration,
}

#[async_trait]
impl Sender for Line {
    async fn send(&self, request: Request) -> Outcome {
        let event = request.headers.iter().find(|(name, _)| name.as_str() == "webhook-id");
        let event = event.map(|(_, value)| value.to_string()).unwrap_or_default();
        let is_flaky = request.url.contains("flaky");
        let ok = !is_flaky || self.ledger.flaky.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let received = Received { worker: self.worker, url: request.url, event, ok: None };
        let place = {
            let mut requests = self.ledger.lock();
            requests.push(received);
            requests.len() - 1
        };
        if !self.work.is_zero() {
            SystemClock::new().sleep(self.work).await;
        }
        self.ledger.lock()[place].ok = Some(ok);
        Outcome {
            kind: OutcomeKind::Answered(if ok { 200 } else { 500 }),
            duration: self.work,
            excerpt: Bytes::from_static(b"ok"),
            retry_after: None,
            detail: String::new(),
        }
    }
}
