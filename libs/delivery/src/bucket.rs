//! A token bucket for an endpoint's rate limit. Holds one second's worth (at least one), so that a limit of 100/s is no burst of 6 000 a minute.

use std::time::Duration;

use domain::{RateLimit, Timestamp};

#[derive(Debug)]
pub(crate) struct Bucket {
    limit: RateLimit,
    /// When the bucket was, or will be, empty: the virtual time of the generic cell rate algorithm.
    empty_at_us: i64,
}

impl Bucket {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { limit, empty_at_us: i64::MIN }
    }

    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    fn interval_us(&self) -> i64 {
        let per = i64::try_from(self.limit.per.as_micros()).unwrap_or(i64::MAX);
        (per / i64::from(self.limit.attempts.max(1))).max(1)
    }

    /// When the next token is there; in the past or now when there is one.
    pub(crate) fn next(&self) -> Timestamp {
        let burst = Duration::from_secs(1).as_micros().try_into().unwrap_or(i64::MAX);
        let depth = (burst - self.interval_us()).max(0);
        let at_us = self.empty_at_us.saturating_sub(depth);
        Timestamp::from_millis(at_us.div_euclid(1_000) + i64::from(at_us.rem_euclid(1_000) != 0))
    }

    /// Takes a token. Call it only when [`Bucket::next`] is not in the future.
    pub(crate) fn take(&mut self, now: Timestamp) {
        let now_us = now.as_millis().saturating_mul(1_000);
        self.empty_at_us = self.empty_at_us.max(now_us).saturating_add(self.interval_us());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_over_time_and_allows_one_seconds_burst() {
        let limit = RateLimit::new(10, Duration::from_secs(1)).expect("valid");
        let mut bucket = Bucket::new(limit);
        let mut taken = 0;
        for ms in 0..10_000 {
            let now = Timestamp::from_millis(ms);
            while bucket.next() <= now {
                bucket.take(now);
                taken += 1;
            }
        }
        assert!((100..=110).contains(&taken), "{taken}");
    }

    #[test]
    fn a_slow_limit_lets_one_through_at_a_time() {
        let limit = RateLimit::new(1, Duration::from_secs(60)).expect("valid");
        let mut bucket = Bucket::new(limit);
        let now = Timestamp::from_millis(1_000);
        assert!(bucket.next() <= now);
        bucket.take(now);
        assert_eq!(bucket.next(), Timestamp::from_millis(61_000));
    }
}
