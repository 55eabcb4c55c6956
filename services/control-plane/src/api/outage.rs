//! Calls that a dependency failed, in the log: the first one at once, and how many others there were now and then. Callers repeat theirs, and many do.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Response;
use ports::Clock;
use tonic::Status;

/// Between two lines. Calls that fail meanwhile are counted in the next one.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What was said, and what was not.
pub(super) struct Outage {
    clock: Arc<dyn Clock>,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    last: Option<Duration>,
    unsaid: u64,
}

impl Outage {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, said: Mutex::default() }
    }

    /// Looks at an answer, and says it when a dependency is at fault.
    pub(super) fn look<B>(&self, answer: &Response<B>) {
        let Some(error) = fault(answer) else { return };
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

/// The dependency's error behind an answer: `status` leaves it there.
fn fault<B>(answer: &Response<B>) -> Option<&ports::Error> {
    answer.extensions().get::<Status>()?.source()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use ports::{Error, ErrorKind};
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

    #[test]
    fn a_fault_of_a_dependency_is_found_behind_the_answer_and_nothing_else_is_one() {
        let answer = |error: crate::app::Error| Status::from(error).into_http::<String>();
        let of_port = |kind| answer(crate::app::Error::Port(Error::new(kind, "away")));
        let found = of_port(ErrorKind::Unavailable);
        assert_eq!(fault(&found).map(Error::kind), Some(ErrorKind::Unavailable));
        assert!(fault(&of_port(ErrorKind::Bug)).is_none(), "that is said at once, always");
        assert!(fault(&answer(crate::app::Error::NotFound("x".to_owned()))).is_none());
        assert!(fault(&Response::new(())).is_none());
    }
}
