//! Jobs: asking for them, reading and ending them. [`runner`] does their work.

mod letters;
mod replay;
mod runner;
mod window;

use std::sync::Arc;

use domain::{
    Endpoint, EndpointUid, EventPattern, Job, JobCounts, JobCursor, JobId, JobKind, JobState,
    LetterFilter, RunId, TenantId, Timestamp, limits,
};
use sha2::{Digest, Sha256};

use super::endpoint_state::{TRIES_MAX, disabled_for_good};
use super::page::ListName;
use super::seed::uuid_v7;
use super::{
    App, DeadLetterQuery, EndpointName, EndpointScope, Error, JobName, Page, PageRequest,
    RequestId, Violation,
};

pub use runner::JobRunner;

/// Open jobs of all tenants that are looked through.
const OPEN_MAX: usize = 1_000;

/// What is to be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Replay {
    pub(crate) endpoint: EndpointName,
    pub(crate) start: Timestamp,
    /// Default: now.
    pub(crate) end: Option<Timestamp>,
    pub(crate) event_types: Vec<EventPattern>,
}

/// A job as callers see it, with the name of the endpoint that it is about; `None` for all, or when that is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JobView {
    pub(crate) name: JobName,
    pub(crate) job: Job,
    pub(crate) endpoint: Option<EndpointName>,
}

/// What to do with many dead letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LettersVerb {
    Redrive,
    Purge,
}

impl App {
    /// Makes a job that delivers a range of the log to one endpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a range that the log does not hold; [`Error::EndpointDisabled`]; [`Error::QuotaExceeded`].
    pub(crate) async fn replay(
        &self,
        call: Replay,
        request: Option<&RequestId>,
    ) -> Result<JobView, Error> {
        let endpoint = self.endpoint_config(&call.endpoint).await?.endpoint;
        if let Some(error) = disabled_for_good(&endpoint) {
            return Err(error);
        }
        let now = self.deps.clock.now();
        let end = call.end.map_or(now, |end| end.min(now));
        if call.start >= end {
            let field = if call.end.is_some() { "end_time" } else { "start_time" };
            let text = "the range is empty: start_time must be before end_time and before now";
            return Err(Violation::new(field, text).into());
        }
        self.check_reach(call.start).await?;
        let (start, event_types) = (call.start, call.event_types);
        let kind = JobKind::Replay { endpoint: endpoint.uid, start, end, event_types };
        self.create_job(&call.endpoint.tenant, kind, request).await
    }

    /// Makes a job that redrives or purges the dead letters of one endpoint or of all.
    ///
    /// # Errors
    /// [`Error::EndpointDisabled`] for a redrive of one that is; [`Error::QuotaExceeded`].
    pub(crate) async fn letters_job(
        &self,
        verb: LettersVerb,
        scope: &EndpointScope,
        query: DeadLetterQuery,
        request: Option<&RequestId>,
    ) -> Result<JobView, Error> {
        let endpoint = match &scope.endpoint {
            None => {
                self.tenant(&scope.tenant).await?;
                None
            }
            Some(id) => {
                let name = EndpointName { tenant: scope.tenant.clone(), endpoint: id.clone() };
                Some(self.endpoint_config(&name).await?.endpoint)
            }
        };
        if let Some(error) = endpoint.as_ref().and_then(disabled_for_good)
            && verb == LettersVerb::Redrive
        {
            return Err(error);
        }
        let now = self.deps.clock.now();
        let filter = LetterFilter {
            endpoint: endpoint.map(|endpoint| endpoint.uid),
            reason: query.reason,
            since: query.start,
            until: query.end.map_or(now, |end| end.min(now)),
        };
        if filter.since.is_some_and(|since| since >= filter.until) {
            let text = "the range is empty: start_time must be before end_time and before now";
            return Err(Violation::new("start_time", text).into());
        }
        let kind = match verb {
            LettersVerb::Redrive => JobKind::Redrive(filter),
            LettersVerb::Purge => JobKind::Purge(filter),
        };
        self.create_job(&scope.tenant, kind, request).await
    }

    /// Reads one.
    pub(crate) async fn job(&self, name: &JobName) -> Result<JobView, Error> {
        self.tenant(&name.tenant).await?;
        let found = self.deps.jobs.get(&name.tenant, name.id).await?;
        let job = found.ok_or_else(|| Error::NotFound(name.to_string()))?;
        self.job_view(job).await
    }

