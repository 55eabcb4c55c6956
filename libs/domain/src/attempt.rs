//! What is recorded about requests: immutable facts, from which a delivery's state is computed.

use std::cmp::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    AttemptId, DeadLetterReason, EndpointUid, ErrorClass, EventRef, OutcomeKind, RunId, Timestamp,
};

/// A fact about one delivery (event × endpoint). Never changed once written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The event.
    pub event: EventRef,
    /// The endpoint.
    pub endpoint: EndpointUid,
    /// The run it belongs to.
    pub run: RunId,
    /// Keeps facts of a run apart; a request's id, or a fresh id for marks.
    pub id: AttemptId,
    /// When it happened: for a request, when it started.
    pub time: Timestamp,
    /// What happened.
    pub kind: FactKind,
}

/// What happened to a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FactKind {
    /// A request was made.
    Attempt(Attempt),
    /// It became a dead letter without a further request (expired).
    DeadLettered(DeadLetterReason),
    /// A person cancelled it.
    Cancelled,
}

/// One request to a receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// 1-based; a probe repeats the number of the attempt that it stands for.
    pub number: u32,
    /// Why it was made.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// How long it took.
    pub duration: Duration,
    /// The beginning of the answer's body: 16 KiB of a failure, 1 KiB of a success.
    pub excerpt: Bytes,
    /// One line for people; may be empty.
    pub detail: String,
    /// How many signatures the request carried.
    pub signatures: u8,
    /// What we decided.
    pub disposition: Disposition,
}

/// What was decided after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Delivered.
    Delivered,
    /// Tried again, not before this time.
    Retry {
        /// When the next attempt is due.
        next: Timestamp,
    },
    /// Now a dead letter.
    DeadLettered(DeadLetterReason),
}

/// Why a request was made (spec §7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Trigger {
    /// The event itself, first attempt.
    Event,
    /// The schedule, after a failure.
    Retry,
    /// A person took a dead letter up again.
    Redrive,
    /// A range of the log was delivered again.
    Replay,
    /// A person sent an event again.
    Resend,
    /// A disabled endpoint was asked whether it is back; uses up no attempt.
    Probe,
    /// A person sent a test event.
    Test,
}

impl Trigger {
    /// The name that `X-Webhook-Trigger`, the API and the stores use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Retry => "retry",
            Self::Redrive => "redrive",
            Self::Replay => "replay",
            Self::Resend => "resend",
            Self::Probe => "probe",
            Self::Test => "test",
        }
    }

    /// Undoes [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Event,
            Self::Retry,
            Self::Redrive,
            Self::Replay,
            Self::Resend,
            Self::Probe,
            Self::Test,
        ]
        .into_iter()
        .find(|trigger| trigger.as_str() == text)
    }
}

/// What the facts of one run say; all that a look before a second send needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunState {
    /// The highest attempt number, probes apart; 0 without attempts.
    pub attempts: u32,
    /// When the attempt after that one is due; `None` where that one was the last.
    next: Option<Timestamp>,
    /// How the run has ended; `None` while it goes on.
    pub end: Option<RunEnd>,
}

/// How a run ended. Where facts say several, the greatest holds: a success is final, and a dead letter is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RunEnd {
    /// A person cancelled it.
    Cancelled,
    /// It left a dead letter.
    DeadLettered,
    /// The receiver took it.
    Delivered,
}

impl RunState {
    /// Reads the facts of one delivery that belong to `run`. A 2xx by a probe ends the run like any other.
    #[must_use]
    pub fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>, run: RunId) -> Self {
        let mut state = Self::default();
        for fact in facts.into_iter().filter(|fact| fact.run == run) {
            state.end = state.end.max(fact.kind.run_end());
            if let FactKind::Attempt(attempt) = &fact.kind
                && attempt.trigger != Trigger::Probe
            {
                state.take(attempt);
            }
        }
        state
    }

    fn take(&mut self, attempt: &Attempt) {
        let next = match attempt.disposition {
            Disposition::Retry { next } => Some(next),
            Disposition::Delivered | Disposition::DeadLettered(_) => None,
        };
        // Of two attempts of one number, made before and after a crash, the later due time holds.
        self.next = match attempt.number.cmp(&self.attempts) {
            Ordering::Greater => next,
            Ordering::Equal => self.next.max(next),
            Ordering::Less => self.next,
        };
        self.attempts = self.attempts.max(attempt.number);
    }

    /// When the next attempt is due; `None` before the first one and once the run has ended.
    #[must_use]
    pub fn retry(self) -> Option<Timestamp> {
        self.next.filter(|_| !self.has_ended())
    }

    /// Whether the run has ended: delivered, dead-lettered or cancelled.
    #[must_use]
    pub fn has_ended(self) -> bool {
        self.end.is_some()
    }

    /// Whether a backlog row for attempt `number` has nothing left to do.
    #[must_use]
    pub fn voids(self, number: u32) -> bool {
        self.has_ended() || self.attempts >= number
    }
}

