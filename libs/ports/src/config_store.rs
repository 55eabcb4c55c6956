//! Tenants' configuration, and the idempotency of publishing.

use async_trait::async_trait;
use domain::{
    Endpoint, EndpointId, EndpointState, EndpointUid, EventId, LogPosition, Revision, SealedSecret,
    Subscription, SubscriptionId, TenantId, Timestamp,
};

use crate::Result;

/// Tenants and their endpoints, subscriptions and sealed secrets. Every change raises the tenant's revision by compare-and-set.
///
/// CS-1  A change that answers `Applied::Done` is durable and seen by every later read, with its revision.
/// CS-2  A change with an `expected` revision of its endpoint that is not the stored one answers `Applied::Conflict` and changes nothing.
/// CS-3  `load` gives one consistent state of a tenant: its revision and everything at that revision or newer.
/// CS-4  Creating what exists answers `Applied::Exists`; changing what does not, `Applied::NotFound`. Neither changes anything.
/// CS-5  Deleting an endpoint removes its subscriptions and secrets with it.
/// CS-6  `set_state` changes the state only from one that `from` names and only of the endpoint with that uid.
#[async_trait]
pub trait ConfigStore: Send + Sync + 'static {
    /// Makes a tenant.
    ///
    /// # Errors
    /// When it is not certain what happened; repeat.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<Applied>;

    /// Lists tenants after `after` in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<Tenant>>;

    /// Reads a tenant's revision; `None` when there is no such tenant.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn revision(&self, tenant: &TenantId) -> Result<Option<Revision>>;

    /// Reads everything of a tenant; `None` when there is no such tenant.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load(&self, tenant: &TenantId) -> Result<Option<TenantConfig>>;

    /// Creates or replaces an endpoint with its secrets. The state is taken at create only, and so are `subscriptions`.
    ///
    /// # Errors
    /// When it is not certain what happened; read before repeating.
    async fn put_endpoint(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
    ) -> Result<Applied>;

    /// Deletes an endpoint with its subscriptions and secrets.
    ///
    /// # Errors
    /// When it is not certain what happened; read before repeating.
    async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> Result<Applied>;

    /// Changes an endpoint's state, if it is still `change.from`.
    ///
    /// # Errors
    /// When it is not certain what happened; repeat.
    async fn set_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        change: StateChange,
    ) -> Result<Applied>;

    /// Creates, replaces or deletes (`None`) a subscription.
    ///
    /// # Errors
    /// When it is not certain what happened; read before repeating.
    async fn put_subscription(
        &self,
        name: (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
    ) -> Result<Applied>;
}

/// What must be there for a change to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing of this name: a create.
    Absent,
    /// Something of this name: the last writer wins.
    Present,
    /// What is there has this revision.
    At(Revision),
}

impl Expect {
    /// Why a change does not happen, given the revision of what is there (`None`: nothing is), if it does not.
    #[must_use]
    pub fn refuses(self, stored: Option<Revision>) -> Option<Applied> {
        match (self, stored) {
            (Self::Absent, None) | (Self::Present, Some(_)) => None,
            (Self::Absent, Some(_)) => Some(Applied::Exists),
            (Self::Present | Self::At(_), None) => Some(Applied::NotFound),
            (Self::At(expected), Some(stored)) => (expected != stored).then_some(Applied::Conflict),
        }
    }
}

/// How a change of configuration ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is durable, as this revision of the tenant.
    Done(Revision),
    /// What is there is not what was expected; nothing changed.
    Conflict,
    /// It exists already; nothing changed.
    Exists,
    /// There is no such thing; nothing changed.
    NotFound,
}

/// A change of an endpoint's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateChange {
    /// Only from this state.
    pub from: EndpointState,
    /// To this one.
    pub to: EndpointState,
    /// When.
    pub time: Timestamp,
}

/// A tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// A name for people; may be empty.
    pub display_name: String,
    /// When it was made.
    pub create_time: Timestamp,
}

/// An endpoint with its secrets, newest first. The first is the current one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointConfig {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its secrets.
    pub secrets: Vec<SealedSecret>,
}

impl EndpointConfig {
    /// Takes over from the stored one what an endpoint is and how it fares: a change of its configuration leaves that alone.
    pub fn keep_what_is_not_configuration(&mut self, stored: &Self) {
        let (new, old) = (&mut self.endpoint, &stored.endpoint);
        new.uid = old.uid;
        new.create_time = old.create_time;
        new.state = old.state;
        new.state_time = old.state_time;
    }
}

/// Everything of a tenant, at one revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantConfig {
    /// The revision.
    pub revision: Revision,
    /// Endpoints, in the order of their ids.
    pub endpoints: Vec<EndpointConfig>,
    /// Subscriptions of all endpoints.
    pub subscriptions: Vec<Subscription>,
}

impl TenantConfig {
    /// A tenant that has nothing at a revision.
    #[must_use]
    pub fn empty(revision: Revision) -> Self {
        Self { revision, endpoints: Vec::new(), subscriptions: Vec::new() }
    }
}

/// What publishing remembers of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyRow {
    /// The event that the key stands for.
    pub event: EventId,
    /// Where its record lies.
    pub at: LogPosition,
    /// SHA-256 over what was published.
    pub body_hash: [u8; 32],
    /// When; forgotten 24 h later.
    pub time: Timestamp,
}

/// Idempotency keys of a tenant's publishers.
///
/// ID-1  `put` is durable when it returns. Of two rows for one key the one with the earlier time stays (of one time, the smaller event id); while two
///       writes overlap, a reader in between may still see the other one (DL-7).
/// ID-2  `get` gives rows of the last 24 h, in the order of the keys asked for.
/// ID-3  Tenants do not see each other's keys.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Reads keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get(&self, tenant: &TenantId, keys: &[&str]) -> Result<Vec<Option<IdempotencyRow>>>;

    /// Remembers keys.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn put(&self, tenant: &TenantId, rows: &[(&str, IdempotencyRow)]) -> Result<()>;
}
