//! Works jobs off: takes those that nobody works on, does a page, writes down how far it came, and goes on.
//!
//! # Theory of operation
//!
//! Every process with the API runs one. A job belongs to who holds its lease; each page ends with a compare-and-set that renews the lease and moves the
//! cursor. A process that dies leaves its jobs to the others when their leases end, and they do the last page again: its runs have the same ids, so nothing is
//! delivered twice for it. Between pages a job waits until most of what it started had its first attempt.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{EndpointUid, Job, JobId, JobKind, JobLease, JobState};
use runtime::Shutdown;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::replay::Range;
use super::window::{WINDOW_MAX, Window};
use super::{LettersVerb, OPEN_MAX, Stop, Work, endpoint_of};
use crate::app::App;

/// Jobs that one process works on at once.
const JOBS_AT_ONCE: usize = 4;
/// How often a process looks for jobs that nobody works on.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a job stays with a process that is not heard of.
const LEASE: Duration = Duration::from_secs(15);
/// How often a job that waits renews its lease, and sees that it was cancelled.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Between two looks at what has not begun.
const PAUSE: Duration = Duration::from_millis(100);
/// Before a page is tried again that a port failed.
const RETRY: Duration = Duration::from_secs(1);

/// Works off the jobs of all tenants.
pub struct JobRunner {
    app: Arc<App>,
    owner: Uuid,
}

