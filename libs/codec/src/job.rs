//! Jobs.

use domain::{
    DeadLetterId, EventPattern, Job, JobCounts, JobCursor, JobId, JobKind, JobLease, JobState,
    LetterFilter, Position, Shard,
};
use uuid::Uuid;

use super::fact::reason_code;
use super::{In, Out, Read};

const JOB: u8 = 1;

/// A whole job; its key columns repeat parts of it.
pub fn encode_job(job: &Job) -> Vec<u8> {
    let mut out = Out::new(JOB, 192);
    out.fixed(job.id.0.as_bytes()).text(job.tenant.as_str()).work(&job.kind);
    out.byte(match job.state {
        JobState::Queued => 1,
        JobState::Running => 2,
        JobState::Succeeded => 3,
        JobState::Failed => 4,
        JobState::Cancelled => 5,
    });
    out.time(job.create_time).time(job.update_time);
    out.option(job.end_time, |out, time| {
        out.time(time);
    });
    out.uint(job.counts.looked_at).uint(job.counts.done).uint(job.counts.skipped);
    out.option(job.counts.total, |out, total| {
        out.uint(total);
    });
    match job.cursor {
        JobCursor::Start => out.byte(0),
        JobCursor::Log { shard, next } => out.byte(1).uint(shard.0.into()).uint(next.0),
        JobCursor::Letters { endpoint, before } => {
            out.byte(2).fixed(endpoint.as_bytes()).option(before, |out, (time, id)| {
                out.time(time).fixed(id.as_bytes());
            })
        }
    };
    out.text(&job.error);
    out.option(job.lease, |out, lease| {
        out.fixed(lease.owner.as_bytes()).time(lease.until);
    });
    out.uint(job.version);
    out.end()
}

pub fn decode_job(bytes: &[u8]) -> Read<Job> {
    let mut input = In::new(bytes, JOB, "job")?;
    let job = Job {
        id: JobId(input.uuid()?),
        tenant: input.tenant()?,
        kind: input.work()?,
        state: match input.byte()? {
            1 => JobState::Queued,
            2 => JobState::Running,
            3 => JobState::Succeeded,
            4 => JobState::Failed,
            5 => JobState::Cancelled,
            _ => return Err(input.damaged()),
        },
        create_time: input.time()?,
        update_time: input.time()?,
        end_time: input.option(In::time)?,
        counts: JobCounts {
            looked_at: input.uint()?,
            done: input.uint()?,
            skipped: input.uint()?,
            total: input.option(In::uint)?,
        },
        cursor: match input.byte()? {
            0 => JobCursor::Start,
            1 => JobCursor::Log { shard: Shard(input.small()?), next: Position(input.uint()?) },
            2 => JobCursor::Letters {
                endpoint: input.endpoint()?,
                before: input.option(|input| {
                    let time = input.time()?;
                    let id = DeadLetterId::from_slice(&input.fixed()?);
                    Ok((time, id.ok_or_else(|| input.damaged())?))
                })?,
            },
            _ => return Err(input.damaged()),
        },
        error: input.string()?,
        lease: input.option(|input| Ok(JobLease { owner: input.uuid()?, until: input.time()? }))?,
        version: input.uint()?,
    };
    input.end()?;
    Ok(job)
}

impl Out {
    fn work(&mut self, kind: &JobKind) -> &mut Self {
        match kind {
            JobKind::Replay { endpoint, start, end, event_types } => {
                self.byte(1).fixed(endpoint.as_bytes()).time(*start).time(*end).list(
                    event_types.iter(),
                    |out, pattern| {
                        out.text(&pattern.to_string());
                    },
                )
            }
            JobKind::Redrive(filter) => self.byte(2).letters(filter),
            JobKind::Purge(filter) => self.byte(3).letters(filter),
        }
    }

    fn letters(&mut self, filter: &LetterFilter) -> &mut Self {
        self.option(filter.endpoint, |out, endpoint| {
            out.fixed(endpoint.as_bytes());
        });
        self.option(filter.reason, |out, reason| {
            out.byte(reason_code(reason));
        });
        self.option(filter.since, |out, since| {
            out.time(since);
        });
        self.time(filter.until)
    }
}

impl In<'_> {
    fn work(&mut self) -> Read<JobKind> {
        Ok(match self.byte()? {
            1 => JobKind::Replay {
                endpoint: self.endpoint()?,
                start: self.time()?,
                end: self.time()?,
                event_types: self.list(|input| {
                    EventPattern::parse(input.text()?).map_err(|_| input.damaged())
                })?,
            },
            2 => JobKind::Redrive(self.letters()?),
            3 => JobKind::Purge(self.letters()?),
            _ => return Err(self.damaged()),
        })
    }

    fn letters(&mut self) -> Read<LetterFilter> {
        Ok(LetterFilter {
            endpoint: self.option(In::endpoint)?,
            reason: self.option(In::reason)?,
            since: self.option(In::time)?,
            until: self.time()?,
        })
    }

    fn uuid(&mut self) -> Read<Uuid> {
        self.fixed().map(Uuid::from_bytes)
    }
}
