//! Typed ids. Each parses once, at the edge; inside the system an id is always valid.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::limits;

/// A text that is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {kind}: {allowed}")]
pub struct IdError {
    /// What it should have been, for example `endpoint id`.
    pub kind: &'static str,
    /// The text, cut to 80 characters.
    pub value: String,
    /// What is allowed, in words.
    pub allowed: &'static str,
}

impl IdError {
    fn new(kind: &'static str, value: &str, allowed: &'static str) -> Self {
        Self { kind, value: value.chars().take(80).collect(), allowed }
    }
}

const AIP_122: &str =
    "1 to 63 characters: lower-case letters, digits and hyphens, first a letter, last no hyphen";

/// AIP-122 user-settable ids: `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`.
fn is_resource_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= 63
        && first.is_ascii_lowercase()
        && *last != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_event_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// `resource.action`: two or more segments of `[a-zA-Z0-9_]`, joined by dots.
fn is_event_type(text: &str) -> bool {
    text.len() <= limits::EVENT_TYPE_BYTES_MAX
        && text.contains('.')
        && text.split('.').all(is_type_segment)
}

pub(crate) fn is_type_segment(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $valid:path, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            /// [`IdError`] names the text and what is allowed.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if $valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::new($kind, text, $allowed))
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text_id!(
    /// A tenant: one customer of the platform; nothing crosses from one to another (TE-1).
    TenantId, "tenant id", is_resource_id, AIP_122
);
text_id!(
    /// An endpoint's name within its tenant. Runtime rows use [`EndpointUid`] instead.
    EndpointId, "endpoint id", is_resource_id, AIP_122
);
text_id!(
    /// A subscription's name within its endpoint.
    SubscriptionId, "subscription id", is_resource_id, AIP_122
);
text_id!(
    /// An event's id: given by the publisher, or `evt_` and a UUIDv7 without dashes. Stable over retries (spec §2).
    EventId, "event id", is_event_id, "1 to 64 characters of A-Z, a-z, 0-9, _ and -"
);
text_id!(
    /// An event's type, for example `payment.completed` (spec §2).
    EventType, "event type", is_event_type,
    "two or more segments of letters, digits and _, joined by dots, 256 bytes at most, such as payment.completed"
);

impl TenantId {
    /// The tenant of one-company installs, made at start (surface §3).
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

impl EventId {
    /// A new id from a UUIDv7, so that ids sort by time.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(format!("evt_{}", uuid.simple()).into())
    }

    /// The id of a CloudEvent, which source and id name together: its own where it can be one, otherwise one that is derived, the same at each repeat.
    #[must_use]
    pub fn of_cloud_event(source: &str, id: &str) -> Self {
        Self::parse(id).unwrap_or_else(|_| {
            let length = (source.len() as u64).to_be_bytes();
            let digest =
                Sha256::new().chain_update(length).chain_update(source).chain_update(id).finalize();
            let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            Self(format!("ce_{hex}").into())
        })
    }

    /// The time in an id of ours, in milliseconds since the Unix epoch; `None` for a publisher's own id.
    #[must_use]
    pub fn embedded_time_ms(&self) -> Option<i64> {
        let uuid = Uuid::try_parse(self.0.strip_prefix("evt_")?).ok()?;
        let (secs, nanos) = uuid.get_timestamp()?.to_unix();
        i64::try_from(secs).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanos) / 1_000_000)
    }
}

impl EventType {
    /// Whether this is one of Postrider's own operational events, which `*` does not match (spec §9).
    #[must_use]
    pub fn is_operational(&self) -> bool {
        self.0.starts_with("postrider.")
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, for keys.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Undoes [`Self::as_bytes`]; `None` unless there are 16 bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }

            /// Parses the text form, 32 hex digits.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid_id!(
    /// An endpoint's internal id, new at each create: a new endpoint of the same name inherits nothing.
    EndpointUid
);
uuid_id!(
    /// One reason to deliver an event to an endpoint: the log record itself, a redrive, a replay, a resend.
    RunId
);
uuid_id!(
    /// One request to a receiver; a UUIDv7.
    AttemptId
);

impl RunId {
    /// The run that the log record itself is.
    pub const LOG: Self = Self(Uuid::nil());
}

impl AttemptId {
    /// The id of the mark that ends a run without a request: a function of the run and the event's place, so that a repeat is the same row.
    #[must_use]
    pub fn of_mark(run: RunId, at: crate::LogPosition) -> Self {
        let place = u128::from(at.packed().cast_unsigned());
        Self(Uuid::from_u128(run.0.as_u128() ^ place.rotate_left(64) ^ place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_ids_follow_aip_122() {
        for good in ["a", "abc", "a-b", "a1", &"a".repeat(63)] {
            assert!(EndpointId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "A", "1a", "a-", "a_b", "a.b", "ä", &"a".repeat(64)] {
            assert!(EndpointId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn event_types_need_two_segments() {
        for good in ["payment.completed", "a.b.c", "A_1.b"] {
            assert!(EventType::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "payment", "payment.", ".a", "a..b", "a b.c", "a.*", "a-b.c"] {
            assert!(EventType::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_error_names_the_text_and_what_is_allowed() {
        let message = EventId::parse("a b").expect_err("blank").to_string();
        assert_eq!(
            message,
            "\"a b\" is not a valid event id: 1 to 64 characters of A-Z, a-z, 0-9, _ and -"
        );
    }

    #[test]
    fn the_time_of_our_own_ids_is_readable() {
        let uuid =
            Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 5_000_000));
        assert_eq!(EventId::from_uuid(uuid).embedded_time_ms(), Some(1_700_000_000_005));
        assert_eq!(EventId::parse("evt_1").expect("valid").embedded_time_ms(), None);
    }
}