    /// Lists a tenant's, newest first.
    pub(crate) async fn list_jobs(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<JobView>, Error> {
        let parent = tenant.to_string();
        let list = ListName(&["jobs", &parent]);
        let before: Option<u128> = self.open_token(&list, &page.token)?;
        self.tenant(tenant).await?;
        let before = before.map(|id| JobId(uuid::Uuid::from_u128(id)));
        let mut jobs = self.deps.jobs.list(tenant, before, page.size + 1).await?;
        let is_cut = jobs.len() > page.size;
        jobs.truncate(page.size);
        let last = jobs.last().filter(|_| is_cut);
        let next = last.map(|job| self.make_token(&list, &job.id.0.as_u128())).unwrap_or_default();
        let mut items = Vec::with_capacity(jobs.len());
        for job in jobs {
            items.push(self.job_view(job).await?);
        }
        Ok(Page { items, next })
    }

    /// Ends a job. What it has started goes on.
    ///
    /// # Errors
    /// [`Error::JobEnded`] when it has ended already.
    pub(crate) async fn cancel_job(&self, name: &JobName) -> Result<JobView, Error> {
        for _ in 0..TRIES_MAX {
            let mut job = self.job(name).await?.job;
            if job.state.has_ended() {
                return Err(Error::JobEnded { name: name.to_string(), state: job.state });
            }
            let now = self.deps.clock.now();
            (job.state, job.end_time, job.update_time) = (JobState::Cancelled, Some(now), now);
            job.lease = None;
            job.version += 1;
            if self.deps.jobs.save(&job).await? {
                return self.job_view(job).await;
            }
        }
        Err(Error::Contended(name.to_string()))
    }

    async fn create_job(
        &self,
        tenant: &TenantId,
        kind: JobKind,
        request: Option<&RequestId>,
    ) -> Result<JobView, Error> {
        let seed = self.seed(tenant, request).await?;
        let id = JobId(seed.uuid("job"));
        if let Some(job) = self.deps.jobs.get(tenant, id).await? {
            return self.job_view(job).await;
        }
        let open = self.deps.jobs.open(OPEN_MAX).await?;
        let max = limits::OPEN_JOBS_PER_TENANT_MAX;
        if open.len() >= OPEN_MAX || open.iter().filter(|job| job.tenant == *tenant).count() >= max
        {
            let (what, of) = (format!("tenants/{tenant}"), "open jobs");
            return Err(Error::QuotaExceeded { what, max, of });
        }
        let job = Job {
            id,
            tenant: tenant.clone(),
            kind,
            state: JobState::Queued,
            create_time: seed.time(),
            update_time: seed.time(),
            end_time: None,
            counts: JobCounts::default(),
            cursor: JobCursor::Start,
            error: String::new(),
            lease: None,
            version: 1,
        };
        self.deps.jobs.create(&job).await?;
        self.job_asked.notify_one();
        self.job_view(job).await
    }

    async fn job_view(&self, job: Job) -> Result<JobView, Error> {
        let endpoint = match endpoint_of(&job.kind) {
            None => None,
            Some(uid) => self.endpoint_by_uid(&job.tenant, uid).await?,
        };
        Ok(JobView {
            name: JobName { tenant: job.tenant.clone(), id: job.id },
            endpoint: endpoint.as_ref().map(super::endpoints::name_of),
            job,
        })
    }

    async fn endpoint_by_uid(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
    ) -> Result<Option<Endpoint>, Error> {
        let config = self.tenant(tenant).await?;
        let mut endpoints = config.endpoints.iter().map(|config| &config.endpoint);
        Ok(endpoints.find(|endpoint| endpoint.uid == uid).cloned())
    }

    /// A range that begins before the log does would be replayed in part, and nobody would know.
    async fn check_reach(&self, start: Timestamp) -> Result<(), Error> {
        for shard in self.deps.log.shards().all() {
            let low = self.deps.log.bounds(shard).await?.low;
            if low.0 == 0 {
                continue;
            }
            let page = self.deps.log.read_range(shard, low, low.next(), 1).await?;
            let oldest = page.records.first().map(|record| record.time);
            if let Some(oldest) = oldest.filter(|oldest| *oldest > start) {
                let text = format!(
                    "the log begins at {}: choose that or a later time",
                    oldest.to_rfc3339()
                );
                return Err(Violation::new("start_time", text).into());
            }
        }
        Ok(())
    }
}

fn endpoint_of(kind: &JobKind) -> Option<EndpointUid> {
    match kind {
        JobKind::Replay { endpoint, .. } => Some(*endpoint),
        JobKind::Redrive(filter) | JobKind::Purge(filter) => filter.endpoint,
    }
}

/// The run that a job starts for one item: the same when the step is done again.
fn run_of(job: &Job, item: &[u8]) -> RunId {
    let digest = Sha256::new().chain_update(job.id.0.as_bytes()).chain_update(item).finalize();
    RunId::from_uuid(uuid_v7(job.create_time, &digest))
}

/// What keeps a job from going on, for good.
#[derive(Debug)]
enum Stop {
    /// The job itself: in words.
    Failed(String),
    /// Somebody else writes it.
    Lost,
    /// A port, perhaps for a moment.
    Port(Error),
}

impl Stop {
    fn deleted() -> Self {
        Self::Failed("the endpoint was deleted".to_owned())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Port(error)
    }
}

impl From<ports::Error> for Stop {
    fn from(error: ports::Error) -> Self {
        Self::Port(error.into())
    }
}

/// One job as its runner has it.
struct Work {
    app: Arc<App>,
    job: Job,
    window: window::Window,
}
