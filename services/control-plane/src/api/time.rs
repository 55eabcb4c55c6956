//! Times and durations of protobuf.

use std::time::Duration;

use domain::Timestamp;

use crate::app::Violation;

/// Seconds of the years 0001 to 9999, which protobuf allows.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Longest duration that protobuf allows, in seconds.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

/// A time on the wire.
pub(crate) fn to_wire(time: Timestamp) -> prost_types::Timestamp {
    let ms = time.as_millis();
    let nanos = ms.rem_euclid(1_000) * 1_000_000;
    prost_types::Timestamp {
        seconds: ms.div_euclid(1_000),
        // Below 10⁹.
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A time from the wire, cut to milliseconds.
pub(crate) fn from_wire(
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Violation> {
    let Some(time) = time else { return Ok(None) };
    let is_valid = SECONDS.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    if !is_valid {
        return Err(Violation::new(
            field,
            "not a time: allowed are the years 1 to 9999, such as 2026-08-01T12:00:00Z",
        ));
    }
    let ms = time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000;
    Ok(Some(Timestamp::from_millis(ms)))
}

/// A duration on the wire.
pub(crate) fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(DURATION_SECONDS_MAX),
        // Below 10⁹.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration from the wire; negative ones are faults.
pub(crate) fn duration_from_wire(
    field: &str,
    duration: prost_types::Duration,
) -> Result<Duration, Violation> {
    let fault = || Violation::new(field, "not a duration of 0 or more, such as 30s or 0.5s");
    if duration.seconds > DURATION_SECONDS_MAX || duration.nanos >= 1_000_000_000 {
        return Err(fault());
    }
    let seconds = u64::try_from(duration.seconds).map_err(|_| fault())?;
    let nanos = u32::try_from(duration.nanos).map_err(|_| fault())?;
    Ok(Duration::new(seconds, nanos))
}
