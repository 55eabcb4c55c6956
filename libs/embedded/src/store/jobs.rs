//! Jobs.

use async_trait::async_trait;
use domain::limits::JOB_RETENTION;
use domain::{Job, JobId, TenantId};
use ports::JobStore;
use rusqlite::{Connection, OptionalExtension as _, Rows, params};

use super::{Store, odd, sql_limit};
use crate::error::Fault;
use crate::writer::Cost;

pub(super) const CREATE: &str = "INSERT INTO jobs(tenant, job, time, open, version, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(tenant, job) DO NOTHING";
pub(super) const GET: &str = "SELECT body FROM jobs WHERE tenant = ?1 AND job = ?2 AND time > ?3";
pub(super) const LIST: &str = "SELECT body FROM jobs
    WHERE tenant = ?1 AND job < ?2 AND time > ?3 ORDER BY job DESC LIMIT ?4";
pub(super) const OPEN: &str =
    "SELECT body FROM jobs WHERE open = 1 AND time > ?1 ORDER BY job LIMIT ?2";
pub(super) const SAVE: &str = "UPDATE jobs SET open = ?4, version = ?3, body = ?5
    WHERE tenant = ?1 AND job = ?2 AND version = ?3 - 1";

#[async_trait]
impl JobStore for Store {
    async fn create(&self, job: &Job) -> ports::Result<()> {
        let job = job.clone();
        let create = move |conn: &Connection| {
            let time = job.create_time.as_millis();
            let (open, body) = (!job.state.has_ended(), codec::encode_job(&job));
            let key = (job.tenant.as_str(), job.id.0.as_bytes());
            let version = job.version.cast_signed();
            conn.prepare_cached(CREATE)?
                .execute(params![key.0, key.1, time, open, version, body])?;
            Ok(())
        };
        self.write(Cost::ONE, create).await
    }

    async fn get(&self, tenant: &TenantId, id: JobId) -> ports::Result<Option<Job>> {
        let (tenant, since) = (tenant.clone(), (self.now() - JOB_RETENTION).as_millis());
        let get = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(GET)?;
            let rows = statement.query(params![tenant.as_str(), id.0.as_bytes(), since])?;
            Ok(jobs_of(rows)?.into_iter().next())
        };
        self.read(get).await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        before: Option<JobId>,
        limit: usize,
    ) -> ports::Result<Vec<Job>> {
        let (tenant, since) = (tenant.clone(), (self.now() - JOB_RETENTION).as_millis());
        // A byte more than any id: behind all of them.
        let before = before.map_or_else(|| vec![0xff; 17], |id| id.0.as_bytes().to_vec());
        let list = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(LIST)?;
            let limit = sql_limit(limit);
            jobs_of(statement.query(params![tenant.as_str(), before, since, limit])?)
        };
        self.read(list).await
    }

    async fn open(&self, limit: usize) -> ports::Result<Vec<Job>> {
        let since = (self.now() - JOB_RETENTION).as_millis();
        let open = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(OPEN)?;
            jobs_of(statement.query(params![since, sql_limit(limit)])?)
        };
        self.read(open).await
    }

    async fn save(&self, job: &Job) -> ports::Result<bool> {
        let job = job.clone();
        let save = move |conn: &Connection| {
            let (open, body) = (!job.state.has_ended(), codec::encode_job(&job));
            let key = (job.tenant.as_str(), job.id.0.as_bytes());
            let version = job.version.cast_signed();
            let saved =
                conn.prepare_cached(SAVE)?.execute(params![key.0, key.1, version, open, body])?;
            if saved > 0 {
                return Ok(true);
            }
            // A repeat of one that was done.
            let mut statement = conn.prepare_cached(GET)?;
            let stored: Option<Vec<u8>> = statement
                .query_row(params![key.0, key.1, i64::MIN], |row| row.get(0))
                .optional()?;
            Ok(stored == Some(body))
        };
        self.write(Cost::ONE, save).await
    }
}

fn jobs_of(mut rows: Rows<'_>) -> Result<Vec<Job>, Fault> {
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_blob().map_err(|_| odd("job"))?;
        jobs.push(codec::decode_job(body)?);
    }
    Ok(jobs)
}
