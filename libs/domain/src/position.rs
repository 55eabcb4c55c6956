//! Where a record lies in the log, and the counters that order owners and configurations.

use std::fmt;

/// A shard of the event log: the unit of ownership and of order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shard(pub u16);

/// Place of a record within its shard. Positions of a shard increase; they are not dense.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Counts the owners of a shard: a larger epoch is a later owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u32);

/// Version of a tenant's configuration; grows with every change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub u64);

/// A record's place in the whole log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogPosition {
    /// The shard.
    pub shard: Shard,
    /// The place in the shard.
    pub position: Position,
}

/// Bits of a packed [`LogPosition`] that hold the position; the shard is above them.
const POSITION_BITS: u32 = 40;

impl LogPosition {
    /// The shard number that marks events that never were in the log (test events).
    pub const OFF_LOG: Shard = Shard(0x7fff);

    /// A place for an event that is not in the log; `position` keeps two of them apart.
    #[must_use]
    pub const fn off_log(position: Position) -> Self {
        Self { shard: Self::OFF_LOG, position }
    }

    /// Whether the record can be read from the log.
    #[must_use]
    pub fn is_in_log(self) -> bool {
        self.shard != Self::OFF_LOG
    }

    /// One integer that sorts like `(shard, position)`: `shard << 40 | position`. Fits an `i64`.
    #[must_use]
    pub const fn packed(self) -> i64 {
        let position = self.position.0 & ((1 << POSITION_BITS) - 1);
        (((self.shard.0 & 0x7fff) as u64) << POSITION_BITS | position).cast_signed()
    }

    /// Undoes [`LogPosition::packed`].
    #[must_use]
    pub const fn from_packed(packed: i64) -> Self {
        let packed = packed.cast_unsigned();
        Self {
            shard: Shard(((packed >> POSITION_BITS) & 0x7fff) as u16),
            position: Position(packed & ((1 << POSITION_BITS) - 1)),
        }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.shard.0, self.position.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_positions_sort_like_their_parts_and_round_trip() {
        let places = [(0, 0), (0, 7), (1, 0), (1, (1 << 40) - 1), (0x7fff, 3)]
            .map(|(s, p)| LogPosition { shard: Shard(s), position: Position(p) });
        for pair in places.windows(2) {
            assert!(pair[0].packed() < pair[1].packed());
        }
        for place in places {
            assert_eq!(LogPosition::from_packed(place.packed()), place);
        }
    }
}
