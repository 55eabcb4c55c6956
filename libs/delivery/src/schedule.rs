//! When a failed delivery is tried again.

use std::time::Duration;

use domain::{Outcome, OutcomeKind, RetrySchedule, Timestamp, limits};

use crate::engine::Jitter;

/// Returns how long to wait after failed attempt `number` (1-based), or `None` when that was the last one.
///
/// Shape: `step × [0.9, 1.1)`, never less than the answer's `Retry-After` (at most 24 h), which counts on 429 and 503 alone. Source: spec §6; RFC 9110 §10.2.3.
#[must_use]
pub fn retry_delay(
    schedule: &RetrySchedule,
    number: u32,
    outcome: &Outcome,
    jitter: Jitter,
    now: Timestamp,
) -> Option<Duration> {
    let step = schedule.step_after(number)?;
    let wait = jitter.apply(step);
    Some(retry_after(outcome, now).map_or(wait, |asked| wait.max(asked)))
}

/// The wait that the receiver asked for, at most 24 h; `None` when it did not, or on other answers than 429 and 503.
pub(crate) fn retry_after(outcome: &Outcome, now: Timestamp) -> Option<Duration> {
    match outcome.kind {
        OutcomeKind::Answered(429 | 503) => {
            outcome.retry_after.map(|after| after.delay(now).min(limits::RETRY_AFTER_MAX))
        }
        OutcomeKind::Answered(_) | OutcomeKind::Failed(_) => None,
    }
}

impl Jitter {
    /// `duration × [0.9, 1.1)`.
    fn apply(self, duration: Duration) -> Duration {
        // 32 bits of chance are plenty: a day in steps of 4 µs.
        let part = f64::from((self.0 >> 32) as u32) / (f64::from(u32::MAX) + 1.0);
        duration.mul_f64(0.9 + 0.2 * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::RetryAfter;
    use proptest::prelude::*;

    fn answer(status: u16, retry_after: Option<RetryAfter>) -> Outcome {
        Outcome {
            kind: OutcomeKind::Answered(status),
            duration: Duration::ZERO,
            excerpt: bytes::Bytes::new(),
            retry_after,
            detail: String::new(),
        }
    }

    proptest! {
        #[test]
        fn waits_stay_within_a_tenth_of_the_step(bits: u64, number in 1_u32..=7) {
            let schedule = RetrySchedule::default();
            let step = schedule.step_after(number).expect("a step");
            let wait = retry_delay(&schedule, number, &answer(500, None), Jitter(bits), Timestamp::ZERO)
                .expect("a wait");
            prop_assert!(wait >= step.mul_f64(0.9) && wait < step.mul_f64(1.1));
        }
    }

    #[test]
    fn retry_after_counts_on_429_and_503_and_at_most_a_day() {
        let wait = |status, after| {
            let outcome = answer(status, Some(after));
            retry_delay(&RetrySchedule::default(), 1, &outcome, Jitter(0), Timestamp::ZERO)
        };
        let secs = Duration::from_secs;
        let later = |s| RetryAfter::Delay(secs(s));
        assert_eq!(wait(429, later(100)), Some(secs(100)));
        assert_eq!(wait(503, later(100)), Some(secs(100)));
        assert_eq!(wait(500, later(100)), Some(secs(9)));
        assert_eq!(wait(429, later(1)), Some(secs(9)));
        assert_eq!(wait(429, later(1_000_000_000)), Some(secs(86_400)));
        assert_eq!(wait(429, RetryAfter::At(Timestamp::from_millis(60_000))), Some(secs(60)));
    }

    #[test]
    fn the_last_attempt_has_no_successor() {
        let outcome = answer(500, None);
        assert_eq!(
            retry_delay(&RetrySchedule::default(), 8, &outcome, Jitter(0), Timestamp::ZERO),
            None
        );
    }
}
