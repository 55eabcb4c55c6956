//! A clock that moves only when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use ports::Clock;
use tokio::sync::oneshot;

/// A simulated clock. Clones show the same time.
///
/// Sleepers wait until [`SimClock::advance_to`] reaches their time; [`SimClock::next_wake`] tells a driver where to jump when everything waits.
#[derive(Clone)]
pub struct SimClock {
    state: Arc<Mutex<State>>,
    start: Timestamp,
}

struct State {
    now: Timestamp,
    next_id: u64,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl SimClock {
    /// A clock that shows `start`; its monotonic time starts at zero.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        let state = State { now: start, next_id: 0, sleepers: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), start }
    }

    /// Moves the time on and wakes those whose time has come, in its order. A time in the past changes nothing.
    pub fn advance_to(&self, time: Timestamp) {
        let mut state = self.lock();
        state.now = state.now.max(time);
        while let Some(first) = state.sleepers.first_entry() {
            if first.key().0 > time {
                break;
            }
            let _ = first.remove().send(());
        }
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        let now = self.lock().now;
        self.advance_to(now + by);
    }

    /// When the next sleeper wants to wake; `None` when nobody sleeps.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let state = self.lock();
        state.sleepers.first_key_value().map(|((time, _), _)| *time)
    }

    /// How many sleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.lock().sleepers.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimClock {
    /// A clock at some ordinary moment of 2026.
    fn default() -> Self {
        Self::new(Timestamp::from_millis(1_772_366_400_000))
    }
}

/// Forgets a sleeper whose future was dropped.
struct Asleep<'a> {
    clock: &'a SimClock,
    key: (Timestamp, u64),
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.now().since(self.start)
    }

    async fn sleep_until(&self, time: Timestamp) {
        let (wait, _asleep) = {
            let mut state = self.lock();
            if state.now >= time {
                return;
            }
            let key = (time, state.next_id);
            state.next_id += 1;
            let (wake, wait) = oneshot::channel();
            state.sleepers.insert(key, wake);
            (wait, Asleep { clock: self, key })
        };
        // The sender lives in the clock, which outlives this call.
        let _ = wait.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_time_comes_and_not_before() {
        let clock = SimClock::default();
        let start = clock.now();
        clock.sleep_until(start).await;
        let late = clock.sleep(Duration::from_secs(20));
        let soon = clock.sleep(Duration::from_secs(10));
        tokio::pin!(late, soon);
        assert!(futures_poll(&mut late).await.is_none());
        assert!(futures_poll(&mut soon).await.is_none());
        assert_eq!(clock.next_wake(), Some(start + Duration::from_secs(10)));
        clock.advance(Duration::from_secs(10));
        soon.await;
        assert!(futures_poll(&mut late).await.is_none());
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_dropped_sleeper_is_forgotten() {
        let clock = SimClock::default();
        {
            let sleep = clock.sleep(Duration::from_secs(1));
            tokio::pin!(sleep);
            assert!(futures_poll(&mut sleep).await.is_none());
            assert_eq!(clock.sleepers(), 1);
        }
        assert_eq!(clock.next_wake(), None);
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
