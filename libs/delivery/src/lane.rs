//! One endpoint's deliveries of one shard.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use domain::{
    BacklogKey, BacklogRow, BreakerState, Epoch, Event, EventRef, LaneKey, LaneRow, LastKnown,
    LogPosition, Position, RunId, TenantId, Timestamp, Trigger, limits,
};

use crate::backlog::Backlog;
use crate::effect::Forgotten;
use crate::order::Order;

/// A delivery that is in memory, ready to be attempted or on its way.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) at: EventRef,
    pub(crate) event: Arc<Event>,
    pub(crate) run: RunId,
    /// The attempt to make, 1-based.
    pub(crate) number: u32,
    /// Why the run exists.
    pub(crate) trigger: Trigger,
    pub(crate) first_due: Timestamp,
    pub(crate) origin: Origin,
    /// Whether the event's body is known to be in the store.
    pub(crate) stored: bool,
    /// Requests of all runs of this delivery before.
    pub(crate) attempts_before: u32,
    /// What the facts of all runs said last when it was looked up.
    pub(crate) last: LastKnown,
    pub(crate) queued_at: Timestamp,
}

impl Item {
    /// Why the attempt to make is made.
    pub(crate) fn trigger_of(&self, is_probe: bool) -> Trigger {
        match (is_probe, self.number) {
            (true, _) => Trigger::Probe,
            (false, 1) => self.trigger,
            (false, _) => Trigger::Retry,
        }
    }
}

/// What is handed off when the delivery has a durable successor or end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// The record at this position.
    Live(Position),
    /// A backlog row.
    Row(BacklogKey),
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) key: LaneKey,
    pub(crate) tenant: TenantId,
    pub(crate) epoch: Epoch,
    /// First attempts straight from the log.
    pub(crate) queue: VecDeque<Item>,
    pub(crate) queue_bytes: usize,
    /// Loaded backlog rows, oldest first.
    pub(crate) ready: VecDeque<Item>,
    /// What a person asked for: goes before everything, whatever the breaker says.
    pub(crate) asked: VecDeque<Item>,
    /// Rows of what a person asked for that are not looked at yet: bodies in memory are bounded.
    pub(crate) to_ask: VecDeque<BacklogRow>,
    /// Looks that are under way for them.
    pub(crate) asking: usize,
    /// Rows of what a person asked for that an owner before left.
    pub(crate) left: LeftAsked,
    /// Looks that are under way for backlog rows.
    pub(crate) loading: usize,
    pub(crate) backlog: Backlog,
    /// First attempts wait in the backlog; new arrivals join them.
    pub(crate) draining: bool,
    /// Runs in memory or on their way: a lane never has two attempts of one run in flight.
    pub(crate) active: BTreeSet<(LogPosition, RunId)>,
    /// What waits for others of its ordering key.
    pub(crate) order: Order,
    pub(crate) skip: Skip,
    pub(crate) scan: Scan,
    /// Rows of what was skipped that are not handed off.
    pub(crate) ahead: BTreeSet<BacklogKey>,
    /// The lane's row exists in the store.
    pub(crate) stored: bool,
    /// When the lane is to be saved; `None`: it is as the store has it.
    pub(crate) save_by: Option<Timestamp>,
    /// When it was saved last for itself.
    pub(crate) saved: Option<Timestamp>,
    pub(crate) last_success: Option<Timestamp>,
    pub(crate) last_failure: Option<Timestamp>,
    /// The breaker as the lane's last owner saw it.
    pub(crate) remembered: BreakerState,
}

/// Whether the rows of what a person asked for are in memory: they do not wait until the backlog is read up to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeftAsked {
    /// All are.
    Found,
    /// They are behind this key.
    After(BacklogKey),
    /// A page up to this key is on its way.
    Reading(BacklogKey),
}

/// Events that were skipped while the endpoint was disabled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Skip {
    /// None.
    None,
    /// From this position on; the mark is not durable yet, and these records wait for it.
    Marking(Position, Vec<Position>),
    /// From this position on.
    Marked(Position),
    /// The endpoint is active again: the log is read from the first position to the second.
    CatchingUp(Position, Position),
}

/// What is done about events that were skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scan {
    /// Nothing.
    Idle,
    /// The log is being read from the first position to the second.
    Reading(Position, Position),
    /// What was read is on its way to the backlog.
    Appending,
}

