//! What an outcome means: for the delivery, and for the endpoint's health (spec §3, §6).

use domain::{DeadLetterReason, ErrorClass, Outcome, OutcomeKind};

/// What becomes of the delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The receiver took it.
    Delivered,
    /// Try again by the schedule.
    Retry,
    /// Dead letter at once.
    DeadLetter(DeadLetterReason),
    /// The endpoint refuses everything with this status; dead letter once it is disabled, retry before.
    Refused(u16),
}

/// What the outcome says about the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing: it is busy, or this one request was wrong.
    Neutral,
}

/// Reads an outcome by the table of spec §6 and the list of failures of spec §3.
#[must_use]
pub fn verdict(outcome: &Outcome) -> (Verdict, Health) {
    match outcome.kind {
        OutcomeKind::Answered(200..=299) => (Verdict::Delivered, Health::Success),
        OutcomeKind::Answered(status @ (401 | 403 | 404 | 410)) => {
            (Verdict::Refused(status), Health::Neutral)
        }
        OutcomeKind::Answered(429) => (Verdict::Retry, Health::Neutral),
        OutcomeKind::Answered(503) if outcome.retry_after.is_some() => {
            (Verdict::Retry, Health::Neutral)
        }
        OutcomeKind::Answered(408 | 425) => (Verdict::Retry, Health::Failure),
        OutcomeKind::Answered(400..=499) => {
            (Verdict::DeadLetter(DeadLetterReason::Rejected), Health::Neutral)
        }
        OutcomeKind::Failed(ErrorClass::Blocked) => {
            (Verdict::DeadLetter(DeadLetterReason::BlockedDestination), Health::Neutral)
        }
        // 1xx as a final status, 3xx, 5xx and what no RFC knows: not taken, and the endpoint's fault.
        OutcomeKind::Answered(_) | OutcomeKind::Failed(_) => (Verdict::Retry, Health::Failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::RetryAfter;
    use std::time::Duration;

    fn outcome(kind: OutcomeKind, retry_after: Option<RetryAfter>) -> Outcome {
        Outcome {
            kind,
            duration: Duration::ZERO,
            excerpt: bytes::Bytes::new(),
            retry_after,
            detail: String::new(),
        }
    }

    #[test]
    fn every_row_of_the_table_has_its_verdict() {
        let dead = Verdict::DeadLetter;
        let rows: [(u16, Verdict, Health); 17] = [
            (200, Verdict::Delivered, Health::Success),
            (204, Verdict::Delivered, Health::Success),
            (299, Verdict::Delivered, Health::Success),
            (301, Verdict::Retry, Health::Failure),
            (304, Verdict::Retry, Health::Failure),
            (400, dead(DeadLetterReason::Rejected), Health::Neutral),
            (401, Verdict::Refused(401), Health::Neutral),
            (403, Verdict::Refused(403), Health::Neutral),
            (404, Verdict::Refused(404), Health::Neutral),
            (408, Verdict::Retry, Health::Failure),
            (410, Verdict::Refused(410), Health::Neutral),
            (422, dead(DeadLetterReason::Rejected), Health::Neutral),
            (425, Verdict::Retry, Health::Failure),
            (429, Verdict::Retry, Health::Neutral),
            (500, Verdict::Retry, Health::Failure),
            (503, Verdict::Retry, Health::Failure),
            (999, Verdict::Retry, Health::Failure),
        ];
        for (status, expected, health) in rows {
            let got = verdict(&outcome(OutcomeKind::Answered(status), None));
            assert_eq!(got, (expected, health), "{status}");
        }
    }

    #[test]
    fn a_busy_receiver_is_not_a_failing_one() {
        let after = Some(RetryAfter::Delay(Duration::from_secs(1)));
        let (_, health) = verdict(&outcome(OutcomeKind::Answered(503), after));
        assert_eq!(health, Health::Neutral);
    }

    #[test]
    fn errors_are_retried_but_for_blocked_destinations() {
        for class in [
            ErrorClass::Dns,
            ErrorClass::Connect,
            ErrorClass::Tls,
            ErrorClass::Timeout,
            ErrorClass::Http,
        ] {
            let got = verdict(&outcome(OutcomeKind::Failed(class), None));
            assert_eq!(got, (Verdict::Retry, Health::Failure), "{class:?}");
        }
        let blocked = verdict(&outcome(OutcomeKind::Failed(ErrorClass::Blocked), None));
        assert_eq!(
            blocked,
            (Verdict::DeadLetter(DeadLetterReason::BlockedDestination), Health::Neutral)
        );
    }
}
