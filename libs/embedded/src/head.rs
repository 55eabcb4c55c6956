//! Key and headers of a log record. The value lies beside them, so that it is copied once.

use bytes::Bytes;
use codec::{In, Out, Read};
use domain::record::Record;

const FORMAT: u8 = 1;

pub(crate) fn encode_head(record: &Record) -> Vec<u8> {
    let value = record.value.as_ref().map_or(0, Bytes::len);
    let capacity = record.size() - value + 4 * record.headers.len() + 8;
    let mut out = Out::new(FORMAT, capacity);
    out.option(record.key.as_ref(), |out, key| {
        out.bytes(key);
    });
    out.list(record.headers.iter(), |out, (name, value)| {
        out.text(name).option(value.as_ref(), |out, value| {
            out.bytes(value);
        });
    });
    out.end()
}

pub(crate) fn decode_head(head: &[u8], value: Option<&[u8]>) -> Read<Record> {
    let mut input = In::new(head, FORMAT, "log record")?;
    let record = Record {
        key: input.option(In::owned)?,
        headers: input.list(|input| Ok((input.string()?, input.option(In::owned)?)))?,
        value: value.map(Bytes::copy_from_slice),
    };
    input.end()?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_round_trips_and_a_damaged_one_is_an_error() {
        let record = Record {
            key: Some(Bytes::from_static(b"key")),
            headers: vec![("name".to_owned(), Some(Bytes::from_static(b"value")))],
            value: None,
        };
        let sound = encode_head(&record);
        assert_eq!(decode_head(&sound, None), Ok(record));
        for length in 0..sound.len() {
            assert!(decode_head(&sound[..length], None).is_err(), "cut to {length}");
        }
    }
}
