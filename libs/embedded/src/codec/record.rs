//! Key and headers of a log record. The value lies beside them, so that it is copied once.

use bytes::Bytes;
use domain::record::Record;

use super::{In, Out, Read};

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
