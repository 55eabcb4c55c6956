//! How many attempts of one endpoint may be in flight: additive increase, multiplicative decrease (`performance.md` §3.3).

use domain::{ErrorClass, Outcome, OutcomeKind};

/// Where a window starts: enough to fill a fast receiver's connection, small enough to find out about a slow one.
const START: f64 = 8.0;

#[derive(Debug)]
pub(crate) struct Window {
    size: f64,
    max: f64,
}

impl Window {
    pub(crate) fn new(max: u32) -> Self {
        let max = f64::from(max.max(1));
        Self { size: START.min(max), max }
    }

    pub(crate) fn set_max(&mut self, max: u32) {
        self.max = f64::from(max.max(1));
        self.size = self.size.min(self.max);
    }

    /// Whether one more attempt may start.
    pub(crate) fn admits(&self, in_flight: u32) -> bool {
        f64::from(in_flight) < self.size.floor().max(1.0)
    }

    /// Learns from an outcome; `in_flight` counts the attempt itself.
    pub(crate) fn learn(&mut self, outcome: &Outcome, in_flight: u32) {
        let factor = match outcome.kind {
            OutcomeKind::Answered(200..=299) => {
                // Grows only while it is used: an idle endpoint proves nothing.
                if f64::from(in_flight) + 1.0 >= self.size {
                    self.size = (self.size + 1.0 / self.size).min(self.max);
                }
                return;
            }
            OutcomeKind::Answered(429)
            | OutcomeKind::Failed(ErrorClass::Timeout | ErrorClass::Connect) => 0.5,
            OutcomeKind::Answered(503) if outcome.retry_after.is_some() => 0.5,
            OutcomeKind::Answered(503) => 0.8,
            OutcomeKind::Answered(_) | OutcomeKind::Failed(_) => return,
        };
        self.size = (self.size * factor).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn outcome(kind: OutcomeKind) -> Outcome {
        Outcome {
            kind,
            duration: Duration::ZERO,
            excerpt: bytes::Bytes::new(),
            retry_after: None,
            detail: String::new(),
        }
    }

    #[test]
    fn it_grows_while_full_and_halves_on_timeouts() {
        let mut window = Window::new(64);
        for _ in 0..2_000 {
            let in_flight = (0..).take_while(|n| window.admits(*n)).count() as u32;
            window.learn(&outcome(OutcomeKind::Answered(200)), in_flight);
        }
        assert!(window.admits(62) && !window.admits(64));
        for _ in 0..10 {
            window.learn(&outcome(OutcomeKind::Failed(ErrorClass::Timeout)), 1);
        }
        assert!(window.admits(0) && !window.admits(1));
    }

    #[test]
    fn an_idle_window_does_not_grow() {
        let mut window = Window::new(64);
        for _ in 0..1_000 {
            window.learn(&outcome(OutcomeKind::Answered(200)), 1);
        }
        assert!(!window.admits(8));
    }
}
