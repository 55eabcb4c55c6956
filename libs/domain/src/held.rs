//! Deliveries that are held back because others come first (DL-6).

use sha2::{Digest, Sha256};

use crate::{Epoch, EventRef, LaneKey, Position, Timestamp};

/// Names a line of deliveries that are held in a lane: those of one ordering key, or the lane's own line, where events of all keys wait until their keys have
/// their turn.
///
/// The first 16 bytes of SHA-256 over the ordering key; two keys of one lane that share them would wait for each other, and nothing worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Line([u8; 16]);

impl Line {
    /// The lane's own line.
    pub const LANE: Self = Self([0; 16]);

    /// The line of an ordering key.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        let digest = Sha256::digest(key.as_bytes());
        let mut line = [0; 16];
        line.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Self(line)
    }

    /// The 16 bytes, for keys.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Undoes [`Self::as_bytes`]; `None` unless there are 16 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// A delivery of the log's run that is held. Its place in the line is its event's position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldRow {
    /// The event.
    pub event: EventRef,
    /// The line of its ordering key, also when it waits in the lane's own line.
    pub key: Line,
    /// When its first attempt was due; it expires 7 days later.
    pub first_due: Timestamp,
}

/// What outlives the owner of a line, written by the shard's owner alone.
///
/// A key's line is open from the moment that a delivery of the key, its head, gets a backlog row: what comes after it is held until the head has ended, and then
/// becomes the head in turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineRow {
    /// The lane.
    pub lane: LaneKey,
    /// The line.
    pub line: Line,
    /// The owner that wrote it: of two rows the one of the higher epoch holds.
    pub epoch: Epoch,
    /// Whether something may be held. A closed line is forgotten.
    pub is_open: bool,
    /// Held rows before this position have had their turn.
    pub from: Position,
    /// The delivery that the line waits for: it has a backlog row, or has ended. `None` in the lane's own line.
    pub head: Option<EventRef>,
    /// In the lane's own line: the last position that was in memory when the line was opened. Records up to it are read before anything of the line has its turn.
    pub after: Option<Position>,
    /// Rows that are held, as the owner counts them.
    pub waiting: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_line_and_it_is_never_the_lanes_own() {
        let line = Line::of_key("customer-1");
        assert_eq!(line, Line::of_key("customer-1"));
        assert_ne!(line, Line::of_key("customer-2"));
        assert_ne!(Line::of_key(""), Line::LANE);
        assert_eq!(Line::from_slice(line.as_bytes()), Some(line));
        assert_eq!(Line::from_slice(b"short"), None);
    }
}
