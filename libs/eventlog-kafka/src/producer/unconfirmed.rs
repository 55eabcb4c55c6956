//! Records that the brokers did not confirm, for those who ask how the log is. Pure: times are told.

use std::time::Duration;

/// For how long a failure is told when nothing is written after it.
const TOLD_FOR: Duration = Duration::from_secs(30);

/// Failures since the last record that was confirmed.
#[derive(Default)]
pub(super) struct Unconfirmed {
    records: u64,
    /// When the last one failed (monotonic), and why.
    last: Option<(Duration, String)>,
}

impl Unconfirmed {
    pub(super) fn confirmed(&mut self) {
        if self.last.is_some() {
            *self = Self::default();
        }
    }

    pub(super) fn failed(&mut self, cause: String, now: Duration) {
        self.records += 1;
        self.last = Some((now, cause));
    }

    /// How many records failed, and why the last one did, if that was a moment ago.
    pub(super) fn told(&self, now: Duration) -> Option<(u64, String)> {
        let (at, cause) = self.last.as_ref()?;
        (now.saturating_sub(*at) < TOLD_FOR).then(|| (self.records, cause.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_until_a_record_is_confirmed_or_nobody_writes_any_more() {
        let secs = Duration::from_secs;
        let mut unconfirmed = Unconfirmed::default();
        assert_eq!(unconfirmed.told(secs(1)), None);
        unconfirmed.failed("too few copies".to_owned(), secs(1));
        unconfirmed.failed("timed out".to_owned(), secs(2));
        assert_eq!(unconfirmed.told(secs(31)), Some((2, "timed out".to_owned())));
        assert_eq!(unconfirmed.told(secs(32)), None);
        unconfirmed.failed("timed out".to_owned(), secs(40));
        unconfirmed.confirmed();
        assert_eq!(unconfirmed.told(secs(40)), None);
    }
}
