//! Secrets on the wire: what is known of them, and the one answer that shows the key.

use domain::SealedSecret;
use signing::Secret;
use wire::api::v1;

use super::time;
use crate::app::{Issued, Violation};

/// What is known of a secret after it was made.
pub(crate) fn to_wire(secret: &SealedSecret) -> v1::Secret {
    v1::Secret {
        id: secret.version.to_string(),
        create_time: Some(time::to_wire(secret.create_time)),
        expire_time: secret.not_after.map(time::to_wire),
    }
}

/// A secret as it is shown once.
pub(crate) fn issued(issued: &Issued) -> v1::IssuedSecret {
    v1::IssuedSecret { key: issued.secret.expose().to_owned(), id: issued.version.to_string() }
}

/// Reads a caller's own secret; empty is none.
pub(crate) fn from_wire(text: &str) -> Result<Option<Secret>, Violation> {
    if text.is_empty() {
        return Ok(None);
    }
    Secret::parse(text).map(Some).map_err(|error| Violation::new("secret", error.to_string()))
}