/// What a dead letter of a delivery says when no attempt of its own ends it: read from the facts of all runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastKnown {
    /// Why it was a dead letter last; a failed test leaves none.
    pub reason: Option<DeadLetterReason>,
    /// How the last request ended.
    pub outcome: Option<OutcomeKind>,
}

impl LastKnown {
    /// Reads the facts of one delivery, in any order.
    #[must_use]
    pub fn of(facts: &[Fact]) -> Self {
        let mut facts: Vec<&Fact> = facts.iter().collect();
        facts.sort_by_key(|fact| (fact.time, fact.id));
        let mut known = Self::default();
        for fact in facts {
            match &fact.kind {
                FactKind::DeadLettered(reason) => known.reason = Some(*reason),
                FactKind::Cancelled => {}
                FactKind::Attempt(attempt) => {
                    known.outcome = Some(attempt.outcome);
                    if let Disposition::DeadLettered(reason) = attempt.disposition
                        && attempt.trigger != Trigger::Test
                    {
                        known.reason = Some(reason);
                    }
                }
            }
        }
        known
    }
}

impl FactKind {
    fn run_end(&self) -> Option<RunEnd> {
        match self {
            Self::DeadLettered(_) => Some(RunEnd::DeadLettered),
            Self::Cancelled => Some(RunEnd::Cancelled),
            Self::Attempt(attempt) => match attempt.disposition {
                Disposition::Delivered => Some(RunEnd::Delivered),
                Disposition::DeadLettered(_) => Some(RunEnd::DeadLettered),
                Disposition::Retry { .. } => None,
            },
        }
    }
}

impl Fact {
    /// The error class or status, in the words of the API: `http 503`, `timeout`.
    #[must_use]
    pub fn outcome_text(kind: OutcomeKind) -> String {
        match kind {
            OutcomeKind::Answered(status) => format!("http {status}"),
            OutcomeKind::Failed(class) => ErrorClass::as_str(class).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, LogPosition, Position, Shard, TenantId};

    fn attempt(number: u32, trigger: Trigger, disposition: Disposition) -> Fact {
        let at = LogPosition { shard: Shard(0), position: Position(1) };
        let id = EventId::parse("evt_1").expect("valid");
        Fact {
            event: EventRef { tenant: TenantId::default_tenant(), id, at },
            endpoint: EndpointUid::from_uuid(RunId::LOG.uuid()),
            run: RunId::LOG,
            id: AttemptId::from_uuid(RunId::LOG.uuid()),
            time: Timestamp::ZERO,
            kind: FactKind::Attempt(Attempt {
                number,
                trigger,
                outcome: OutcomeKind::Answered(500),
                duration: Duration::ZERO,
                excerpt: Bytes::new(),
                detail: String::new(),
                signatures: 1,
                disposition,
            }),
        }
    }

    fn retried(number: u32, next_ms: i64) -> Fact {
        let next = Timestamp::from_millis(next_ms);
        attempt(number, Trigger::Event, Disposition::Retry { next })
    }

    fn next_ms(facts: &[Fact]) -> Option<i64> {
        RunState::of(facts, RunId::LOG).retry().map(Timestamp::as_millis)
    }

    #[test]
    fn the_next_attempt_is_due_as_the_highest_one_said() {
        assert_eq!(next_ms(&[]), None);
        assert_eq!(next_ms(&[retried(2, 20), retried(1, 90)]), Some(20));
        assert_eq!(next_ms(&[retried(1, 40), retried(1, 10)]), Some(40), "made twice");
        let next = Timestamp::from_millis(99);
        let probe = attempt(9, Trigger::Probe, Disposition::Retry { next });
        assert_eq!(next_ms(&[retried(1, 40), probe]), Some(40));
    }

    #[test]
    fn a_run_that_has_ended_has_no_next_attempt() {
        let delivered = attempt(1, Trigger::Event, Disposition::Delivered);
        assert_eq!(next_ms(&[retried(1, 40), delivered]), None);
        let cancelled = Fact { kind: FactKind::Cancelled, ..retried(1, 0) };
        assert_eq!(next_ms(&[retried(1, 40), cancelled]), None);
    }
}
