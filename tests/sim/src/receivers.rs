//! Receivers whose behaviour follows from the seed, and the sender that reaches them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EndpointUid, ErrorClass, EventId, Outcome, OutcomeKind, RetryAfter, Timestamp};
use ports::{Clock, Request, Sender};
use signing::{DEFAULT_TOLERANCE, Secret, header, verify_standard, verify_x_webhook};
use testkit::SimClock;

use crate::chance::Chance;
use crate::journal::{Journal, Sent, What};
use crate::sabotage::Sabotage;

/// How a receiver behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    /// 200 after so long.
    Well { ms: u64 },
    /// This status after so long.
    Status { status: u16, ms: u64 },
    /// This status, with a `Retry-After`.
    Busy { status: u16, after_secs: u64 },
    /// It never answers.
    Silent,
    /// There is no connection.
    Broken,
    /// Well so many times of a hundred, otherwise 500.
    Flapping { share: u64, ms: u64 },
    /// Each time something else.
    Anything,
}

/// What becomes of one request.
struct Reply {
    kind: OutcomeKind,
    takes: Duration,
    retry_after: Option<u64>,
}

impl Behaviour {
    fn reply(self, chance: &Chance) -> Reply {
        let reply = |kind, ms| Reply { kind, takes: Duration::from_millis(ms), retry_after: None };
        match self {
            Self::Well { ms } => reply(OutcomeKind::Answered(200), ms),
            Self::Status { status, ms } => reply(OutcomeKind::Answered(status), ms),
            Self::Busy { status, after_secs } => {
                Reply { retry_after: Some(after_secs), ..reply(OutcomeKind::Answered(status), 3) }
            }
            Self::Silent => reply(OutcomeKind::Failed(ErrorClass::Timeout), u64::MAX),
            Self::Broken => {
                let class = chance.weighted(&[
                    (70, ErrorClass::Connect),
                    (15, ErrorClass::Dns),
                    (15, ErrorClass::Tls),
                ]);
                reply(OutcomeKind::Failed(class), 2)
            }
            Self::Flapping { share, ms } => {
                let status = if chance.percent(share) { 200 } else { 500 };
                reply(OutcomeKind::Answered(status), ms)
            }
            Self::Anything => {
                let status = chance.weighted(&[(40, 200), (30, 500), (15, 429), (15, 204)]);
                reply(OutcomeKind::Answered(status), chance.below(3_000))
            }
        }
    }
}

/// All receivers of a history.
pub(crate) struct Receivers {
    clock: SimClock,
    journal: Journal,
    sabotage: Sabotage,
    state: Mutex<State>,
}

struct State {
    by_url: BTreeMap<String, Receiver>,
    chance: Chance,
    requests: usize,
}

struct Receiver {
    endpoint: EndpointUid,
    secret: Secret,
    behaviour: Behaviour,
}

impl Receivers {
    pub(crate) fn new(seed: u64, clock: SimClock, journal: Journal, sabotage: Sabotage) -> Self {
        let chance = Chance::new(seed, "receivers");
        let state = State { by_url: BTreeMap::new(), chance, requests: 0 };
        Self { clock, journal, sabotage, state: Mutex::new(state) }
    }

    pub(crate) fn add(
        &self,
        url: String,
        endpoint: EndpointUid,
        secret: Secret,
        behaviour: Behaviour,
    ) {
        self.lock().by_url.insert(url, Receiver { endpoint, secret, behaviour });
    }

    pub(crate) fn behave(&self, url: &str, behaviour: Behaviour) {
        if let Some(receiver) = self.lock().by_url.get_mut(url) {
            receiver.behaviour = behaviour;
        }
    }

