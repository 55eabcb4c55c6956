//! What makes two events of one idempotency key the same.

use sha2::{Digest, Sha256};

use super::PublishDraft;

/// SHA-256 over type, content type, data, version, keys and channels, as given. Times are left out: a repeat may come with a later one.
pub(super) fn body_hash(draft: &PublishDraft, key: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: Option<&[u8]>| {
        // The length keeps borders; its place marks what is absent.
        let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        hash.update(length.to_be_bytes());
        hash.update(bytes.unwrap_or_default());
    };
    part(Some(draft.event_type.as_str().as_bytes()));
    part(Some(draft.content_type.as_str().as_bytes()));
    part(Some(&draft.data));
    part(draft.api_version.as_ref().map(|v| v.as_str().as_bytes()));
    part(Some(key.as_bytes()));
    part(draft.ordering_key.as_ref().map(|key| key.as_bytes()));
    for channel in &draft.channels {
        part(Some(channel.as_bytes()));
    }
    hash.finalize().into()
}
