//! What the control plane asks of the owners of shards. Commands lie in the store's inbox until their owner has done them.

use uuid::Uuid;

use crate::{DeadLetterId, EndpointUid, EventRef, RunId, Shard, TenantId, Timestamp};

/// Names a command; a UUIDv7, so that a repeat is recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommandId(pub Uuid);

/// One thing to do for a lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// The shard whose owner does it.
    pub shard: Shard,
    /// When it was asked for.
    pub time: Timestamp,
    /// Whose endpoint it is.
    pub tenant: TenantId,
    /// The endpoint.
    pub endpoint: EndpointUid,
    /// What to do.
    pub kind: CommandKind,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandKind {
    /// Deliver a dead letter's event again, with a whole new schedule.
    Redrive {
        /// The dead letter.
        dead_letter: DeadLetterId,
        /// Its event; the body is in the store.
        event: EventRef,
        /// The new run.
        run: RunId,
        /// A job asked for it: it waits in line, and the breaker holds it back.
        by_job: bool,
    },
    /// Deliver an event that a job found in the log; it waits in line, and the breaker holds it back.
    Replay {
        /// The event; its body is in the store.
        event: EventRef,
        /// The new run.
        run: RunId,
    },
    /// Deliver an event again.
    Resend {
        /// The event; its body is in the store or still in the log.
        event: EventRef,
        /// The new run.
        run: RunId,
    },
    /// Deliver a test event, which the caller put into the store.
    Test {
        /// The event.
        event: EventRef,
        /// The run.
        run: RunId,
    },
    /// The endpoint was resumed by hand.
    Resume {
        /// Whether what was skipped is delivered.
        catch_up: bool,
    },
    /// End what waits of this event.
    Cancel {
        /// The event.
        event: EventRef,
        /// Its runs, as far as facts tell; those that wait in the owner's memory are ended too, and the log's always.
        runs: Vec<RunId>,
        /// The run of a redrive that has its dead letter: the letter is put back.
        redrive: Option<RunId>,
    },
    /// URL, headers or secrets changed: one attempt may go out at once, whatever the breaker says.
    Probe,
}