impl JobRunner {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let owner = Uuid::from_u128(app.deps.rng.next_u128());
        Self { app, owner }
    }

    /// Runs until the shutdown. Jobs that are under way are given back, for others to go on at once.
    ///
    /// # Errors
    /// None; what fails is said in the log and tried again.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), std::convert::Infallible> {
        let mut works = JoinSet::new();
        let mut mine: BTreeSet<JobId> = BTreeSet::new();
        let mut is_failing = false;
        while !shutdown.is_cancelled() {
            if works.len() < JOBS_AT_ONCE {
                match self.take(&mine).await {
                    Ok(Some(job)) => {
                        mine.insert(job.id);
                        let work = Work { app: self.app.clone(), job, window: Window::default() };
                        works.spawn(work.run(self.owner, shutdown.clone()));
                        continue;
                    }
                    Ok(None) => is_failing = false,
                    Err(error) if !is_failing => {
                        is_failing = true;
                        tracing::warn!(%error, "cannot look for jobs; it is tried every second");
                    }
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.app.job_asked.notified() => {}
                () = self.app.deps.clock.sleep(LOOK_EVERY) => {}
                Some(ended) = works.join_next(), if !works.is_empty() => match ended {
                    Ok(id) => {
                        mine.remove(&id);
                    }
                    // A panic, which the hook has said: its lease ends.
                    Err(_) => mine.clear(),
                },
            }
        }
        while works.join_next().await.is_some() {}
        Ok(())
    }

    /// Takes the oldest job that nobody works on.
    async fn take(&self, mine: &BTreeSet<JobId>) -> Result<Option<Job>, ports::Error> {
        let open = self.app.deps.jobs.open(OPEN_MAX).await?;
        for mut job in open {
            let now = self.app.deps.clock.now();
            let is_free = job.lease.is_none_or(|lease| lease.until <= now);
            if job.state.has_ended() || !is_free || mine.contains(&job.id) {
                continue;
            }
            job.state = JobState::Running;
            job.lease = Some(JobLease { owner: self.owner, until: now + LEASE });
            job.version += 1;
            if self.app.deps.jobs.save(&job).await? {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }
}

impl Work {
    /// Works until the job has ended, is somebody else's, or the process stops.
    async fn run(mut self, owner: Uuid, shutdown: Shutdown) -> JobId {
        let (id, tenant) = (self.job.id, self.job.tenant.clone());
        tracing::info!(job = %id.0, %tenant, "job taken up");
        let mut is_failing = false;
        loop {
            if shutdown.is_cancelled() {
                self.job.lease = None;
                let _ = self.save().await;
                return id;
            }
            let before = self.job.clone();
            let ended = match self.step(owner).await {
                Ok(true) => {
                    is_failing = false;
                    continue;
                }
                Ok(false) if self.job.error.is_empty() => JobState::Succeeded,
                Ok(false) => JobState::Failed,
                Err(Stop::Failed(error)) => {
                    self.job.error = error;
                    JobState::Failed
                }
                Err(Stop::Lost) => return id,
                Err(Stop::Port(error)) => {
                    // The page is done again from its beginning.
                    self.job = before;
                    if !is_failing {
                        is_failing = true;
                        tracing::warn!(job = %id.0, %tenant, %error, "a job cannot go on; it is tried every second");
                    }
                    self.app.deps.clock.sleep(RETRY).await;
                    continue;
                }
            };
            match self.end(ended).await {
                Ok(()) | Err(Stop::Lost | Stop::Failed(_)) => return id,
                Err(Stop::Port(_)) => {
                    self.job = before;
                    self.app.deps.clock.sleep(RETRY).await;
                }
            }
        }
    }

    /// One page, or a wait for what was started. Returns `false` when all is done.
    async fn step(&mut self, owner: Uuid) -> Result<bool, Stop> {
        if self.window.len() > WINDOW_MAX {
            self.wait_for(WINDOW_MAX / 2, owner).await?;
            return Ok(true);
        }
        let kind = self.job.kind.clone();
        let more = match &kind {
            JobKind::Replay { endpoint, start, end, event_types } => {
                let (endpoint, start, end) = (*endpoint, *start, *end);
                self.replay_page(&Range { endpoint, start, end, event_types }).await?
            }
            JobKind::Redrive(filter) => self.letters_page(LettersVerb::Redrive, filter).await?,
            JobKind::Purge(filter) => self.letters_page(LettersVerb::Purge, filter).await?,
        };
        if more {
            self.renew(owner).await?;
            return Ok(true);
        }
        Ok(!self.wait_for(0, owner).await?)
    }

    /// Waits a little, until so few of what was started had no attempt yet. Returns whether that is so now.
    async fn wait_for(&mut self, most: usize, owner: Uuid) -> Result<bool, Stop> {
        let (app, clock) = (self.app.clone(), self.app.deps.clock.clone());
        let until = clock.now() + RENEW_EVERY;
        while self.window.len() > most {
            if clock.now() >= until {
                self.forget_deleted().await?;
                self.renew(owner).await?;
                return Ok(false);
            }
            if !self.window.look(&app).await? {
                clock.sleep(PAUSE).await;
            }
        }
        Ok(true)
    }

    /// What was started of an endpoint that was deleted never has an attempt.
    async fn forget_deleted(&mut self) -> Result<(), Stop> {
        let config = self.app.tenant(&self.job.tenant).await?;
        let uids: BTreeSet<EndpointUid> =
            config.endpoints.iter().map(|config| config.endpoint.uid).collect();
        if endpoint_of(&self.job.kind).is_some_and(|uid| !uids.contains(&uid)) {
            return Err(Stop::deleted());
        }
        self.window.keep(&uids);
        Ok(())
    }

    async fn renew(&mut self, owner: Uuid) -> Result<(), Stop> {
        let until = self.app.deps.clock.now() + LEASE;
        self.job.lease = Some(JobLease { owner, until });
        self.save().await
    }

    async fn end(&mut self, state: JobState) -> Result<(), Stop> {
        let now = self.app.deps.clock.now();
        (self.job.state, self.job.end_time, self.job.lease) = (state, Some(now), None);
        self.save().await?;
        let counts = self.job.counts;
        tracing::info!(
            job = %self.job.id.0, tenant = %self.job.tenant, ?state, looked_at = counts.looked_at, done = counts.done,
            skipped = counts.skipped, error = self.job.error, "job ended",
        );
        Ok(())
    }

    async fn save(&mut self) -> Result<(), Stop> {
        self.job.update_time = self.app.deps.clock.now();
        self.job.version += 1;
        match self.app.deps.jobs.save(&self.job).await? {
            true => Ok(()),
            false => Err(Stop::Lost),
        }
    }
}
