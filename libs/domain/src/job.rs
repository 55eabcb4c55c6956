//! Long work that a person asked for: replaying a range of the log, redriving or purging many dead letters.
//!
//! A job is one row. Who runs it holds a lease and writes its progress by compare-and-set; whoever takes it over goes on at the cursor. What a step does
//! has ids that follow from the job and the item, so that a repeated step changes nothing.

use uuid::Uuid;

use crate::{
    DeadLetterId, DeadLetterReason, EndpointUid, EventPattern, Position, Shard, TenantId, Timestamp,
};

/// Names a job; a UUIDv7 of the time when it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub Uuid);

/// One job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What is to be done.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// When it was asked for.
    pub create_time: Timestamp,
    /// When it was written last.
    pub update_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// What it has done.
    pub counts: JobCounts,
    /// Where it goes on.
    pub cursor: JobCursor,
    /// Why it failed, in words; empty unless it did.
    pub error: String,
    /// Who runs it, and until when nobody else may.
    pub lease: Option<JobLease>,
    /// Raised by every write; 1 at first.
    pub version: u64,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// Deliver a range of the log to one endpoint.
    Replay {
        /// The endpoint.
        endpoint: EndpointUid,
        /// From when on, by the log's time.
        start: Timestamp,
        /// Until before then.
        end: Timestamp,
        /// Only events of these types that the endpoint's subscriptions match too; empty: all that they match.
        event_types: Vec<EventPattern>,
    },
    /// Deliver dead letters anew.
    Redrive(LetterFilter),
    /// Take dead letters away.
    Purge(LetterFilter),
}

/// Which dead letters a job is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LetterFilter {
    /// Of this endpoint; `None`: of all of the tenant.
    pub endpoint: Option<EndpointUid>,
    /// That ended so.
    pub reason: Option<DeadLetterReason>,
    /// That ended at or after this time.
    pub since: Option<Timestamp>,
    /// That ended before this time: when the job was asked for at the latest, or those that come back would be taken up again.
    pub until: Timestamp,
}

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum JobState {
    /// Nobody has begun.
    Queued,
    /// It is being worked on.
    Running,
    /// All is done.
    Succeeded,
    /// It could not go on.
    Failed,
    /// A person ended it; what was started goes on.
    Cancelled,
}

impl JobState {
    /// Whether nothing will happen any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// What a job has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JobCounts {
    /// Records or dead letters that were looked at.
    pub looked_at: u64,
    /// Deliveries that were started, or dead letters that were taken away.
    pub done: u64,
    /// Those of them that were left alone: another redrive had them.
    pub skipped: u64,
    /// Records or dead letters to look at in all, where that is known.
    pub total: Option<u64>,
}

/// Where a job goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobCursor {
    /// At the beginning.
    Start,
    /// In the log.
    Log {
        /// The shard; those before it are done.
        shard: Shard,
        /// The first position of it that is not done.
        next: Position,
    },
    /// In lists of dead letters.
    Letters {
        /// The endpoint; those with smaller uids are done.
        endpoint: EndpointUid,
        /// Of its list, strictly before this one; `None`: from its newest on.
        before: Option<(Timestamp, DeadLetterId)>,
    },
}

/// Who runs a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobLease {
    /// The process, by a number of its own.
    pub owner: Uuid,
    /// Until then nobody else takes it.
    pub until: Timestamp,
}
