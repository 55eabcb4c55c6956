//! What happened, in order: what the checks read, and what a failing seed shows.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{
    BacklogRow, DeadLetterId, EndpointUid, Epoch, EventId, EventRef, Fact, HeldRow, LaneKey,
    LaneRow, Line, LineRow, OutcomeKind, Position, RunId, Shard, Timestamp,
};

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A step of the plan, in words.
    Step(String),
    /// A request began.
    Sent(Sent),
    /// A request ended.
    Answered {
        request: usize,
        outcome: OutcomeKind,
    },
    /// A request's sender was gone before it ended.
    Dropped {
        request: usize,
    },
    /// A row is durable.
    Recorded(Fact),
    Appended(LaneKey, BacklogRow),
    Held(LaneKey, Line, HeldRow),
    LineSaved(LineRow),
    LaneSaved(LaneRow),
    LaneRemoved(LaneKey),
    LetterPut {
        endpoint: EndpointUid,
        event: EventRef,
        run: RunId,
    },
    LetterResolved {
        endpoint: EndpointUid,
        letter: DeadLetterId,
        run: RunId,
    },
    /// A call to the store was failed on purpose.
    Failed(&'static str),
    /// A worker said that everything up to a position is handed off. `taken`: the log took it.
    Acked {
        worker: usize,
        shard: Shard,
        epoch: Epoch,
        upto: Position,
        taken: bool,
    },
    /// A worker owns a shard now.
    Assigned {
        worker: usize,
        shard: Shard,
        epoch: Epoch,
    },
    /// An endpoint was deleted.
    Deleted(EndpointUid),
    /// Something was said at level ERROR, or panicked.
    Error(String),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Its number in the history, from 0.
    pub(crate) request: usize,
    pub(crate) worker: usize,
    /// Requests of this worker on their way, with this one.
    pub(crate) in_flight: usize,
    pub(crate) endpoint: EndpointUid,
    pub(crate) event: EventId,
    pub(crate) attempt: u32,
    pub(crate) trigger: String,
    /// What the receiver makes of it, whether or not anybody waits for the answer.
    pub(crate) outcome: OutcomeKind,
    pub(crate) takes: Duration,
    /// How long the answer asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// Why its signature is none, if so.
    pub(crate) unsigned: Option<String>,
}

impl Sent {
    /// Whether the receiver took it.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.outcome, OutcomeKind::Answered(200..=299))
    }
}

/// The journal of one history. Clones write into the same one.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    pub(crate) fn note(&self, time: Timestamp, what: What) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Entry { time, what });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A number that two histories share when they are the same, entry for entry: FNV-1a over their text.
pub(crate) fn digest(entries: &[Entry]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut line = String::new();
    for entry in entries {
        line.clear();
        // Writing to a string cannot fail.
        let _ = write!(line, "{} {:?}", entry.time.as_millis(), entry.what);
        for byte in line.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
