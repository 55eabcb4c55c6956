//! Values as people write and read them: times, durations, rates, enum names.

use std::time::Duration;

use clap::ValueEnum;
use domain::Timestamp;
use runtime::{format_span, parse_span};

/// A value of a flag that is `key=value`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A header as `K: V`.
pub(crate) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is not a header: write 'Name: value'"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// A rate as `100/s`, `30/m` or `500/h`, in attempts per second.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let error =
        || format!("{text:?} is not a rate: write a number and /s, /m or /h, such as 100/s");
    let (count, unit) = text.split_once('/').ok_or_else(error)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(error()),
    };
    let count: f64 = count.parse().map_err(|_| error())?;
    if count.is_finite() && count > 0.0 { Ok(count / seconds) } else { Err(error()) }
}

/// A moment: RFC 3339, or a duration that the caller adds or takes from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This time.
    At(Timestamp),
    /// So long from now, in the direction that the flag has.
    Relative(Duration),
}

/// Parses a [`Moment`].
pub(crate) fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(Moment::At(time));
    }
    parse_span(text).map(Moment::Relative).map_err(|_| {
        format!("{text:?} is not a time: write 2026-03-01T12:00:00Z, or a duration such as 10m")
    })
}

impl Moment {
    /// So long ago.
    pub(crate) fn before(self, now: Timestamp) -> prost_types::Timestamp {
        match self {
            Self::At(time) => to_proto(time),
            Self::Relative(span) => to_proto(now - span),
        }
    }

    /// So long ahead.
    pub(crate) fn after(self, now: Timestamp) -> prost_types::Timestamp {
        match self {
            Self::At(time) => to_proto(time),
            Self::Relative(span) => to_proto(now + span),
        }
    }
}

fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    let ms = time.as_millis();
    prost_types::Timestamp {
        seconds: ms.div_euclid(1_000),
        nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0),
    }
}

/// A duration on the wire.
pub(crate) fn span_to_proto(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A time from the wire.
pub(crate) fn time_of(time: prost_types::Timestamp) -> Timestamp {
    let ms = time.seconds.saturating_mul(1_000);
    Timestamp::from_millis(ms.saturating_add(i64::from(time.nanos) / 1_000_000))
}

/// A time in RFC 3339; empty when there is none.
pub(crate) fn show_time(time: Option<prost_types::Timestamp>) -> String {
    time.map(|time| time_of(time).to_rfc3339()).unwrap_or_default()
}

/// A duration from the wire as people write it; empty when there is none.
pub(crate) fn show_span(span: Option<&prost_types::Duration>) -> String {
    let span = span.and_then(|span| Duration::try_from(*span).ok());
    span.map_or_else(String::new, |span| {
        if !span.is_zero() && span.as_millis() == 0 { "<1ms".to_owned() } else { format_span(span) }
    })
}

/// An enum's name without what says nothing, `HTTP_RESPONSE`; empty when it is unspecified.
pub(crate) fn show_enum(name: &str) -> String {
    if name.ends_with("UNSPECIFIED") { String::new() } else { name.to_owned() }
}

/// A count that may be absent as 0.
pub(crate) fn show_count(count: i32) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

/// Pairs below each other in one cell.
pub(crate) fn show_pairs<'a>(
    pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    between: &str,
) -> String {
    let lines: Vec<_> =
        pairs.into_iter().map(|(key, value)| format!("{key}{between}{value}")).collect();
    lines.join("\n")
}

/// What the body of a delivery looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BodyFormat {
    /// {"id","type","created_at","api_version","data"}
    Envelope,
    /// The body as published
    Raw,
    /// A CloudEvents 1.0 JSON document
    Cloudevents,
    /// The body as published, CloudEvents attributes as headers
    CloudeventsBinary,
}

/// Whether the order of events is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderingFlag {
    /// Events go out as they come
    None,
    /// Events of one ordering key go out one after the other
    ByKey,
}

/// Which signature headers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureFlag {
    /// Both families
    Both,
    /// webhook-id, webhook-timestamp, webhook-signature
    Standard,
    /// X-Webhook-ID, X-Webhook-Timestamp, X-Webhook-Signature
    XWebhook,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        assert_eq!(parse_rate("100/s"), Ok(100.0));
        assert_eq!(parse_rate("30/m"), Ok(0.5));
        for wrong in ["100", "x/s", "0/s", "-1/s", "1/d", "inf/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_are_times_or_spans() {
        let now = Timestamp::from_millis(1_000_000);
        let at = parse_moment("1970-01-01T00:00:05Z").unwrap();
        assert_eq!(at.after(now).seconds, 5);
        assert_eq!(parse_moment("10s").unwrap().after(now).seconds, 1_010);
        assert_eq!(parse_moment("10s").unwrap().before(now).seconds, 990);
        assert!(parse_moment("tomorrow").is_err());
    }

    #[test]
    fn headers_and_labels_split_once() {
        assert_eq!(
            parse_header("Authorization: Bearer a:b"),
            Ok(("Authorization".into(), "Bearer a:b".into()))
        );
        assert!(parse_header("none").is_err());
        assert_eq!(parse_label("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
