//! Long work that people asked for.

use async_trait::async_trait;
use domain::{Job, JobId, TenantId};

use crate::Result;

/// Jobs, by tenant.
///
/// JS-1  `create` and `save` are durable when they return. Creating a job whose id is there changes nothing.
/// JS-2  `save` is compare-and-set: it writes only when the stored version is one less than the given one, and says whether the store holds what was given
///       now. So a repeat of one that was done says `true` too.
/// JS-3  `list` gives a tenant's jobs, newest first (by id), strictly before the key, at most `limit`. Nothing of one tenant is given for another.
/// JS-4  `open` gives the jobs of all tenants that have not ended, oldest first, at most `limit`. Every one that was created and has not ended is given; one
///       that has just ended may be.
/// JS-5  Jobs older than [`JOB_RETENTION`](domain::limits::JOB_RETENTION) are hidden at once, ended or not.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Keeps a new job.
    ///
    /// # Errors
    /// When it is not certain that it is durable; repeat.
    async fn create(&self, job: &Job) -> Result<()>;

    /// Reads one.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>>;

    /// Lists a tenant's.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(
        &self,
        tenant: &TenantId,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Job>>;

    /// Lists those of all tenants that have not ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn open(&self, limit: usize) -> Result<Vec<Job>>;

    /// Writes a job anew. Returns whether the store holds it; `false`: somebody else was first.
    ///
    /// # Errors
    /// When it is not certain what happened; repeat.
    async fn save(&self, job: &Job) -> Result<bool>;
}
