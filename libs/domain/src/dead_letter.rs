//! Deliveries that ended without success.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{EndpointUid, EventRef, OutcomeKind, RunId, TenantId, Timestamp};

/// Names a dead letter: the first 16 bytes of SHA-256 over endpoint uid, event id and log position, so that a repeat after a crash is the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId([u8; 16]);

impl DeadLetterId {
    /// The one that sorts before all others.
    pub const MIN: Self = Self([0; 16]);

    /// The id of the dead letter that this event leaves at this endpoint.
    #[must_use]
    pub fn of(endpoint: EndpointUid, event: &EventRef) -> Self {
        let digest = Sha256::new()
            .chain_update(endpoint.as_bytes())
            .chain_update(event.id.as_str().as_bytes())
            .chain_update(event.at.packed().to_be_bytes())
            .finalize();
        let mut id = [0; 16];
        id.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self(id)
    }

    /// The 16 bytes, for keys.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Undoes [`Self::as_bytes`]; `None` unless there are 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Parses the text form: 32 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A delivery that ended without success and waits for a person (spec §7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The endpoint that did not take it.
    pub endpoint: EndpointUid,
    /// The URL that was tried last.
    pub url: String,
    /// The event; its body is in the store.
    pub event: EventRef,
    /// The event's type, for lists.
    pub event_type: String,
    /// Why.
    pub reason: DeadLetterReason,
    /// How the last attempt ended; `None` when there was none.
    pub last_outcome: Option<OutcomeKind>,
    /// Attempts over all runs.
    pub attempts: u32,
    /// The run that ended so.
    pub run: RunId,
    /// When.
    pub time: Timestamp,
}

/// Why a delivery ended without success.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DeadLetterReason {
    /// The retry schedule is used up.
    Exhausted,
    /// The receiver refused it for good: 400 and other 4xx.
    Rejected,
    /// The answer disabled the endpoint: 401, 403, 404, 410.
    EndpointDisabled,
    /// The egress policy forbids the destination.
    BlockedDestination,
    /// It waited for over 7 days.
    Expired,
}

impl DeadLetterReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Exhausted,
        Self::Rejected,
        Self::EndpointDisabled,
        Self::BlockedDestination,
        Self::Expired,
    ];

    /// The name that the API, the metrics and the stores use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::EndpointDisabled => "endpoint_disabled",
            Self::BlockedDestination => "blocked_destination",
            Self::Expired => "expired",
        }
    }

    /// Undoes [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What became of a dead letter; a later row, the dead letter itself is never changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// A redrive is on its way; a second one is refused.
    Redriving(RunId),
    /// A redrive succeeded, or it was purged: lists leave it out.
    Resolved,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, LogPosition, Position, Shard};

    #[test]
    fn the_id_is_a_function_of_endpoint_event_and_position() {
        let event = |position| EventRef {
            tenant: TenantId::default_tenant(),
            id: EventId::parse("evt_1").expect("valid"),
            at: LogPosition { shard: Shard(1), position: Position(position) },
        };
        let uid = EndpointUid::from_uuid(uuid::Uuid::from_u128(7));
        let id = DeadLetterId::of(uid, &event(1));
        assert_eq!(id, DeadLetterId::of(uid, &event(1)));
        assert_ne!(id, DeadLetterId::of(uid, &event(2)));
        assert_eq!(DeadLetterId::parse(&id.to_string()), Some(id));
        assert_eq!(DeadLetterId::parse("xyz"), None);
    }
}
