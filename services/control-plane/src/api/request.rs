//! Parts that many requests have.

use domain::Revision;
use prost::Message;
use sha2::{Digest, Sha256};
use uuid::{Uuid, Version};

use crate::app::{Error, RequestId, Violation};

/// Reads a request id. `request` is the request without it, `method` its method: two requests are the same when both are.
pub(crate) fn request_id(
    method: &str,
    id: &str,
    request: &impl Message,
) -> Result<Option<RequestId>, Violation> {
    if id.is_empty() {
        return Ok(None);
    }
    let parsed = Uuid::try_parse(id).ok();
    let id = parsed.filter(|id| id.get_version() == Some(Version::Random)).ok_or_else(|| {
        Violation::new(
            "request_id",
            "not a UUID of version 4, such as 5f0c2a4e-3b1d-4c6f-9a7e-2d8b1c0e4f63",
        )
    })?;
    let hash = Sha256::new()
        .chain_update(method)
        .chain_update([0])
        .chain_update(request.encode_to_vec())
        .finalize();
    Ok(Some(RequestId { id, hash: hash.into() }))
}

/// Both values, or the faults of both.
pub(crate) fn both<A, B>(
    one: Result<A, Violation>,
    other: Result<B, Violation>,
) -> Result<(A, B), Error> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => {
            let faults = [one.err(), other.err()];
            Err(Error::Invalid(faults.into_iter().flatten().collect()))
        }
    }
}

/// The etag of a revision; empty for what was not stored.
pub(crate) fn etag(revision: Revision) -> String {
    if revision == Revision::default() {
        return String::new();
    }
    crate::app::etag_of(revision)
}
