//! The registry of event types.

use async_trait::async_trait;
use domain::{EventType, RegisteredType, TenantId, TypeEntry};

use crate::{Applied, Expect, Result};

/// Event types that tenants registered: configuration like that of [`ConfigStore`](crate::ConfigStore), in rows of their own, so that who loads a tenant's
/// endpoints does not read its schemas.
///
/// ET-1  A change that answers `Applied::Done` is durable, seen by every later read, and raises the tenant's revision, which the type has then.
/// ET-2  A change with an expected revision that is not the stored one answers `Applied::Conflict` and changes nothing. Of two at once one wins.
/// ET-3  Creating what exists answers `Applied::Exists`; changing what does not, or of a tenant that does not, `Applied::NotFound`. Neither changes anything.
/// ET-4  `list` gives a tenant's entries in the order of their types, strictly after the key, at most `limit`.
/// ET-5  Nothing of one tenant is given for another, and `ConfigStore::load` gives the same but for the revision.
#[async_trait]
pub trait EventTypeStore: Send + Sync + 'static {
    /// Reads one with its schemas.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get(
        &self,
        tenant: &TenantId,
        event_type: &EventType,
    ) -> Result<Option<RegisteredType>>;

    /// Lists a tenant's, without their schemas.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&EventType>,
        limit: usize,
    ) -> Result<Vec<TypeEntry>>;

    /// Creates, replaces or deletes (`None`) one.
    ///
    /// # Errors
    /// When it is not certain what happened; read before repeating.
    async fn put(
        &self,
        name: (&TenantId, &EventType),
        to: Option<&RegisteredType>,
        expect: Expect,
    ) -> Result<Applied>;
}