    /// A request arrives: what becomes of it is decided here, and noted.
    fn meet(&self, worker: usize, in_flight: usize, request: &Request) -> Met {
        let now = self.clock.now();
        let mut state = self.lock();
        let State { by_url, chance, requests } = &mut *state;
        let receiver = by_url.get(&*request.url).expect("only endpoints of the plan have URLs");
        let Reply { kind, takes, retry_after } = receiver.behaviour.reply(chance);
        let is_late = takes > request.timeout;
        let outcome = if is_late { OutcomeKind::Failed(ErrorClass::Timeout) } else { kind };
        let number = *requests;
        *requests += 1;
        let retry_after = retry_after.filter(|_| !is_late).map(Duration::from_secs);
        let takes = takes.min(request.timeout);
        let sent = Sent {
            request: number,
            worker,
            in_flight,
            endpoint: receiver.endpoint,
            event: event_of(request),
            attempt: text(request, "x-webhook-attempt").parse().unwrap_or(0),
            trigger: text(request, "x-webhook-trigger").to_owned(),
            outcome,
            takes,
            retry_after,
            unsigned: unsigned(request, &receiver.secret, now),
        };
        self.journal.note(now, What::Sent(sent));
        Met { number, outcome, takes, retry_after }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Met {
    number: usize,
    outcome: OutcomeKind,
    takes: Duration,
    retry_after: Option<Duration>,
}

fn text<'r>(request: &'r Request, name: &str) -> &'r str {
    let found = request.headers.iter().find(|(header, _)| header.as_str() == name);
    found.map_or("", |(_, value)| value)
}

fn event_of(request: &Request) -> EventId {
    let ids = [header::WEBHOOK_ID, header::X_WEBHOOK_ID].map(|name| text(request, name));
    let id = ids.into_iter().find(|id| !id.is_empty());
    EventId::parse(id.unwrap_or("none")).expect("a request names its event")
}

/// Why a request does not verify as a receiver of either scheme would see it; `None` when it does (SE-1).
fn unsigned(request: &Request, secret: &Secret, now: Timestamp) -> Option<String> {
    let header = |name: &str| Some(text(request, name).as_bytes()).filter(|v| !v.is_empty());
    let has = |name| !text(request, name).is_empty();
    let (secrets, now) = (std::slice::from_ref(secret), now.as_secs());
    let body = &request.body;
    let mut faults = Vec::new();
    if has(header::WEBHOOK_SIGNATURE)
        && let Err(error) = verify_standard(secrets, header, body, now, DEFAULT_TOLERANCE)
    {
        faults.push(format!("standard: {error}"));
    }
    if has(header::X_WEBHOOK_SIGNATURE)
        && let Err(error) = verify_x_webhook(secrets, header, body, now, DEFAULT_TOLERANCE)
    {
        faults.push(format!("x-webhook: {error}"));
    }
    if !has(header::WEBHOOK_SIGNATURE) && !has(header::X_WEBHOOK_SIGNATURE) {
        faults.push("no signature at all".to_owned());
    }
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// The sender of one worker.
pub(crate) struct SimSender {
    receivers: Arc<Receivers>,
    worker: usize,
    in_flight: Arc<Mutex<usize>>,
}

impl SimSender {
    pub(crate) fn new(receivers: Arc<Receivers>, worker: usize) -> Self {
        Self { receivers, worker, in_flight: Arc::default() }
    }
}

/// A request on its way; one that is dropped before its end is noted.
struct Flight<'a> {
    sender: &'a SimSender,
    number: usize,
    ended: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let receivers = &self.sender.receivers;
        *self.sender.in_flight.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        if !self.ended {
            receivers.journal.note(receivers.clock.now(), What::Dropped { request: self.number });
        }
    }
}

#[async_trait]
impl Sender for SimSender {
    async fn send(&self, mut request: Request) -> Outcome {
        if self.receivers.sabotage == Sabotage::BodiesAreChanged {
            request.body = [&*request.body, b" "].concat().into();
        }
        let in_flight = {
            let mut count = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            *count
        };
        let met = self.receivers.meet(self.worker, in_flight, &request);
        if self.receivers.sabotage == Sabotage::RequestsAreDoubled {
            self.receivers.meet(self.worker, in_flight, &request);
        }
        let mut flight = Flight { sender: self, number: met.number, ended: false };
        self.receivers.clock.sleep(met.takes).await;
        flight.ended = true;
        let now = self.receivers.clock.now();
        let outcome = met.outcome;
        self.receivers.journal.note(now, What::Answered { request: met.number, outcome });
        Outcome {
            kind: outcome,
            duration: met.takes,
            excerpt: Bytes::new(),
            retry_after: met.retry_after.map(RetryAfter::Delay),
            detail: String::new(),
        }
    }
}
