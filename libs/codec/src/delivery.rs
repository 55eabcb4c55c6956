//! What waits: backlog rows, lanes, commands, dead letters. Parts of the keys are columns and not repeated here.

use domain::{
    BacklogKey, BacklogRow, BreakerPhase, BreakerState, Command, CommandId, CommandKind,
    DeadLetter, DeadLetterId, EndpointUid, Epoch, LaneKey, LaneRow, Position, RunId, Shard,
    Timestamp, WaitReason,
};

use super::fact::{reason_code, trigger_code};
use super::{Damaged, In, Out, Read};

const BACKLOG: u8 = 1;
const LANE: u8 = 1;
const COMMAND: u8 = 1;
const DEAD_LETTER: u8 = 1;

/// All of a row but its key.
pub fn encode_backlog(row: &BacklogRow) -> Vec<u8> {
    let mut out = Out::new(BACKLOG, 112);
    out.event_ref(&row.event)
        .fixed(row.run.as_bytes())
        .uint(row.number.into())
        .byte(trigger_code(row.trigger))
        .byte(row.reason.code())
        .time(row.first_due);
    out.end()
}

pub fn decode_backlog(key: BacklogKey, bytes: &[u8]) -> Read<BacklogRow> {
    let mut input = In::new(bytes, BACKLOG, "backlog row")?;
    let row = BacklogRow {
        key,
        event: input.event_ref()?,
        run: input.run()?,
        number: input.small()?,
        trigger: input.trigger()?,
        reason: WaitReason::from_code(input.byte()?).ok_or(Damaged("backlog row"))?,
        first_due: input.time()?,
    };
    input.end()?;
    Ok(row)
}

/// All of a row but its key, epoch and cursor.
pub fn encode_lane(row: &LaneRow) -> Vec<u8> {
    let mut out = Out::new(LANE, 96);
    out.text(row.tenant.as_str())
        .uint(row.breaker.failures.into())
        .uint(row.breaker.refusals.into());
    match row.breaker.phase {
        BreakerPhase::Closed => out.byte(0),
        BreakerPhase::Open { since, probes, next } => {
            out.byte(1).time(since).uint(probes.into()).time(next)
        }
    };
    out.option(row.skip_from, |out, from| {
        out.uint(from.0);
    });
    out.uint(row.waiting);
    for time in [row.oldest_due, row.last_success, row.last_failure] {
        out.option(time, |out, time| {
            out.time(time);
        });
    }
    out.end()
}

pub fn decode_lane(key: LaneKey, epoch: Epoch, cursor: BacklogKey, bytes: &[u8]) -> Read<LaneRow> {
    let mut input = In::new(bytes, LANE, "lane")?;
    let row = LaneRow {
        key,
        tenant: input.tenant()?,
        epoch,
        cursor,
        breaker: BreakerState {
            failures: input.small()?,
            refusals: input.small()?,
            phase: match input.byte()? {
                0 => BreakerPhase::Closed,
                1 => BreakerPhase::Open {
                    since: input.time()?,
                    probes: input.small()?,
                    next: input.time()?,
                },
                _ => return Err(input.damaged()),
            },
        },
        skip_from: input.option(|input| input.uint().map(Position))?,
        waiting: input.uint()?,
        oldest_due: input.option(In::time)?,
        last_success: input.option(In::time)?,
        last_failure: input.option(In::time)?,
    };
    input.end()?;
    Ok(row)
}

