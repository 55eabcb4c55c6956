//! Durations as people write them.

use std::time::Duration;

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write a number and a unit (ms, s, m, h, d), such as 500ms, 10s, 5m or 1h30m"
)]
pub struct SpanError(String);

/// Longest unit names first, so that `ms` is not read as `m`.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses `500ms`, `10s`, `1.5s`, `5m`, `1h30m`, `7d`; `0` needs no unit. Millisecond resolution.
///
/// # Errors
/// [`SpanError`] repeats the text and says what is allowed.
pub fn parse_span(text: &str) -> Result<Duration, SpanError> {
    let error = || SpanError(text.chars().take(40).collect());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum_ms = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let part = scaled(number, *unit_ms).ok_or_else(error)?;
        sum_ms = sum_ms.checked_add(part).ok_or_else(error)?;
        rest = next;
    }
    if text.is_empty() {
        return Err(error());
    }
    Ok(Duration::from_millis(sum_ms))
}

/// `number` × `unit_ms`, with at most three digits after the point; exact, so no floats.
fn scaled(number: &str, unit_ms: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    if fraction.is_empty() {
        return if number.contains('.') { None } else { Some(whole) };
    }
    if fraction.len() > 3 {
        return None;
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit_ms)? / 10_u64.pow(digits);
    whole.checked_add(part)
}

/// Writes a duration the way [`parse_span`] reads it: `10s`, `1h30m`, `250ms`, `0s`.
#[must_use]
pub fn format_span(span: Duration) -> String {
    let mut left = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
    {
        let count = left / unit_ms;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            left %= unit_ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write_back() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)]
        {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format_span(Duration::from_millis(ms)), text);
        }
        assert_eq!(parse_span("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_span("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn wrong_spans_are_refused_with_what_is_allowed() {
        for text in
            ["", "10", "s", "-1s", "1 s", "1w", "1.s", ".5s", "1.2345s", "99999999999999999999d"]
        {
            let error = parse_span(text).expect_err(text).to_string();
            assert!(error.contains("ms, s, m, h, d"), "{error}");
        }
    }
}
