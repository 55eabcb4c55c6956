//! Whether the owner of a shard may still send for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an assignment is sure to hold. Clones are the same lease.
///
/// The log's adapter renews it whenever the group confirms the member, for as long as nobody else can own the shard; whoever sends asks it before each send.
/// So a process that was suspended sends nothing for what it lost meanwhile, although nobody could tell it (`architecture.md` §5). Times are those of
/// [`Clock::monotonic`](crate::Clock::monotonic), which runs on while a process is suspended.
#[derive(Clone, Debug)]
pub struct Lease(Arc<AtomicU64>);

/// What a lease says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// The shard is ours: send.
    Held,
    /// The group has not confirmed it for too long: wait until it does, or until the lease ends.
    Lapsed,
    /// The shard is another's: send nothing for it any more.
    Ended,
}

const ENDED: u64 = 0;
const FOREVER: u64 = u64::MAX;

impl Lease {
    /// Holds until it is ended: for a log that has one owner only.
    #[must_use]
    pub fn forever() -> Self {
        Self(Arc::new(AtomicU64::new(FOREVER)))
    }

    /// Holds until this moment, unless it is renewed.
    #[must_use]
    pub fn until(moment: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(millis(moment))))
    }

    /// Holds until this moment instead. One that has ended stays so.
    pub fn renew(&self, until: Duration) {
        let renew = |now| (now != ENDED).then_some(millis(until));
        // Refused for an ended lease: that is what is wanted.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, renew);
    }

    /// Whether both are one lease.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ends it for good.
    pub fn end(&self) {
        self.0.store(ENDED, Ordering::Release);
    }

    /// What it says at this moment.
    #[must_use]
    pub fn hold(&self, now: Duration) -> Hold {
        match self.0.load(Ordering::Acquire) {
            ENDED => Hold::Ended,
            until if millis(now) < until => Hold::Held,
            _ => Hold::Lapsed,
        }
    }
}

/// At least 1: 0 stands for an ended lease.
fn millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(FOREVER).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lapses_is_renewed_and_ends_for_good() {
        let at = Duration::from_millis;
        let lease = Lease::until(at(100));
        assert_eq!((lease.hold(at(99)), lease.hold(at(100))), (Hold::Held, Hold::Lapsed));
        lease.clone().renew(at(200));
        assert_eq!(lease.hold(at(150)), Hold::Held);
        lease.end();
        lease.renew(at(900));
        assert_eq!(lease.hold(at(150)), Hold::Ended);
        let years = Duration::from_secs(100 * 365 * 24 * 3_600);
        assert_eq!(Lease::forever().hold(years), Hold::Held);
    }
}