impl Lane {
    pub(crate) fn new(key: LaneKey, tenant: TenantId, epoch: Epoch) -> Self {
        Self {
            backlog: Backlog::empty(BacklogKey::START, epoch),
            key,
            tenant,
            epoch,
            queue: VecDeque::new(),
            queue_bytes: 0,
            ready: VecDeque::new(),
            asked: VecDeque::new(),
            to_ask: VecDeque::new(),
            asking: 0,
            left: LeftAsked::Found,
            loading: 0,
            draining: false,
            active: BTreeSet::new(),
            order: Order::default(),
            skip: Skip::None,
            scan: Scan::Idle,
            ahead: BTreeSet::new(),
            stored: false,
            save_by: None,
            saved: None,
            last_success: None,
            last_failure: None,
            remembered: BreakerState::default(),
        }
    }

    /// Goes on where the lane's last owner was.
    pub(crate) fn resume(row: LaneRow, epoch: Epoch) -> Self {
        Self {
            backlog: Backlog::resume(row.cursor, epoch, row.waiting),
            draining: true,
            left: LeftAsked::After(row.cursor),
            skip: row.skip_from.map_or(Skip::None, Skip::Marked),
            stored: true,
            last_success: row.last_success,
            last_failure: row.last_failure,
            remembered: row.breaker,
            ..Self::new(row.key, row.tenant, epoch)
        }
    }

    /// The lane as the store is to hold it.
    pub(crate) fn row(&self, breaker: BreakerState) -> LaneRow {
        let oldest = self.backlog.oldest().or(self.backlog.next_due());
        LaneRow {
            key: self.key,
            tenant: self.tenant.clone(),
            epoch: self.epoch,
            cursor: self.backlog.cursor(),
            breaker,
            skip_from: match self.skip {
                Skip::None => None,
                Skip::Marking(from, _) | Skip::Marked(from) | Skip::CatchingUp(from, _) => {
                    Some(from)
                }
            },
            waiting: self.backlog.size() + self.order.waiting(),
            oldest_due: oldest.filter(|due| *due > Timestamp::ZERO),
            last_success: self.last_success,
            last_failure: self.last_failure,
        }
    }

    /// The lane, to be forgotten with its rows up to a key.
    pub(crate) fn forgotten(&self, upto: BacklogKey) -> Forgotten {
        Forgotten { lane: self.key, epoch: self.epoch, upto }
    }

    /// A backlog row is handed off. Returns whether the cursor moved.
    pub(crate) fn row_done(&mut self, key: BacklogKey) -> bool {
        self.ahead.remove(&key);
        self.backlog.done(key)
    }

    /// Whether a former owner's row may lie behind what is read here. What this owner wrote does not: a page ends before what is not acknowledged.
    pub(crate) fn may_have_missed(&self, origin: Origin) -> bool {
        match origin {
            Origin::Live(_) => true,
            Origin::Row(key) => !key.seq.is_of(self.epoch),
        }
    }

    /// When the first of what may go out now was due; `None` when nothing is.
    pub(crate) fn first_due(&self, now: Timestamp) -> Option<Timestamp> {
        let due_of = |item: &Item| match item.origin {
            Origin::Row(key) => key.due,
            Origin::Live(_) => item.queued_at,
        };
        let queued = [self.ready.front(), self.queue.front()].into_iter().flatten().map(due_of);
        queued.chain(self.backlog.first_due()).min().filter(|due| *due <= now)
    }

    /// Whether something is on its way from the store that may have been due before all else.
    pub(crate) fn is_looking(&self) -> bool {
        self.loading > 0 || self.backlog.is_reading()
    }

    /// Whether nothing can start before something comes to the lane, or a page or a look that is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        let in_memory = self.queue.len() + self.ready.len() + self.asked.len() + self.to_ask.len();
        in_memory == 0 && !self.backlog.has_waiting() && !matches!(self.left, LeftAsked::After(_))
    }

    /// Whether one more delivery fits into the memory queue.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let (following, following_bytes) = self.order.following();
        self.queue.len() + following < limits::LANE_QUEUE_MAX
            && self.queue_bytes + following_bytes + bytes <= limits::LANE_QUEUE_BYTES_MAX
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.queue_bytes += item.event.data.len();
        self.active.insert((item.at.at, item.run));
        self.queue.push_back(item);
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        self.queue_bytes = self.queue_bytes.saturating_sub(item.event.data.len());
        Some(item)
    }
}
