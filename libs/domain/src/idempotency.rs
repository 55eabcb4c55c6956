//! Idempotency keys: what a repeat must have in common with the first one, and the id that a key gives.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{ApiVersion, ContentType, Event, EventId, EventType, TenantId};

/// What repeats of one idempotency key must have in common. Times are left out: a repeat may come with a later one.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// `resource.action`.
    pub event_type: &'a EventType,
    /// What `data` is.
    pub content_type: &'a ContentType,
    /// The payload, byte for byte.
    pub data: &'a [u8],
    /// Version of the payload's shape; `None` where it is the one that stands in for a missing one.
    pub api_version: Option<&'a ApiVersion>,
    /// What it is ordered by.
    pub ordering_key: Option<&'a str>,
    /// What it is restricted to.
    pub channels: &'a [Arc<str>],
}

impl<'a> Content<'a> {
    /// The content of an event. `default` is the version that stands in for a missing one.
    #[must_use]
    pub fn of(event: &'a Event, default: &ApiVersion) -> Self {
        Self {
            event_type: &event.event_type,
            content_type: &event.content_type,
            data: &event.data,
            api_version: Some(&event.api_version).filter(|version| *version != default),
            ordering_key: event.ordering_key.as_deref(),
            channels: &event.channels,
        }
    }

    /// SHA-256 over key and content: two events of a key are the same where it is.
    #[must_use]
    pub fn hash(&self, key: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            // The length keeps borders; its place marks what is absent.
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        part(Some(self.event_type.as_str().as_bytes()));
        part(Some(self.content_type.as_str().as_bytes()));
        part(Some(self.data));
        part(self.api_version.map(|version| version.as_str().as_bytes()));
        part(Some(key.as_bytes()));
        part(self.ordering_key.map(str::as_bytes));
        for channel in self.channels {
            part(Some(channel.as_bytes()));
        }
        hash.finalize().into()
    }
}

impl EventId {
    /// The id of an event that has an idempotency key and no id: the same at every repeat, whatever happened in between.
    #[must_use]
    pub fn of_key(tenant: &TenantId, key: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(tenant.as_str())
            .chain_update([0])
            .chain_update(key)
            .finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_content_counts_and_borders_hold() {
        let (event_type, other_type) = (EventType::parse("a.b"), EventType::parse("a.c"));
        let (event_type, other_type) = (event_type.expect("valid"), other_type.expect("valid"));
        let (json, text) = (ContentType::json(), ContentType::parse("text/plain").expect("valid"));
        let version = ApiVersion::parse("2026-01-01").expect("valid");
        let channels: [Arc<str>; 2] = ["x".into(), "y".into()];
        let joined: [Arc<str>; 1] = ["xy".into()];
        let content = Content {
            event_type: &event_type,
            content_type: &json,
            data: b"1",
            api_version: None,
            ordering_key: None,
            channels: &channels,
        };
        let hashes = [
            content.hash("k"),
            content.hash("l"),
            Content { event_type: &other_type, ..content }.hash("k"),
            Content { content_type: &text, ..content }.hash("k"),
            Content { data: b"2", ..content }.hash("k"),
            Content { api_version: Some(&version), ..content }.hash("k"),
            Content { ordering_key: Some(""), ..content }.hash("k"),
            Content { channels: &joined, ..content }.hash("k"),
        ];
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len());
        assert_eq!(content.hash("k"), content.hash("k"));
    }

    #[test]
    fn a_key_gives_each_tenant_an_id_of_its_own() {
        let tenant = |text| TenantId::parse(text).expect("valid");
        let id = EventId::of_key(&tenant("acme"), "k");
        assert_eq!(id, EventId::of_key(&tenant("acme"), "k"));
        assert_ne!(id, EventId::of_key(&tenant("acme"), "l"));
        assert_ne!(id, EventId::of_key(&tenant("globex"), "k"));
    }
}
