//! Events: what publishers say happened.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{EventId, EventType, IdError, LogPosition, Revision, TenantId, Timestamp, limits};

/// What a publisher said happened, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Whose event it is.
    pub tenant: TenantId,
    /// Unique and stable over retries.
    pub id: EventId,
    /// `resource.action`.
    pub event_type: EventType,
    /// When it happened, as the envelope shows it.
    pub created_at: Timestamp,
    /// Version of the payload's shape, stamped at publish so that the body stays a function of the record.
    pub api_version: ApiVersion,
    /// What `data` is.
    pub content_type: ContentType,
    /// The payload, byte for byte as published.
    pub data: Bytes,
    /// Events of one key are delivered in order to endpoints that ask for it.
    pub ordering_key: Option<Arc<str>>,
    /// Repeats of a key within 24 h are the same event. `None` when the publisher gave neither key nor id.
    pub idempotency_key: Option<Arc<str>>,
    /// Restricts the event to subscriptions that name one of these; empty means all.
    pub channels: Vec<Arc<str>>,
    /// Not before this time.
    pub deliver_at: Option<Timestamp>,
    /// The tenant's revision that the publisher saw; workers match with this one or a newer one (CF-1).
    pub revision: Option<Revision>,
    /// W3C trace context of the publish call.
    pub traceparent: Option<Arc<str>>,
}

/// Whether a text may name a channel: `[A-Za-z0-9_.:/-]{1,128}`.
#[must_use]
pub fn is_channel(text: &str) -> bool {
    (1..=limits::CHANNEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:/-".contains(&b))
}

/// Names one event in the log: an id that was used twice is two of these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventRef {
    /// Whose event it is.
    pub tenant: TenantId,
    /// The event.
    pub id: EventId,
    /// Where its record lies.
    pub at: LogPosition,
}

/// Version of a payload's shape, by habit a date such as `2026-01-01`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ApiVersion(Arc<str>);

impl ApiVersion {
    /// Parses a version: 1 to 32 characters of `A-Z a-z 0-9 . _ -`.
    ///
    /// # Errors
    /// [`IdError`] names the text and what is allowed.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let valid = (1..=limits::API_VERSION_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if valid {
            return Ok(Self(text.into()));
        }
        Err(IdError {
            kind: "api version",
            value: text.chars().take(80).collect(),
            allowed: "1 to 32 characters of A-Z, a-z, 0-9, '.', '_' and '-', such as 2026-01-01",
        })
    }

    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Media type of an event's data.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContentType(Arc<str>);

impl ContentType {
    /// `application/json`, the default.
    #[must_use]
    pub fn json() -> Self {
        Self("application/json".into())
    }

    /// Parses a media type: visible ASCII of at most 128 bytes with one `/` in its essence.
    ///
    /// # Errors
    /// [`IdError`] names the text and what is allowed.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let text = text.trim();
        let essence = text.split(';').next().unwrap_or_default().trim();
        let is_token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        let valid = text.len() <= 128
            && text.bytes().all(|b| (0x20..0x7f).contains(&b))
            && essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
        if valid {
            return Ok(Self(text.into()));
        }
        Err(IdError {
            kind: "content type",
            value: text.chars().take(80).collect(),
            allowed: "a media type such as application/json, 128 visible ASCII characters at most",
        })
    }

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim()
    }

    /// Whether the data is JSON: `application/json` or any `+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let essence = self.essence();
        essence.eq_ignore_ascii_case("application/json")
            || essence.to_ascii_lowercase().ends_with("+json")
    }

    /// Whether the data is text that is not JSON.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.essence().to_ascii_lowercase().starts_with("text/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_apart() {
        let json = ContentType::parse("application/vnd.acme+json; charset=utf-8").expect("valid");
        assert!(json.is_json() && !json.is_text());
        assert!(ContentType::parse("text/plain").expect("valid").is_text());
        for bad in ["", "json", "a/b/c\n", "a/", "/b", "a b/c"] {
            assert!(ContentType::parse(bad).is_err(), "{bad}");
        }
    }
}
