use domain::{EventId, EventRef, LogPosition, Position, Shard};

use super::*;

#[test]
fn numbers_round_trip_at_their_bounds() {
    let mut out = Out::new(7, 0);
    for number in [0, 1, 0x7f, 0x80, u64::MAX] {
        out.uint(number);
    }
    for number in [0, -1, 1, i64::MIN, i64::MAX] {
        out.int(number);
    }
    let bytes = out.end();
    let mut input = In::new(&bytes, 7, "test").expect("its format");
    for number in [0, 1, 0x7f, 0x80, u64::MAX] {
        assert_eq!(input.uint(), Ok(number));
    }
    for number in [0, -1, 1, i64::MIN, i64::MAX] {
        assert_eq!(input.int(), Ok(number));
    }
    input.end().expect("nothing is left");
    assert!(In::new(&bytes, 8, "test").is_err(), "another format");
}

#[test]
fn damaged_rows_are_errors_and_never_panics() {
    let row = backlog_row();
    let sound = encode_backlog(&row);
    assert_eq!(decode_backlog(row.key, &sound), Ok(row.clone()));
    for length in 0..sound.len() {
        assert!(decode_backlog(row.key, &sound[..length]).is_err(), "cut to {length}");
    }
    let mut longer = sound.clone();
    longer.push(0);
    assert!(decode_backlog(row.key, &longer).is_err(), "something behind the end");
    for position in 0..sound.len() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let mut changed = sound.clone();
            changed[position] = byte;
            // Whatever comes out, it comes out.
            let _ = decode_backlog(row.key, &changed);
            let _ = decode_event(&changed);
            let _ = decode_fact_kind(&changed);
            let _ = decode_command(
                domain::CommandId(domain::RunId::LOG.uuid()),
                domain::Shard(0),
                Timestamp::ZERO,
                &changed,
            );
            let _ = decode_dead_letter(&changed);
            let _ = decode_endpoint(&changed);
            let _ = decode_subscription(&changed);
            let _ = decode_type_entry(&changed);
            let _ = decode_schemas(&changed);
        }
    }
}

#[test]
fn a_damaged_count_asks_for_no_more_memory_than_the_row_has() {
    let mut out = Out::new(1, 0);
    out.byte(0).uint(u64::MAX);
    let bytes = out.end();
    let mut input = In::new(&bytes, 1, "list").expect("its format");
    input.byte().expect("a byte");
    assert!(input.list(In::byte).is_err());
}

#[test]
fn a_cancel_that_was_written_before_runs_were_named_is_read() {
    let row = backlog_row();
    let mut out = Out::new(1, 0);
    out.text("acme").fixed(&[9; 16]).byte(5).event_ref(&row.event);
    let (id, shard) = (domain::CommandId(row.run.uuid()), domain::Shard(1));
    let command = decode_command(id, shard, Timestamp::ZERO, &out.end()).expect("read");
    let kind =
        domain::CommandKind::Cancel { event: row.event.clone(), runs: Vec::new(), redrive: None };
    assert_eq!(command.kind, kind);
    let runs = vec![row.run, domain::RunId::from_slice(&[7; 16]).expect("16 bytes")];
    let redrive = Some(runs[1]);
    let kind = domain::CommandKind::Cancel { event: row.event, runs, redrive };
    let command = domain::Command { kind, ..command };
    let bytes = encode_command(&command);
    assert_eq!(decode_command(id, shard, Timestamp::ZERO, &bytes), Ok(command));
}

fn backlog_row() -> domain::BacklogRow {
    domain::BacklogRow {
        key: domain::BacklogKey::START,
        event: EventRef {
            tenant: TenantId::parse("acme").expect("valid"),
            id: EventId::parse("evt_1").expect("valid"),
            at: LogPosition { shard: Shard(1), position: Position(2) },
        },
        run: domain::RunId::LOG,
        number: 3,
        trigger: domain::Trigger::Event,
        reason: domain::WaitReason::Schedule,
        first_due: Timestamp::from_millis(4),
    }
}
