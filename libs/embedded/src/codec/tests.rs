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
    let record = domain::record::Record {
        key: Some(Bytes::from_static(b"key")),
        headers: vec![("name".to_owned(), Some(Bytes::from_static(b"value")))],
        value: None,
    };
    let sound = encode_head(&record);
    assert_eq!(decode_head(&sound, None), Ok(record));
    for length in 0..sound.len() {
        assert!(decode_head(&sound[..length], None).is_err(), "cut to {length}");
    }
    let mut longer = sound.clone();
    longer.push(0);
    assert!(decode_head(&longer, None).is_err(), "something behind the end");
    for position in 0..sound.len() {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let mut changed = sound.clone();
            changed[position] = byte;
            // Whatever comes out, it comes out.
            let _ = decode_head(&changed, None);
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
        }
    }
}

#[test]
fn a_damaged_count_asks_for_no_more_memory_than_the_row_has() {
    let mut out = Out::new(1, 0);
    out.byte(0).uint(u64::MAX);
    assert!(decode_head(&out.end(), None).is_err());
}
