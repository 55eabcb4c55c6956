//! How stores write rows as bytes: a format byte, then fields in a fixed order. Numbers are LEB128, texts and bytes carry their length.
//!
//! Every store adapter uses the same bytes, so a row means the same in each. A format byte is never reused: a changed layout gets the next number, and
//! the decoder knows both. Parts of a row that are columns of its key are not repeated in its bytes.
//!
//! It deliberately knows no store.

mod config;
mod delivery;
mod event;
mod event_type;
mod fact;
mod job;
mod line;

use std::time::Duration;

use bytes::Bytes;
use domain::{TenantId, Timestamp};

pub use config::{decode_endpoint, decode_subscription, encode_endpoint, encode_subscription};
pub use delivery::{
    decode_backlog, decode_command, decode_dead_letter, decode_lane, encode_backlog,
    encode_command, encode_dead_letter, encode_lane,
};
pub use event::{decode_event, encode_event};
pub use event_type::{decode_schemas, decode_type_entry, encode_schemas, encode_type_entry};
pub use fact::{decode_fact_kind, encode_fact_kind, reason_code};
pub use job::{decode_job, encode_job};
pub use line::{decode_held, decode_line, encode_held, encode_line};

/// A stored value that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored {0} does not decode")]
pub struct Damaged(pub &'static str);

/// Writes fields.
pub struct Out(Vec<u8>);

impl Out {
    pub fn new(format: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 1);
        bytes.push(format);
        Self(bytes)
    }

    pub fn end(self) -> Vec<u8> {
        self.0
    }

    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    pub fn uint(&mut self, mut number: u64) -> &mut Self {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
        self
    }

    /// Zigzag, so that small negative numbers are short too.
    pub fn int(&mut self, number: i64) -> &mut Self {
        self.uint(((number << 1) ^ (number >> 63)).cast_unsigned())
    }

    pub fn fixed(&mut self, bytes: &[u8; 16]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub fn time(&mut self, time: Timestamp) -> &mut Self {
        self.int(time.as_millis())
    }

    pub fn duration(&mut self, duration: Duration) -> &mut Self {
        self.uint(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    pub fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                put(self, value);
                self
            }
        }
    }

    pub fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut put: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.uint(items.len() as u64);
        for item in items {
            put(self, item);
        }
        self
    }
}

/// Reads fields.
pub struct In<'a> {
    rest: &'a [u8],
    what: &'static str,
}

pub type Read<T> = Result<T, Damaged>;

impl<'a> In<'a> {
    /// Checks the format byte.
    pub fn new(bytes: &'a [u8], format: u8, what: &'static str) -> Read<Self> {
        match bytes.split_first() {
            Some((first, rest)) if *first == format => Ok(Self { rest, what }),
            _ => Err(Damaged(what)),
        }
    }

    pub fn damaged(&self) -> Damaged {
        Damaged(self.what)
    }

    /// Nothing may be left.
    pub fn end(self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged()) }
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Damaged(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Read<u8> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged(self.what))?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn uint(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged())
    }

    pub fn small<T: TryFrom<u64>>(&mut self) -> Read<T> {
        T::try_from(self.uint()?).map_err(|_| self.damaged())
    }

    pub fn int(&mut self) -> Read<i64> {
        let number = self.uint()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    pub fn fixed(&mut self) -> Read<[u8; 16]> {
        let taken = self.take(16)?;
        taken.try_into().map_err(|_| self.damaged())
    }

    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let count = self.small()?;
        self.take(count)
    }

    pub fn owned(&mut self) -> Read<Bytes> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    pub fn text(&mut self) -> Read<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged())
    }

    pub fn string(&mut self) -> Read<String> {
        self.text().map(str::to_owned)
    }

    pub fn time(&mut self) -> Read<Timestamp> {
        self.int().map(Timestamp::from_millis)
    }

    pub fn duration(&mut self) -> Read<Duration> {
        self.uint().map(Duration::from_nanos)
    }

    pub fn option<T>(&mut self, get: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        match self.byte()? {
            0 => Ok(None),
            1 => get(self).map(Some),
            _ => Err(self.damaged()),
        }
    }

    pub fn list<T>(&mut self, mut get: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count: usize = self.small()?;
        // Every item is at least a byte long: a damaged count cannot ask for more memory than the row has bytes.
        if count > self.rest.len() {
            return Err(self.damaged());
        }
        (0..count).map(|_| get(self)).collect()
    }

    pub fn tenant(&mut self) -> Read<TenantId> {
        let text = self.text()?;
        TenantId::parse(text).map_err(|_| self.damaged())
    }
}

#[cfg(test)]
mod tests;
