//! Event types that a tenant has registered: what they mean, and what their data looks like.
//!
//! Registering is for people and for checks at publish: an event of a type that is not registered is as good as any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{ApiVersion, EventType, Revision, TenantId, Timestamp};

/// JSON Schemas of one event type, by version: the texts, as they were given.
pub type Schemas = BTreeMap<ApiVersion, Arc<str>>;

/// A registered event type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisteredType {
    /// All but the schemas.
    pub entry: TypeEntry,
    /// At most [`SCHEMA_VERSIONS_MAX`](crate::limits::SCHEMA_VERSIONS_MAX), of at most [`SCHEMA_BYTES_MAX`](crate::limits::SCHEMA_BYTES_MAX).
    pub schemas: Schemas,
}

/// What lists show of a registered event type: everything but the texts of its schemas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeEntry {
    /// Whose type it is.
    pub tenant: TenantId,
    /// The type; its name within the tenant.
    pub event_type: EventType,
    /// What it means, for people; may be empty.
    pub description: String,
    /// Whether publishers are told to use it no more. Nothing fails.
    pub deprecated: bool,
    /// Whether data must conform to the schema of its version at publish.
    pub validate: bool,
    /// The versions that have a schema, with its bytes.
    pub versions: BTreeMap<ApiVersion, u32>,
    /// When it was registered.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// The tenant's revision of its last change; the etag.
    pub revision: Revision,
}

impl RegisteredType {
    /// Puts schemas in the place of those there are.
    pub fn set_schemas(&mut self, schemas: Schemas) {
        let bytes = |text: &Arc<str>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.entry.versions =
            schemas.iter().map(|(version, text)| (version.clone(), bytes(text))).collect();
        self.schemas = schemas;
    }
}

impl TypeEntry {
    /// Bytes of all its schemas.
    #[must_use]
    pub fn schema_bytes(&self) -> u64 {
        self.versions.values().map(|bytes| u64::from(*bytes)).sum()
    }
}
