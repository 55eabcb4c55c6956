//! What the engine asks its caller to do, and what the caller brings back.

use std::sync::Arc;

use domain::{
    AttemptId, BacklogKey, BacklogRow, CommandId, DeadLetter, DeadLetterId, EndpointState,
    EndpointUid, Epoch, Event, EventRef, Fact, HeldRow, LaneKey, LaneRow, Line, LineRow,
    Observation, Outcome, Position, RunId, Shard, TenantId, Timestamp, Trigger,
};

/// Names an attempt between its start and its outcome.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttemptToken(pub(crate) u64);

/// Names a write between its request and its being durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WriteToken(pub(crate) u64);

/// Names a look into the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LoadToken(pub(crate) u64);

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Send one request; answer with `handle_outcome`.
    Attempt(AttemptStart),
    /// Tell those who watch of an attempt.
    Observe(Box<Observation>),
    /// Make rows durable, again and again until they are; answer with `handle_written`.
    Write(Box<Write>),
    /// Read a part of a lane's backlog; answer with `handle_page`.
    ReadBacklog {
        /// The lane.
        lane: LaneKey,
        /// Exclusive lower bound.
        after: BacklogKey,
        /// Inclusive upper bound.
        upto: BacklogKey,
        /// Most rows.
        limit: usize,
    },
    /// Read a part of a line; answer with `handle_line`.
    ReadLine {
        /// The lane.
        lane: LaneKey,
        /// The line.
        line: Line,
        /// First position.
        from: Position,
        /// Only rows before this one.
        before: Option<Position>,
        /// Most rows.
        limit: usize,
    },
    /// Read an event's body and the facts of one delivery; answer with `handle_loaded`.
    Load {
        /// Names the look.
        token: LoadToken,
        /// The endpoint.
        endpoint: EndpointUid,
        /// The event.
        event: EventRef,
        /// The run whose facts count.
        run: RunId,
        /// Whether the event's body is wanted too.
        body: bool,
    },
    /// Read the log from a position and keep what matches one endpoint; answer with `handle_scan`.
    Scan {
        /// The lane whose endpoint it is.
        lane: LaneKey,
        /// First position.
        from: Position,
        /// One past the last position.
        to: Position,
        /// Most records to read.
        limit: usize,
    },
    /// Change an endpoint's state in the store by compare-and-set; answer with `handle_state_set`.
    SetState {
        /// Whose endpoint it is.
        tenant: TenantId,
        /// The endpoint.
        endpoint: EndpointUid,
        /// Only from this state.
        from: EndpointState,
        /// To this one.
        to: EndpointState,
    },
    /// Everything up to here is handed off.
    Ack {
        /// The shard.
        shard: Shard,
        /// The owner.
        epoch: Epoch,
        /// The position.
        upto: Position,
    },
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct AttemptStart {
    /// Names it.
    pub token: AttemptToken,
    /// The shard whose owner may make it.
    pub shard: Shard,
    /// The endpoint.
    pub endpoint: EndpointUid,
    /// The event's name and place.
    pub at: EventRef,
    /// The event.
    pub event: Arc<Event>,
    /// The run.
    pub run: RunId,
    /// 1-based.
    pub number: u32,
    /// Why it is made.
    pub trigger: Trigger,
}

/// What became of a request.
#[derive(Debug)]
pub struct AttemptReport {
    /// The request's id.
    pub id: AttemptId,
    /// When it began.
    pub started: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// How many signatures it carried.
    pub signatures: u8,
    /// Where it went.
    pub url: Arc<str>,
    /// It failed on our own side before it was sent: it is retried, and says nothing about the endpoint.
    pub own_fault: bool,
}

/// A lane that is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The lane.
    pub lane: LaneKey,
    /// Its owner: what a newer one saved stays.
    pub epoch: Epoch,
    /// The last key of its backlog that may go.
    pub upto: BacklogKey,
}

/// Rows that belong together. They become durable in this order, group by group; the order of the writes of one shard is kept too.
#[derive(Debug)]
pub struct Write {
    /// Names it.
    pub token: WriteToken,
    /// The shard of its lanes, one at most; `None` when nothing of a lane depends on its order.
    pub shard: Option<Shard>,
    /// Lanes.
    pub lanes: Vec<LaneRow>,
    /// Bodies.
    pub events: Vec<(EventRef, Arc<Event>)>,
    /// What waits.
    pub rows: Vec<(LaneKey, BacklogRow)>,
    /// Dead letters.
    pub dead_letters: Vec<DeadLetter>,
    /// Facts.
    pub facts: Vec<Fact>,
    /// Lines. Those that are open are durable before what is held in them, those that are closed after it: what left them is held elsewhere.
    pub lines: Vec<LineRow>,
    /// What is held in lines.
    pub held: Vec<(LaneKey, Line, HeldRow)>,
    /// Dead letters whose redrive succeeded.
    pub resolved: Vec<(EndpointUid, DeadLetterId, RunId)>,
    /// Commands that are done.
    pub commands: Vec<(Shard, CommandId)>,
    /// Lanes with nothing to remember. One that a later write saves stays.
    pub removed: Vec<Forgotten>,
    /// Lanes of endpoints that were deleted; their rows are many perhaps, and nothing waits for their end.
    pub deleted: Vec<Forgotten>,
}

impl Write {
    pub(crate) fn new(token: WriteToken) -> Self {
        Self {
            token,
            shard: None,
            lanes: Vec::new(),
            events: Vec::new(),
            rows: Vec::new(),
            dead_letters: Vec::new(),
            facts: Vec::new(),
            lines: Vec::new(),
            held: Vec::new(),
            resolved: Vec::new(),
            commands: Vec::new(),
            removed: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// Whether it holds nothing but facts: the common case of a success.
    #[must_use]
    pub fn is_facts_only(&self) -> bool {
        self.lanes.is_empty()
            && self.events.is_empty()
            && self.rows.is_empty()
            && self.dead_letters.is_empty()
            && self.lines.is_empty()
            && self.held.is_empty()
            && self.resolved.is_empty()
            && self.commands.is_empty()
            && self.removed.is_empty()
            && self.deleted.is_empty()
    }
}
