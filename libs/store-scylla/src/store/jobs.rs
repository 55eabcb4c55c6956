//! Jobs: a row each, written by compare-and-set, and a register of those that have not ended.

use std::time::Duration;

use async_trait::async_trait;
use domain::limits::JOB_RETENTION;
use domain::{Job, JobId, TenantId, Timestamp};
use ports::JobStore;
use uuid::Uuid;

use super::{Store, cql_limit, odd, undecodable};
use crate::cql::{Cql, NewRow, Statement, gather};
use crate::error::OpenError;

const TABLE: &str = "jobs";
const CREATE: &str =
    "INSERT INTO jobs (tenant, job, version, body) VALUES (?, ?, ?, ?) IF NOT EXISTS";
const GET: &str = "SELECT body FROM jobs WHERE tenant = ? AND job = ?";
const LIST: &str = "SELECT body FROM jobs WHERE tenant = ? AND job < ? LIMIT ?";
const SAVE: &str =
    "UPDATE jobs SET version = ?, body = ? WHERE tenant = ? AND job = ? IF version = ?";

const REGISTER: &str = "open_jobs";
const PUT_OPEN: &str = "INSERT INTO open_jobs (part, job, tenant) VALUES (0, ?, ?)";
const LIST_OPEN: &str = "SELECT job, tenant FROM open_jobs WHERE part = 0 LIMIT ?";
const END_OPEN: &str = "DELETE FROM open_jobs WHERE part = 0 AND job = ?";

/// A row of the register without its job is left from a create that failed, once it is so old.
const LEFT_AFTER: Duration = Duration::from_secs(3_600);

pub(super) struct Statements {
    create: Statement,
    get: Statement,
    list: Statement,
    save: Statement,
    put_open: Statement,
    list_open: Statement,
    end_open: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            create: cql.prepare_cas(TABLE, CREATE).await?,
            get: cql.prepare(TABLE, GET).await?,
            list: cql.prepare(TABLE, LIST).await?,
            save: cql.prepare_cas(TABLE, SAVE).await?,
            put_open: cql.prepare(REGISTER, PUT_OPEN).await?,
            list_open: cql.prepare(REGISTER, LIST_OPEN).await?,
            end_open: cql.prepare(REGISTER, END_OPEN).await?,
        })
    }
}

#[async_trait]
impl JobStore for Store {
    async fn create(&self, job: &Job) -> ports::Result<()> {
        let tenant = job.tenant.as_str();
        let values = (key(job.id), tenant);
        // First, so that no job is missing from the register.
        self.cql.write(&self.jobs.put_open, NewRow { values, bytes: 16 + tenant.len() }).await?;
        let values = (tenant, key(job.id), job.version.cast_signed(), codec::encode_job(job));
        // One that is there stays.
        self.cql.set_if(&self.jobs.create, values).await.map(|_| ())
    }

    async fn get(&self, tenant: &TenantId, id: JobId) -> ports::Result<Option<Job>> {
        let job = self.stored_job(tenant.as_str(), id).await?;
        Ok(job.filter(|job| self.is_kept(job)))
    }

    async fn list(
        &self,
        tenant: &TenantId,
        before: Option<JobId>,
        limit: usize,
    ) -> ports::Result<Vec<Job>> {
        // A byte more than any id: behind all of them.
        let before = before.map_or_else(|| vec![0xff; 17], key);
        let values = (tenant.as_str().to_owned(), before, cql_limit(limit));
        let rows: Vec<(Vec<u8>,)> = self.cql.read(&self.jobs.list, values).await?;
        let jobs = rows.iter().map(|(body,)| codec::decode_job(body).map_err(undecodable(TABLE)));
        let jobs: Vec<Job> = jobs.collect::<ports::Result<_>>()?;
        // They come newest first: those that are hidden are the last.
        Ok(jobs.into_iter().filter(|job| self.is_kept(job)).collect())
    }

    async fn open(&self, limit: usize) -> ports::Result<Vec<Job>> {
        let rows: Vec<(Vec<u8>, String)> =
            self.cql.read(&self.jobs.list_open, (cql_limit(limit),)).await?;
        let looks = rows.into_iter().map(|(id, tenant)| async move {
            let id = Uuid::from_slice(&id).map(JobId).map_err(|_| odd(REGISTER))?;
            match self.stored_job(&tenant, id).await? {
                Some(job) if !job.state.has_ended() => {
                    Ok(Some(job).filter(|job| self.is_kept(job)))
                }
                Some(_) => self.leave_register(id).await.map(|()| None),
                None if made(id) + LEFT_AFTER < self.now() => {
                    self.leave_register(id).await.map(|()| None)
                }
                None => Ok(None),
            }
        });
        Ok(gather(looks).await?.into_iter().flatten().collect())
    }

    async fn save(&self, job: &Job) -> ports::Result<bool> {
        let version = job.version.cast_signed();
        let body = codec::encode_job(job);
        let values = (version, body.clone(), job.tenant.as_str(), key(job.id), version - 1);
        if !self.cql.set_if(&self.jobs.save, values).await? {
            // A repeat of one that was done.
            let stored = self.stored_body(job.tenant.as_str(), job.id).await?;
            if stored != Some(body) {
                return Ok(false);
            }
        }
        if job.state.has_ended() {
            self.leave_register(job.id).await?;
        }
        Ok(true)
    }
}

impl Store {
    async fn stored_body(&self, tenant: &str, id: JobId) -> ports::Result<Option<Vec<u8>>> {
        let rows: Vec<(Vec<u8>,)> =
            self.cql.read(&self.jobs.get, (tenant.to_owned(), key(id))).await?;
        Ok(rows.into_iter().next().map(|(body,)| body))
    }

    async fn stored_job(&self, tenant: &str, id: JobId) -> ports::Result<Option<Job>> {
        let body = self.stored_body(tenant, id).await?;
        body.map(|body| codec::decode_job(&body).map_err(undecodable(TABLE))).transpose()
    }

    async fn leave_register(&self, id: JobId) -> ports::Result<()> {
        self.cql.write(&self.jobs.end_open, NewRow { values: (key(id),), bytes: 16 }).await
    }

    fn is_kept(&self, job: &Job) -> bool {
        job.create_time + JOB_RETENTION > self.now()
    }
}

fn key(id: JobId) -> Vec<u8> {
    id.0.as_bytes().to_vec()
}

/// When a job was asked for, by its id: a UUIDv7, whose first 48 bits are milliseconds (RFC 9562 §5.7).
fn made(id: JobId) -> Timestamp {
    Timestamp::from_millis(i64::try_from(id.0.as_u128() >> 80).unwrap_or(i64::MAX))
}