/// All of a command but its id, shard and time.
pub fn encode_command(command: &Command) -> Vec<u8> {
    let mut out = Out::new(COMMAND, 128);
    out.text(command.tenant.as_str()).fixed(command.endpoint.as_bytes());
    match &command.kind {
        CommandKind::Redrive { dead_letter, event, run, by_job } => {
            let out = out.byte(if *by_job { 9 } else { 1 });
            out.fixed(dead_letter.as_bytes()).event_ref(event).fixed(run.as_bytes())
        }
        CommandKind::Replay { event, run } => out.byte(8).event_ref(event).fixed(run.as_bytes()),
        CommandKind::Resend { event, run } => out.byte(2).event_ref(event).fixed(run.as_bytes()),
        CommandKind::Test { event, run } => out.byte(3).event_ref(event).fixed(run.as_bytes()),
        CommandKind::Resume { catch_up } => out.byte(4).byte((*catch_up).into()),
        CommandKind::Probe => out.byte(6),
        CommandKind::Cancel { event, runs, redrive } => {
            let out = out.byte(7).event_ref(event);
            out.list(runs.iter(), |out, run| {
                out.fixed(run.as_bytes());
            });
            out.option(*redrive, |out, run| {
                out.fixed(run.as_bytes());
            })
        }
    };
    out.end()
}

pub fn decode_command(id: CommandId, shard: Shard, time: Timestamp, bytes: &[u8]) -> Read<Command> {
    let mut input = In::new(bytes, COMMAND, "command")?;
    let command = Command {
        id,
        shard,
        time,
        tenant: input.tenant()?,
        endpoint: input.endpoint()?,
        kind: match input.byte()? {
            code @ (1 | 9) => CommandKind::Redrive {
                dead_letter: input.dead_letter()?,
                event: input.event_ref()?,
                run: input.run()?,
                by_job: code == 9,
            },
            8 => CommandKind::Replay { event: input.event_ref()?, run: input.run()? },
            2 => CommandKind::Resend { event: input.event_ref()?, run: input.run()? },
            3 => CommandKind::Test { event: input.event_ref()?, run: input.run()? },
            4 => CommandKind::Resume { catch_up: input.byte()? != 0 },
            // Written before runs were named.
            5 => CommandKind::Cancel { event: input.event_ref()?, runs: Vec::new(), redrive: None },
            6 => CommandKind::Probe,
            7 => CommandKind::Cancel {
                event: input.event_ref()?,
                runs: input.list(In::run)?,
                redrive: input.option(In::run)?,
            },
            _ => return Err(input.damaged()),
        },
    };
    input.end()?;
    Ok(command)
}

/// A whole dead letter; its key columns repeat parts of it.
pub fn encode_dead_letter(letter: &DeadLetter) -> Vec<u8> {
    let mut out = Out::new(DEAD_LETTER, letter.url.len() + 192);
    out.fixed(letter.id.as_bytes())
        .text(letter.tenant.as_str())
        .fixed(letter.endpoint.as_bytes())
        .text(&letter.url)
        .event_ref(&letter.event)
        .text(&letter.event_type)
        .byte(reason_code(letter.reason))
        .option(letter.last_outcome, |out, outcome| {
            out.outcome(outcome);
        })
        .uint(letter.attempts.into())
        .fixed(letter.run.as_bytes())
        .time(letter.time);
    out.end()
}

pub fn decode_dead_letter(bytes: &[u8]) -> Read<DeadLetter> {
    let mut input = In::new(bytes, DEAD_LETTER, "dead letter")?;
    let letter = DeadLetter {
        id: input.dead_letter()?,
        tenant: input.tenant()?,
        endpoint: input.endpoint()?,
        url: input.string()?,
        event: input.event_ref()?,
        event_type: input.string()?,
        reason: input.reason()?,
        last_outcome: input.option(In::outcome)?,
        attempts: input.small()?,
        run: input.run()?,
        time: input.time()?,
    };
    input.end()?;
    Ok(letter)
}

impl In<'_> {
    fn run(&mut self) -> Read<RunId> {
        RunId::from_slice(&self.fixed()?).ok_or_else(|| self.damaged())
    }

    pub(crate) fn endpoint(&mut self) -> Read<EndpointUid> {
        EndpointUid::from_slice(&self.fixed()?).ok_or_else(|| self.damaged())
    }

    fn dead_letter(&mut self) -> Read<DeadLetterId> {
        DeadLetterId::from_slice(&self.fixed()?).ok_or_else(|| self.damaged())
    }
}
