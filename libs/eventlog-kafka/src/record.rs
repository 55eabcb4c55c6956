//! Records as Kafka's messages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use domain::record::Record;
use domain::{LogPosition, Position, Timestamp};
use ports::LogRecord;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, OwnedHeaders};

use crate::sources::Place;

/// A message of a shard as a record of the log.
pub(crate) fn from_message(message: &BorrowedMessage<'_>, place: &Place) -> LogRecord {
    LogRecord {
        at: LogPosition { shard: place.shard, position: Position(message.offset().unsigned_abs()) },
        time: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or_default()),
        trust: place.trust.clone(),
        record: Record {
            key: message.key().map(Bytes::copy_from_slice),
            headers: message.headers().map(headers).unwrap_or_default(),
            value: message.payload().map(Bytes::copy_from_slice),
        },
    }
}

/// Copied into one buffer: there are about ten a record, and most are a few bytes.
fn headers(headers: &BorrowedHeaders) -> Vec<(String, Option<Bytes>)> {
    // rdkafka 0.39 panics on a name that is not UTF-8. No header of ours has such a name, and any producer may write one.
    let get = |index| catch_unwind(AssertUnwindSafe(|| headers.get(index))).ok();
    let read: Vec<Header<'_, &[u8]>> = (0..headers.count()).filter_map(get).collect();
    let mut values =
        BytesMut::with_capacity(read.iter().filter_map(|one| one.value).map(<[u8]>::len).sum());
    let owned = |header: Header<'_, &[u8]>| {
        let value = header.value.map(|value| {
            values.extend_from_slice(value);
            values.split().freeze()
        });
        (header.key.to_owned(), value)
    };
    read.into_iter().map(owned).collect()
}

/// The headers of a record as Kafka's.
pub(crate) fn to_headers<'a>(
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> OwnedHeaders {
    headers.fold(OwnedHeaders::new_with_capacity(16), |all, (key, value)| {
        all.insert(Header { key, value })
    })
}
