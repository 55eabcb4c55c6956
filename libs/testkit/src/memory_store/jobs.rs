//! Jobs.

use async_trait::async_trait;
use domain::limits::JOB_RETENTION;
use domain::{Job, JobId, TenantId};
use ports::JobStore;

use super::{MemoryStore, is_young};

#[async_trait]
impl JobStore for MemoryStore {
    async fn create(&self, job: &Job) -> ports::Result<()> {
        self.write(|state, _| {
            state.jobs.entry((job.tenant.clone(), job.id)).or_insert_with(|| job.clone());
        })
    }

    async fn get(&self, tenant: &TenantId, id: JobId) -> ports::Result<Option<Job>> {
        self.read(|state, now| {
            let job = state.jobs.get(&(tenant.clone(), id));
            job.filter(|job| is_young(job.create_time, JOB_RETENTION, now)).cloned()
        })
    }

    async fn list(
        &self,
        tenant: &TenantId,
        before: Option<JobId>,
        limit: usize,
    ) -> ports::Result<Vec<Job>> {
        self.read(|state, now| {
            let jobs = state.jobs.values().rev().filter(|job| job.tenant == *tenant);
            let jobs = jobs.filter(|job| before.is_none_or(|before| job.id < before));
            let jobs = jobs.filter(|job| is_young(job.create_time, JOB_RETENTION, now));
            jobs.take(limit).cloned().collect()
        })
    }

    async fn open(&self, limit: usize) -> ports::Result<Vec<Job>> {
        self.read(|state, now| {
            let jobs = state.jobs.values().filter(|job| !job.state.has_ended());
            let jobs = jobs.filter(|job| is_young(job.create_time, JOB_RETENTION, now));
            let mut jobs: Vec<Job> = jobs.cloned().collect();
            jobs.sort_by_key(|job| job.id);
            jobs.truncate(limit);
            jobs
        })
    }

    async fn save(&self, job: &Job) -> ports::Result<bool> {
        self.write(|state, _| match state.jobs.get_mut(&(job.tenant.clone(), job.id)) {
            Some(stored) if stored.version + 1 == job.version => {
                stored.clone_from(job);
                true
            }
            Some(stored) => stored == job,
            None => false,
        })
    }
}
