//! What is kept of an answer besides its status.

use std::time::{Duration, UNIX_EPOCH};

use domain::{RetryAfter, Timestamp};
use http::HeaderMap;
use http::header::RETRY_AFTER;

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds or any of the three forms of an HTTP date; anything else is ignored.
///
/// Unclamped, but for numbers beyond a century, which become one: the engine has its own, far lower, limit.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse::<u64>().unwrap_or(u64::MAX);
        return Some(RetryAfter::Delay(Duration::from_secs(seconds.min(CENTURY_SECS))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    let millis = i64::try_from(since_epoch.as_millis()).ok()?;
    Some(RetryAfter::At(Timestamp::from_millis(millis)))
}

/// Reads how long the receiver keeps an idle connection: `Keep-Alive: timeout=5` (RFC 2068 §19.7.1.1, still sent by many servers).
pub(crate) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = text.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}

const CENTURY_SECS: u64 = 100 * 366 * 24 * 3_600;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(value: &[u8]) -> Option<RetryAfter> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
        retry_after(&headers)
    }

    #[test]
    fn seconds_and_all_three_date_forms_are_read() {
        assert_eq!(of(b"120"), Some(RetryAfter::Delay(Duration::from_secs(120))));
        assert_eq!(of(b" 0 "), Some(RetryAfter::Delay(Duration::ZERO)));
        let at = Some(RetryAfter::At(Timestamp::from_millis(784_111_777_000)));
        assert_eq!(of(b"Sun, 06 Nov 1994 08:49:37 GMT"), at);
        assert_eq!(of(b"Sunday, 06-Nov-94 08:49:37 GMT"), at);
        assert_eq!(of(b"Sun Nov  6 08:49:37 1994"), at);
    }

    #[test]
    fn junk_is_ignored() {
        for junk in [
            "",
            "soon",
            "-5",
            "+5",
            "1.5",
            "5s",
            "0x10",
            "1e9",
            "5, 6",
            "Sun, 32 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(of(junk.as_bytes()), None, "{junk}");
        }
        assert_eq!(of(b"\xff"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn absurd_numbers_become_a_century() {
        let century = Some(RetryAfter::Delay(Duration::from_secs(CENTURY_SECS)));
        assert_eq!(of(b"99999999999999999999999999"), century);
        assert_eq!(of(b"1000000000"), Some(RetryAfter::Delay(Duration::from_secs(1_000_000_000))));
    }

    #[test]
    fn keep_alive_timeouts_are_read() {
        let of = |value| {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", HeaderValue::from_static(value));
            keep_alive(&headers)
        };
        assert_eq!(of("timeout=5"), Some(Duration::from_secs(5)));
        assert_eq!(of("max=100, timeout=5"), Some(Duration::from_secs(5)));
        for junk in
            ["", "timeout", "timeout=", "timeout=-1", "timeout=5s", "timeout=99999999999", "max=3"]
        {
            assert_eq!(of(junk), None, "{junk}");
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(value in "[ -~]{0,64}") {
            let _ = of(value.as_bytes());
        }
    }
}
