//! A sender whose receivers follow a script.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{ErrorClass, Outcome, OutcomeKind, RetryAfter, Timestamp};
use ports::{Clock, Request, Sender};

/// What a scripted receiver does with one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// How it ends.
    pub kind: OutcomeKind,
    /// How long it takes, on the sender's clock; beyond the request's timeout it becomes a timeout.
    pub delay: Duration,
    /// The answer's `Retry-After`.
    pub retry_after: Option<RetryAfter>,
    /// The beginning of the answer's body.
    pub excerpt: Bytes,
}

impl Reply {
    /// An answer at once.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            kind: OutcomeKind::Answered(status),
            delay: Duration::ZERO,
            retry_after: None,
            excerpt: Bytes::new(),
        }
    }

    /// No answer, at once.
    #[must_use]
    pub fn failed(class: ErrorClass) -> Self {
        Self { kind: OutcomeKind::Failed(class), ..Self::status(200) }
    }

    /// Never an answer: the request times out.
    #[must_use]
    pub fn hang() -> Self {
        Self::status(200).after(Duration::MAX)
    }

    /// The same, so much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same with a `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        self
    }
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it started.
    pub time: Timestamp,
    /// The request.
    pub request: Request,
}

impl Sent {
    /// The value of a header; `None` when it was not sent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.request.headers;
        let found = headers.iter().find(|(n, _)| n.as_str() == name);
        found.map(|(_, value)| &**value)
    }
}

/// A `Sender` without a network: each URL follows its script, then its last word; others answer 200.
pub struct ScriptedSender {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Script>,
    sent: Vec<Sent>,
    in_flight: usize,
    in_flight_max: usize,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    then: Option<Reply>,
}

impl ScriptedSender {
    /// A sender on a clock; every receiver answers 200 until told otherwise.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State::default()) }
    }

    /// The next replies of a URL, after those that are left.
    pub fn script(&self, url: &str, replies: impl IntoIterator<Item = Reply>) {
        let mut state = self.lock();
        let script = state.scripts.entry(url.to_owned()).or_default();
        script.replies.extend(replies);
    }

    /// What a URL does once its script is used up; drops what is left of the script.
    pub fn always(&self, url: &str, reply: Reply) {
        let script = Script { replies: VecDeque::new(), then: Some(reply) };
        self.lock().scripts.insert(url.to_owned(), script);
    }

    /// Every request so far, in the order in which they started.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    /// The requests to one URL so far.
    #[must_use]
    pub fn sent_to(&self, url: &str) -> Vec<Sent> {
        let sent = self.sent().into_iter();
        sent.filter(|sent| &*sent.request.url == url).collect()
    }

    /// Requests that have not ended, now and at most.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        let state = self.lock();
        (state.in_flight, state.in_flight_max)
    }

    fn begin(&self, request: &Request) -> (Reply, InFlight<'_>) {
        let time = self.clock.now();
        let mut state = self.lock();
        state.sent.push(Sent { time, request: request.clone() });
        state.in_flight += 1;
        state.in_flight_max = state.in_flight_max.max(state.in_flight);
        let script = state.scripts.get_mut(&*request.url);
        let reply = script.and_then(|script| {
            let next = script.replies.pop_front();
            next.or_else(|| script.then.clone())
        });
        (reply.unwrap_or_else(|| Reply::status(200)), InFlight(self))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct InFlight<'a>(&'a ScriptedSender);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

#[async_trait]
impl Sender for ScriptedSender {
    async fn send(&self, request: Request) -> Outcome {
        let (reply, _in_flight) = self.begin(&request);
        let timed_out = reply.delay > request.timeout;
        let duration = reply.delay.min(request.timeout);
        self.clock.sleep(duration).await;
        Outcome {
            kind: if timed_out { OutcomeKind::Failed(ErrorClass::Timeout) } else { reply.kind },
            duration,
            excerpt: if timed_out { Bytes::new() } else { reply.excerpt },
            retry_after: reply.retry_after.filter(|_| !timed_out),
            detail: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimClock;

    fn request(url: &str) -> Request {
        Request {
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(30),
        }
    }

    #[tokio::test]
    async fn a_url_follows_its_script_and_every_request_is_recorded() {
        let clock = SimClock::default();
        let sender = ScriptedSender::new(Arc::new(clock.clone()));
        sender.always("https://a/", Reply::status(204));
        sender.script("https://a/", [Reply::status(500), Reply::failed(ErrorClass::Tls)]);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(sender.send(request("https://a/")).await.kind);
        }
        assert_eq!(
            kinds,
            [
                OutcomeKind::Answered(500),
                OutcomeKind::Failed(ErrorClass::Tls),
                OutcomeKind::Answered(204)
            ]
        );
        assert_eq!(sender.sent_to("https://a/").len(), 3);
        assert_eq!(sender.in_flight(), (0, 1));
    }

    #[tokio::test]
    async fn a_receiver_that_hangs_ends_by_the_timeout() {
        let clock = SimClock::default();
        let sender = ScriptedSender::new(Arc::new(clock.clone()));
        sender.always("https://a/", Reply::hang());
        let (outcome, ()) = tokio::join!(sender.send(request("https://a/")), async {
            assert_eq!(sender.in_flight().0, 1);
            clock.advance_to(clock.next_wake().expect("the request waits"));
        });
        assert_eq!(outcome.kind, OutcomeKind::Failed(ErrorClass::Timeout));
        assert_eq!(outcome.duration, Duration::from_secs(30));
    }
}
