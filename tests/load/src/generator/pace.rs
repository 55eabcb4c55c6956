//! When the next call is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sink::Tally;

/// How long a caller waits before it looks again whether deliveries have caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One call that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    /// When it should have begun, whenever it does: a late call is a late event (no coordinated omission).
    pub(crate) scheduled: Instant,
}

/// Shared by all callers: the first free one takes the next turn.
pub(crate) struct Pace {
    turns: AtomicU64,
    kind: Kind,
}

enum Kind {
    Fixed { began: Instant, interval: Duration },
    Max { tally: Arc<Tally>, deliveries_per_turn: u64, undelivered_max: u64, answered_before: u64 },
}

impl Pace {
    /// Calls at a fixed rate, from now on, whatever becomes of the ones before.
    pub(crate) fn fixed(calls_per_second: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / calls_per_second);
        Self { turns: AtomicU64::new(0), kind: Kind::Fixed { began: Instant::now(), interval } }
    }

    /// Calls as fast as they are answered, while less than `undelivered_max` deliveries are on their way.
    pub(crate) fn max(tally: Arc<Tally>, deliveries_per_turn: u64, undelivered_max: u64) -> Self {
        let answered_before = tally.answered();
        Self {
            turns: AtomicU64::new(0),
            kind: Kind::Max { tally, deliveries_per_turn, undelivered_max, answered_before },
        }
    }

    /// Waits for the next turn, or until `stop`.
    pub(crate) async fn next(&self, stop: &AtomicBool) -> Turn {
        match &self.kind {
            Kind::Fixed { began, interval } => {
                let number = self.turns.fetch_add(1, Ordering::Relaxed);
                let scheduled = *began + interval.mul_f64(number as f64);
                tokio::time::sleep_until(scheduled.into()).await;
                Turn { number, scheduled }
            }
            Kind::Max { tally, deliveries_per_turn, undelivered_max, answered_before } => {
                let under_way = || {
                    let published = self.turns.load(Ordering::Relaxed) * deliveries_per_turn;
                    published.saturating_sub(tally.answered() - answered_before)
                };
                if under_way() >= *undelivered_max {
                    // Looks again rather than be woken: a wake-up per delivery would be measured as part of the sink's work.
                    let mut looks = tokio::time::interval(LOOK_AGAIN);
                    while under_way() >= *undelivered_max && !stop.load(Ordering::Relaxed) {
                        looks.tick().await;
                    }
                }
                let number = self.turns.fetch_add(1, Ordering::Relaxed);
                Turn { number, scheduled: Instant::now() }
            }
        }
    }
}
