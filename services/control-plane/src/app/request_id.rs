//! Request ids: a mutation that is repeated with the same id is done once.
//!
//! *Dramatis personae.* A row of the idempotency store, under a key that no publisher can use (it has a blank), holds the hash of the request and the
//! call's [`Seed`]. Calls that make something keep their row **first**: whatever they make gets its ids from the seed, so a repeat finds it. Calls that
//! change something keep it **last**: a repeat finds it done. Not needed for correctness: that rows outlive their 24 hours.

use domain::{LogPosition, Position, TenantId};
use ports::IdempotencyRow;
use uuid::Uuid;

use super::{App, Error, Seed};

/// A request's id with what makes two requests the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RequestId {
    /// The caller's UUID.
    pub(crate) id: Uuid,
    /// SHA-256 over method and request, without the id.
    pub(crate) hash: [u8; 32],
}

impl RequestId {
    fn key(&self) -> String {
        format!("request {}", self.id.simple())
    }
}

impl App {
    /// The seed of a call that makes something: that of the first call with this id.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when the id came with another request.
    pub(crate) async fn seed(
        &self,
        tenant: &TenantId,
        request: Option<&RequestId>,
    ) -> Result<Seed, Error> {
        let fresh = Seed::new(&*self.deps.clock, &*self.deps.rng);
        let Some(request) = request else {
            return Ok(fresh);
        };
        if let Some(row) = self.row(tenant, request).await? {
            return Ok(Seed::from_event_id(&row.event).unwrap_or(fresh));
        }
        self.keep(tenant, request, fresh).await?;
        // Of two calls at once the first row stays (ID-1), and both go on with its seed.
        let row = self.row(tenant, request).await?;
        Ok(row.and_then(|row| Seed::from_event_id(&row.event)).unwrap_or(fresh))
    }

    /// Whether a call that changes something was done before.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when the id came with another request.
    pub(crate) async fn was_done(
        &self,
        tenant: &TenantId,
        request: Option<&RequestId>,
    ) -> Result<bool, Error> {
        match request {
            Some(request) => Ok(self.row(tenant, request).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Notes that a call that changes something is done.
    pub(crate) async fn note_done(
        &self,
        tenant: &TenantId,
        request: Option<&RequestId>,
    ) -> Result<(), Error> {
        let Some(request) = request else {
            return Ok(());
        };
        let seed = Seed::new(&*self.deps.clock, &*self.deps.rng);
        self.keep(tenant, request, seed).await
    }

    async fn row(
        &self,
        tenant: &TenantId,
        request: &RequestId,
    ) -> Result<Option<IdempotencyRow>, Error> {
        let rows = self.deps.idempotency.get(tenant, &[&request.key()]).await?;
        match rows.into_iter().next().flatten() {
            Some(row) if row.body_hash != request.hash => Err(Error::RequestIdReused),
            row => Ok(row),
        }
    }

    async fn keep(&self, tenant: &TenantId, request: &RequestId, seed: Seed) -> Result<(), Error> {
        let row = IdempotencyRow {
            event: seed.to_event_id(),
            at: LogPosition::off_log(Position(0)),
            body_hash: request.hash,
            time: seed.time(),
        };
        let key = request.key();
        Ok(self.deps.idempotency.put(tenant, &[(key.as_str(), row)]).await?)
    }
}
