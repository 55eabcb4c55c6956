//! One attempt: body, signature, request, report.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{AttemptReport, AttemptStart};
use domain::{AttemptId, ErrorClass, Outcome, OutcomeKind, Payload, Timestamp, payload};
use futures::FutureExt as _;
use ports::{Clock, HeaderName, Hold, Lease, Request, Rng, Sender};
use signing::SignedHeaders;
use uuid::Builder;

use crate::target::Target;

/// How often a request asks again whether its shard is still ours.
const LEASE_POLL: Duration = Duration::from_millis(100);

/// What every attempt needs.
#[derive(Clone)]
pub(crate) struct Attempts {
    pub(crate) sender: Arc<dyn Sender>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) user_agent: Arc<str>,
}

impl Attempts {
    /// Signs and sends one request, and waits for its outcome. A panic on the way is our bug and ends this attempt alone, so that its place is free again.
    ///
    /// Nothing is sent, and `None` given, once the lease of its shard has ended; while it has lapsed the request waits.
    pub(crate) async fn make(
        self,
        start: AttemptStart,
        target: Arc<Target>,
        lease: Lease,
    ) -> Option<AttemptReport> {
        loop {
            match lease.hold(self.clock.monotonic()) {
                Hold::Held => return Some(self.make_now(start, target).await),
                Hold::Lapsed => self.clock.sleep(LEASE_POLL).await,
                Hold::Ended => return None,
            }
        }
    }

    async fn make_now(&self, start: AttemptStart, target: Arc<Target>) -> AttemptReport {
        let started = self.clock.now();
        let id = attempt_id(started, &*self.rng);
        let url = target.url.clone();
        let sending = AssertUnwindSafe(self.send(start, &target, started)).catch_unwind();
        let sent = sending.await.unwrap_or_else(|_| {
            tracing::error!("making a request panicked: a bug; the delivery is tried again");
            Err("failed inside postrider; see its log")
        });
        match sent {
            Ok((outcome, signatures)) => {
                AttemptReport { id, started, outcome, signatures, url, own_fault: false }
            }
            Err(why) => {
                let outcome = self.not_sent(started, why);
                AttemptReport { id, started, outcome, signatures: 0, url, own_fault: true }
            }
        }
    }

    /// Signs and sends; with the outcome comes how many signatures there were. Otherwise why nothing was sent.
    async fn send(
        &self,
        start: AttemptStart,
        target: &Target,
        started: Timestamp,
    ) -> Result<(Outcome, u8), &'static str> {
        let Some(signer) = target.signer(started) else {
            // SE-1: nothing goes out unsigned.
            return Err("no secret of the endpoint can be used");
        };
        let payload = payload(&start.event, target.format);
        let mut signed = SignedHeaders::new();
        signer.sign(start.event.id.as_str(), started.as_secs(), &payload.body, &mut signed);
        let request = Request {
            url: target.url.clone(),
            headers: self.headers(&start, target, &payload, &signed),
            body: payload.body,
            timeout: target.timeout,
        };
        let outcome = self.sender.send(request).await;
        Ok((outcome, u8::try_from(signer.live_secrets()).unwrap_or(u8::MAX)))
    }

    fn not_sent(&self, started: Timestamp, detail: &str) -> Outcome {
        Outcome {
            kind: OutcomeKind::Failed(ErrorClass::Http),
            duration: self.clock.now().since(started),
            excerpt: Bytes::new(),
            retry_after: None,
            detail: detail.to_owned(),
        }
    }

    fn headers(
        &self,
        start: &AttemptStart,
        target: &Target,
        payload: &Payload,
        signed: &SignedHeaders,
    ) -> Vec<(HeaderName, Box<str>)> {
        let mut headers = Vec::with_capacity(14 + target.headers.len());
        let mut put = |name, value: &str| headers.push((HeaderName::Static(name), value.into()));
        put("content-type", &payload.content_type);
        put("user-agent", &self.user_agent);
        signed.iter().for_each(|(name, value)| put(name, value));
        put("x-webhook-attempt", &start.number.to_string());
        put("x-webhook-trigger", start.trigger.as_str());
        match &start.event.traceparent {
            Some(trace) => put("traceparent", trace),
            None => put("traceparent", &new_trace(&*self.rng)),
        }
        for (name, value) in &payload.headers {
            put(name, value);
        }
        headers.extend(target.headers.iter().map(|(name, value)| (name.clone(), (**value).into())));
        headers
    }
}

/// A fresh trace, not sampled: W3C Trace Context §3.2.
fn new_trace(rng: &dyn Rng) -> String {
    format!("00-{:032x}-{:016x}-00", rng.next_u128().max(1), rng.next_u64().max(1))
}

/// A UUIDv7 of the attempt's start.
fn attempt_id(started: Timestamp, rng: &dyn Rng) -> AttemptId {
    let ms = u64::try_from(started.as_millis()).unwrap_or(0);
    let [_, _, _, _, _, _, random @ ..] = rng.next_u128().to_be_bytes();
    AttemptId::from_uuid(Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
}
