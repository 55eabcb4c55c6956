//! Endpoints: where deliveries go.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::{DeliveryPolicy, EndpointId, EndpointUid, Revision, TenantId, Timestamp};

/// A receiver's URL with everything that governs its deliveries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Whose endpoint it is.
    pub tenant: TenantId,
    /// Its name.
    pub id: EndpointId,
    /// Its internal id, new at each create.
    pub uid: EndpointUid,
    /// A short name for people; may be empty.
    pub display_name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// Where deliveries go, normalised.
    pub url: String,
    /// Custom headers that go out with every delivery: `(name in lower case, value)`.
    pub headers: BTreeMap<String, String>,
    /// Whether deliveries go out.
    pub state: EndpointState,
    /// When `state` last changed.
    pub state_time: Timestamp,
    /// How deliveries go out.
    pub policy: DeliveryPolicy,
    /// The caller's own labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When its configuration last changed.
    pub update_time: Timestamp,
    /// The tenant's revision of its last change; the etag.
    pub revision: Revision,
}

/// Whether deliveries go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndpointState {
    /// They do.
    Active,
    /// A person asked to wait: events gather in the backlog.
    Paused,
    /// It gets no new deliveries until it is re-activated.
    Disabled(DisableReason),
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisableReason {
    /// Too many consecutive failures; probes go on and the first success re-activates it.
    Failing,
    /// It answered 401, 403, 404 or 410; waits for a person.
    Answer(u16),
    /// A person asked for it.
    ByHand,
}

/// A secret as the store holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Names the secret among the endpoint's, counting up from 1.
    pub version: u32,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it stops being valid; `None` for the current one.
    pub not_after: Option<Timestamp>,
    /// The sealed key material: format byte, key id, nonce, ciphertext (crate `ports`, `KeyProvider`).
    pub sealed: Bytes,
}

impl SealedSecret {
    /// Whether deliveries at `now` are signed with it.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecret")
            .field("version", &self.version)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
