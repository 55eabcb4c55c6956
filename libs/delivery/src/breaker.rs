//! The circuit breaker of one endpoint (spec §3).

use std::time::Duration;

use domain::{BreakerPhase, BreakerState, RetrySchedule, Timestamp, limits};

/// Counts consecutive failures; 5 of them open it, 10 disable the endpoint.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: BreakerState,
    /// Grows whenever the breaker opens or closes: attempts that began under another generation do not count.
    generation: u32,
}

/// What a failure led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tripped {
    /// Nothing new.
    No,
    /// The breaker opened just now.
    Opened,
    /// The endpoint has failed so often that it is to be disabled.
    Disable,
}

impl Breaker {
    pub(crate) fn new(state: BreakerState) -> Self {
        Self { state, generation: 0 }
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_new(&self) -> bool {
        self.state == BreakerState::default()
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state.phase, BreakerPhase::Open { .. })
    }

    /// When the next attempt may start; `None` while closed.
    pub(crate) fn next_attempt(&self) -> Option<Timestamp> {
        match self.state.phase {
            BreakerPhase::Closed => None,
            BreakerPhase::Open { next, .. } => Some(next),
        }
    }

    /// A success of an attempt of this generation. Returns whether it closed the breaker.
    pub(crate) fn succeeded(&mut self) -> bool {
        let was_open = self.is_open();
        self.state = BreakerState::default();
        if was_open {
            self.generation += 1;
        }
        was_open
    }

    /// A failure of an attempt of this generation.
    pub(crate) fn failed(&mut self, schedule: &RetrySchedule, now: Timestamp) -> Tripped {
        self.state.failures = self.state.failures.saturating_add(1);
        self.state.refusals = 0;
        let tripped = self.advance(schedule, now);
        if self.state.failures >= limits::DISABLE_FAILURES { Tripped::Disable } else { tripped }
    }

    /// An answer of an open breaker's attempt that says nothing: the pace goes on.
    pub(crate) fn neutral(&mut self, schedule: &RetrySchedule, now: Timestamp) {
        if self.is_open() {
            self.advance(schedule, now);
        }
    }

    /// One more refusal in a row (401, 403, 404, 410). Returns how many there are.
    pub(crate) fn refused(&mut self) -> u32 {
        self.state.refusals = self.state.refusals.saturating_add(1);
        self.state.refusals
    }

    /// A person changed something: one attempt may go out at once.
    pub(crate) fn allow_probe(&mut self, now: Timestamp) {
        if let BreakerPhase::Open { next, .. } = &mut self.state.phase {
            *next = now;
        }
    }

    pub(crate) fn reset(&mut self) {
        self.state = BreakerState::default();
        self.generation += 1;
    }

    fn advance(&mut self, schedule: &RetrySchedule, now: Timestamp) -> Tripped {
        match &mut self.state.phase {
            BreakerPhase::Open { probes, next, .. } => {
                *probes = probes.saturating_add(1);
                *next = now + pace(schedule, *probes);
                Tripped::No
            }
            BreakerPhase::Closed if self.state.failures >= limits::BREAKER_FAILURES => {
                let next = now + pace(schedule, 0);
                self.state.phase = BreakerPhase::Open { since: now, probes: 0, next };
                self.generation += 1;
                Tripped::Opened
            }
            BreakerPhase::Closed => Tripped::No,
        }
    }
}

/// The wait before attempt `probes + 1` of an open breaker: the schedule's steps, the last one for ever, each clamped to 100 ms … 5 min.
pub(crate) fn pace(schedule: &RetrySchedule, probes: u32) -> Duration {
    let default = RetrySchedule::default();
    let steps = if schedule.steps().is_empty() { default.steps() } else { schedule.steps() };
    let index = usize::try_from(probes).unwrap_or(usize::MAX).min(steps.len() - 1);
    let step = steps.get(index).copied().unwrap_or(limits::BREAKER_PACE_MAX);
    step.clamp(limits::BREAKER_PACE_MIN, limits::BREAKER_PACE_MAX)
}

/// The wait between probes of a disabled endpoint: the breaker's longest pace, after a day hourly; `None` after 7 days.
pub(crate) fn probe_pace(schedule: &RetrySchedule, disabled_for: Duration) -> Option<Duration> {
    if disabled_for >= limits::PROBE_END {
        return None;
    }
    let longest = pace(schedule, u32::MAX);
    let slow = disabled_for >= limits::PROBE_SLOW_AFTER;
    Some(if slow { longest.max(limits::PROBE_SLOW_PACE) } else { longest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_open_it_and_ten_disable() {
        let schedule = RetrySchedule::default();
        let mut breaker = Breaker::default();
        let now = Timestamp::from_millis(0);
        for _ in 0..4 {
            assert_eq!(breaker.failed(&schedule, now), Tripped::No);
        }
        assert_eq!(breaker.failed(&schedule, now), Tripped::Opened);
        let mut at = now;
        let mut waits = Vec::new();
        for expected in [Tripped::No, Tripped::No, Tripped::No, Tripped::No, Tripped::Disable] {
            let next = breaker.next_attempt().expect("open");
            waits.push(next.since(at).as_secs());
            at = next;
            assert_eq!(breaker.failed(&schedule, at), expected);
        }
        // A quarter of an hour of outage, never a burst (spec §3).
        assert_eq!(waits, [10, 60, 300, 300, 300]);
    }

    #[test]
    fn one_success_closes_it_and_starts_the_count_anew() {
        let schedule = RetrySchedule::default();
        let mut breaker = Breaker::default();
        for _ in 0..7 {
            breaker.failed(&schedule, Timestamp::ZERO);
        }
        assert!(breaker.succeeded());
        assert_eq!(breaker.state(), BreakerState::default());
        assert!(!breaker.succeeded());
    }

    #[test]
    fn the_pace_is_the_schedules_clamped() {
        let fast = RetrySchedule::new(vec![Duration::from_millis(100)]).expect("valid");
        assert_eq!(pace(&fast, 0), Duration::from_millis(100));
        assert_eq!(pace(&fast, 9), Duration::from_millis(100));
        let none = RetrySchedule::new(Vec::new()).expect("valid");
        assert_eq!(pace(&none, 1), Duration::from_secs(60));
        let day = Duration::from_secs(86_400);
        assert_eq!(probe_pace(&none, Duration::ZERO), Some(limits::BREAKER_PACE_MAX));
        assert_eq!(probe_pace(&none, day), Some(limits::PROBE_SLOW_PACE));
        assert_eq!(probe_pace(&none, day * 7), None);
    }
}
