//! Calls, and events of a call, that a dependency failed, in the log: the first one at once, and how many others there were now and then. Callers repeat theirs, and many do.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ports::Clock;

/// Between two lines. Calls that fail meanwhile are counted in the next one.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What was said, and what was not.
pub(crate) struct Outage {
    clock: Arc<dyn Clock>,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    last: Option<Duration>,
    unsaid: u64,
}

impl Outage {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, said: Mutex::default() }
    }

    /// A dependency failed a call, or an event of one.
    pub(crate) fn note(&self, error: &ports::Error) {
        let Some(others) = self.say() else { return };
        let source = error.source().map(ToString::to_string);
        tracing::warn!(%error, source, others, "a dependency failed a call");
    }

    /// How many other calls failed since the last line, if it is time for one.
    fn say(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now.saturating_sub(last) < SAY_EVERY) {
            said.unsaid += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use testkit::SimClock;

    use super::*;

    #[test]
    fn many_failures_are_one_line_now_and_then() {
        let clock = SimClock::default();
        let outage = Outage::new(Arc::new(clock.clone()));
        assert_eq!(outage.say(), Some(0));
        for _ in 0..99 {
            clock.advance(Duration::from_millis(100));
            assert_eq!(outage.say(), None);
        }
        clock.advance(Duration::from_millis(100));
        assert_eq!(outage.say(), Some(99));
        assert_eq!(outage.say(), None);
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(outage.say(), Some(1));
    }
}
