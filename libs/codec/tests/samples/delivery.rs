//! What waits, and what is asked of it.

use domain::{
    BacklogKey, BacklogRow, BreakerPhase, BreakerState, Command, CommandId, CommandKind,
    DeadLetter, DeadLetterId, DeadLetterReason, Epoch, LaneKey, LaneRow, OutcomeKind, Position,
    Seq, Shard, Trigger, WaitReason,
};
use postrider_codec::{
    decode_backlog, decode_command, decode_dead_letter, decode_lane, encode_backlog,
    encode_command, encode_dead_letter, encode_lane,
};

use super::{Sample, endpoint, event, run, tenant, time};

const WAITS: [WaitReason; 6] = [
    WaitReason::Schedule,
    WaitReason::Overflow,
    WaitReason::Held,
    WaitReason::Scheduled,
    WaitReason::InFlight,
    WaitReason::Asked,
];

pub(super) fn all() -> Vec<Sample> {
    let mut all: Vec<Sample> = (1..).zip(WAITS).map(|(n, reason)| backlog(n, reason)).collect();
    all.extend([lane("lane-closed", closed()), lane("lane-open", open())]);
    all.extend(commands());
    let without = DeadLetter { last_outcome: None, ..dead_letter() };
    for (name, letter) in [("dead-letter", dead_letter()), ("dead-letter-unsent", without)] {
        all.push(Sample::new(name, letter, encode_dead_letter, decode_dead_letter));
    }
    all
}

fn backlog(number: u8, reason: WaitReason) -> Sample {
    let key = BacklogKey { due: time(1_000), seq: Seq(7) };
    let row = BacklogRow {
        key,
        event: event(),
        run: run(0x21),
        number: 2,
        trigger: Trigger::Retry,
        reason,
        first_due: time(500),
    };
    let name = format!("backlog-{number}");
    Sample::new(name, row, encode_backlog, move |bytes| decode_backlog(key, bytes))
}

fn lane(name: &str, row: LaneRow) -> Sample {
    let (key, epoch, cursor) = (row.key, row.epoch, row.cursor);
    Sample::new(name, row, encode_lane, move |bytes| decode_lane(key, epoch, cursor, bytes))
}

fn closed() -> LaneRow {
    LaneRow {
        key: LaneKey { shard: Shard(3), endpoint: endpoint() },
        tenant: tenant(),
        epoch: Epoch(4),
        cursor: BacklogKey { due: time(0), seq: Seq(9) },
        breaker: BreakerState::default(),
        skip_from: None,
        waiting: 0,
        oldest_due: None,
        last_success: None,
        last_failure: None,
    }
}

fn open() -> LaneRow {
    let phase = BreakerPhase::Open { since: time(100), probes: 5, next: time(9_000) };
    LaneRow {
        breaker: BreakerState { failures: 12, refusals: 3, phase },
        skip_from: Some(Position(90_000)),
        waiting: 1_234,
        oldest_due: Some(time(200)),
        last_success: Some(time(50)),
        last_failure: Some(time(99)),
        ..closed()
    }
}

fn commands() -> Vec<Sample> {
    let (event, run_1) = (event(), run(0x21));
    let letter = DeadLetterId::from_slice(&[0xd1; 16]).expect("16 bytes");
    let cancel = |runs, redrive| CommandKind::Cancel { event: event.clone(), runs, redrive };
    let redrive = |by_job| {
        let event = event.clone();
        CommandKind::Redrive { dead_letter: letter, event, run: run_1, by_job }
    };
    let kinds = [
        ("redrive", redrive(false)),
        ("redrive-by-job", redrive(true)),
        ("replay", CommandKind::Replay { event: event.clone(), run: run_1 }),
        ("resend", CommandKind::Resend { event: event.clone(), run: run_1 }),
        ("test", CommandKind::Test { event: event.clone(), run: run_1 }),
        ("resume", CommandKind::Resume { catch_up: false }),
        ("resume-catch-up", CommandKind::Resume { catch_up: true }),
        ("probe", CommandKind::Probe),
        ("cancel", cancel(Vec::new(), None)),
        ("cancel-runs", cancel(vec![run_1, run(0x22)], Some(run(0x22)))),
    ];
    kinds.into_iter().map(|(name, kind)| command(name, kind)).collect()
}

fn command(name: &str, kind: CommandKind) -> Sample {
    let (id, shard, asked) = (CommandId(run(0xc1).uuid()), Shard(3), time(40));
    let command = Command { id, shard, time: asked, tenant: tenant(), endpoint: endpoint(), kind };
    let decode = move |bytes: &[u8]| decode_command(id, shard, asked, bytes);
    Sample::new(format!("command-{name}"), command, encode_command, decode)
}

fn dead_letter() -> DeadLetter {
    DeadLetter {
        id: DeadLetterId::from_slice(&[0xd1; 16]).expect("16 bytes"),
        tenant: tenant(),
        endpoint: endpoint(),
        url: "https://shop.example/hook".to_owned(),
        event: event(),
        event_type: "payment.completed".to_owned(),
        reason: DeadLetterReason::Exhausted,
        last_outcome: Some(OutcomeKind::Answered(503)),
        attempts: 21,
        run: run(0x21),
        time: time(7_000),
    }
}
