//! Jobs of every kind.

use domain::{
    DeadLetterId, DeadLetterReason, EventPattern, Job, JobCounts, JobCursor, JobId, JobKind,
    JobLease, JobState, LetterFilter, Position, Shard,
};
use postrider_codec::{decode_job, encode_job};

use super::{Sample, endpoint, run, tenant, time};

pub(crate) fn all() -> Vec<Sample> {
    let replay = JobKind::Replay {
        endpoint: endpoint(),
        start: time(0),
        end: time(5_000),
        event_types: vec![EventPattern::parse("payment.*").expect("valid"), EventPattern::All],
    };
    let all_letters = LetterFilter { endpoint: None, reason: None, since: None, until: time(9) };
    let some_letters = LetterFilter {
        endpoint: Some(endpoint()),
        reason: Some(DeadLetterReason::Rejected),
        since: Some(time(1)),
        until: time(9),
    };
    let letter = DeadLetterId::from_slice(&[0xd1; 16]).expect("16 bytes");
    let in_log = JobCursor::Log { shard: Shard(3), next: Position(70_000) };
    let letters = |before| JobCursor::Letters { endpoint: endpoint(), before };
    let jobs = [
        ("replay", replay.clone(), JobState::Running, in_log),
        ("replay-failed", replay, JobState::Failed, JobCursor::Start),
        ("redrive", JobKind::Redrive(all_letters), JobState::Queued, JobCursor::Start),
        ("purge", JobKind::Purge(some_letters.clone()), JobState::Succeeded, letters(None)),
        (
            "redrive-some",
            JobKind::Redrive(some_letters),
            JobState::Cancelled,
            letters(Some((time(7), letter))),
        ),
    ];
    jobs.into_iter()
        .map(|(name, kind, state, cursor)| {
            Sample::new(format!("job-{name}"), job(kind, state, cursor), encode_job, decode_job)
        })
        .collect()
}

fn job(kind: JobKind, state: JobState, cursor: JobCursor) -> Job {
    let is_running = state == JobState::Running;
    let owner = run(0x31).uuid();
    Job {
        id: JobId(run(0x30).uuid()),
        tenant: tenant(),
        kind,
        state,
        create_time: time(0),
        update_time: time(100),
        end_time: state.has_ended().then(|| time(100)),
        counts: JobCounts {
            looked_at: 300,
            done: 2,
            skipped: 1,
            total: is_running.then_some(1_000),
        },
        cursor,
        error: if state == JobState::Failed { "gone".to_owned() } else { String::new() },
        lease: is_running.then(|| JobLease { owner, until: time(200) }),
        version: 7,
    }
}
