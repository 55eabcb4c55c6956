//! What waits: small references to deliveries that are due later.

use crate::{Epoch, EventRef, RunId, Timestamp, Trigger};

/// Keeps apart backlog rows that are due at the same millisecond: the owner's epoch above a counter.
///
/// A worker that does not know yet that it lost a shard writes with its old epoch, and so never another's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// `epoch << 40 | count`; fits an `i64` for epochs below 2^23.
    #[must_use]
    pub const fn new(epoch: Epoch, count: u64) -> Self {
        Self(((epoch.0 as u64 & 0x7f_ffff) << 40) | (count & 0xff_ffff_ffff))
    }

    /// Whether the owner of this epoch made it.
    #[must_use]
    pub const fn is_of(self, epoch: Epoch) -> bool {
        self.0 >> 40 == Self::new(epoch, 0).0 >> 40
    }

    /// Sorts after every other.
    pub const MAX: Self = Self(i64::MAX as u64);
}

/// The place of a row in its lane's backlog: rows are read in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BacklogKey {
    /// When the delivery is due.
    pub due: Timestamp,
    /// Keeps rows of one due time apart.
    pub seq: Seq,
}

impl BacklogKey {
    /// Sorts before every row.
    pub const START: Self = Self { due: Timestamp::ZERO, seq: Seq(0) };

    /// The last key that can be due at `due`.
    #[must_use]
    pub const fn end_of(due: Timestamp) -> Self {
        Self { due, seq: Seq::MAX }
    }
}

/// One attempt that waits for its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BacklogRow {
    /// Its place; unique in the lane.
    pub key: BacklogKey,
    /// The event.
    pub event: EventRef,
    /// The run.
    pub run: RunId,
    /// The number of the attempt that waits, 1-based.
    pub number: u32,
    /// Why the run exists: [`Trigger::Event`], `Redrive`, `Resend`, `Replay` or `Test`.
    pub trigger: Trigger,
    /// Why it waits.
    pub reason: WaitReason,
    /// When the run's first attempt was due; it expires 7 days later.
    pub first_due: Timestamp,
}

/// Why a delivery waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitReason {
    /// A failed attempt: its schedule.
    Schedule,
    /// The lane's memory is full, or it waited there too long, or others wait before it.
    Overflow,
    /// The breaker is open, or the endpoint is paused or disabled.
    Held,
    /// The publisher asked for a later time.
    Scheduled,
    /// It was still in flight when the log had to go on; void if that attempt is recorded.
    InFlight,
    /// A person asked for it.
    Asked,
    /// A job asked for it.
    Job,
}

impl WaitReason {
    /// The stable number that stores write.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Schedule => 1,
            Self::Overflow => 2,
            Self::Held => 3,
            Self::Scheduled => 4,
            Self::InFlight => 5,
            Self::Asked => 6,
            Self::Job => 7,
        }
    }

    /// Undoes [`Self::code`].
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Schedule,
            2 => Self::Overflow,
            3 => Self::Held,
            4 => Self::Scheduled,
            5 => Self::InFlight,
            6 => Self::Asked,
            7 => Self::Job,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_whose_it_is() {
        let seq = Seq::new(Epoch(7), 0xff_ffff_ffff);
        assert!(seq.is_of(Epoch(7)) && !seq.is_of(Epoch(6)) && !seq.is_of(Epoch(8)));
    }
}
