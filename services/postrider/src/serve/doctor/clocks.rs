//! Whether this machine's clock agrees with another.

use std::fmt::Display;
use std::time::Duration;

use domain::Timestamp;
use ports::Clock as _;
use runtime::SystemClock;

use super::Report;
use crate::failure::Failure;

/// More than this between two clocks is not the network's doing.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// Looks at a clock that several machines may answer for.
const LOOKS: usize = 3;

/// Compares our clock with what `theirs` reads; nothing is told where there is nothing to read yet.
pub(super) async fn compare<E: Display>(
    whose: &str,
    theirs: impl AsyncFn() -> Result<Option<Timestamp>, E>,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let what = format!("clocks of this machine and of {whose} agree");
    let clock = SystemClock::new();
    for _ in 0..LOOKS {
        let before = clock.now();
        let time = match theirs().await {
            Ok(Some(time)) => time,
            Ok(None) => return Ok(()),
            Err(error) => {
                report.warn(what, format!("cannot be compared: {error}"));
                return Ok(());
            }
        };
        if let Some((by, side)) = skew(before, time, clock.now()) {
            let by = by.as_secs();
            let problem = format!(
                "this one is {by} s {side}: receivers refuse signatures that are 300 s off, and what is scheduled or expires does so at another time; run NTP on both"
            );
            report.warn(what, problem);
            return Ok(());
        }
    }
    report.tell(&what, None)
}

/// How far ours is off at least, and on which side, when theirs was read between two looks at ours.
fn skew(
    before: Timestamp,
    theirs: Timestamp,
    after: Timestamp,
) -> Option<(Duration, &'static str)> {
    let (ahead, behind) = (before.since(theirs), theirs.since(after));
    if ahead > SKEW_MAX {
        Some((ahead, "ahead"))
    } else if behind > SKEW_MAX {
        Some((behind, "behind"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_call_took_is_no_skew() {
        let at = |secs: i64| Timestamp::from_millis(secs * 1_000);
        assert_eq!(skew(at(100), at(105), at(110)), None);
        assert_eq!(skew(at(100), at(98), at(101)), None, "2 s are none yet");
        let secs = Duration::from_secs;
        assert_eq!(skew(at(100), at(90), at(101)), Some((secs(10), "ahead")));
        assert_eq!(skew(at(100), at(111), at(101)), Some((secs(10), "behind")));
    }
}
