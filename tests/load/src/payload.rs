//! The data of an event: its send time and filling.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// What stands before the send time; 13 digits follow.
const MARKER: &[u8] = b"\"sent_us\":\"";
const DIGITS: usize = 13;

/// The zero of all send times of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(Instant);

impl Epoch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds from here to `at`; 0 when it is earlier.
    fn micros(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_micros()).unwrap_or(u64::MAX)
    }

    /// How long ago the send time in `body` was; `None` for a body that has none.
    pub(crate) fn latency(self, body: &[u8]) -> Option<Duration> {
        let sent = sent_us(body)?;
        Some(Duration::from_micros(self.micros(Instant::now()).saturating_sub(sent)))
    }

    /// Makes a JSON object of `size` bytes (at least the 28 of its frame) that carries the send time `at`.
    pub(crate) fn data(self, at: Instant, size: usize) -> Bytes {
        let mut data = Vec::with_capacity(size.max(64));
        data.push(b'{');
        data.extend_from_slice(MARKER);
        data.extend_from_slice(format!("{:0DIGITS$}", self.micros(at)).as_bytes());
        data.extend_from_slice(b"\",\"fill\":\"");
        data.resize(size.saturating_sub(2).max(data.len()), b'x');
        data.extend_from_slice(b"\"}");
        data.into()
    }
}

fn sent_us(body: &[u8]) -> Option<u64> {
    let at = body.windows(MARKER.len()).position(|window| window == MARKER)?;
    let digits = body.get(at + MARKER.len()..at + MARKER.len() + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_size_asked_for_and_is_json() {
        let epoch = Epoch::start();
        let data = epoch.data(Instant::now(), 1_024);
        assert_eq!(data.len(), 1_024);
        assert!(serde_json::from_slice::<serde_json::Value>(&data).unwrap().is_object());
    }

    #[test]
    fn send_time_is_found_behind_an_envelope() {
        let epoch = Epoch::start();
        let at = epoch.0 + Duration::from_micros(4_711);
        let body = [b"{\"id\":\"evt_1\",\"data\":".as_slice(), &epoch.data(at, 100)].concat();
        assert_eq!(sent_us(&body), Some(4_711));
        assert_eq!(sent_us(b"{}"), None);
    }
}
