//! Deliveries of one lane whose order counts (DL-6).
//!
//! Of one ordering key at most one delivery is under way; the next one begins when the end of that is durable. What comes meanwhile follows it in memory. Once
//! that delivery needs a backlog row (it failed, or takes too long) it is the *head* of its key's *line*: what follows is held in the store, in the order of the
//! log, and becomes the head one after the other, each with a backlog row of its own. So all that a delivery can meet (retries, breaker, pause, expiry, cancel)
//! happens in the backlog, and a line does nothing but feed it.
//!
//! What cannot go out now whatever its key (the breaker is open, the endpoint paused, the memory full) is held in the lane's own line, without a look at keys:
//! a million of them cost no memory. As long as that line is open every arrival joins it, since it may come after one of its key there. It has its turn in
//! pages: the first of a key goes to the backlog as the head of a new line, later ones of that key are moved to it.

mod lines;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::{Epoch, EventRef, LaneKey, Line, LineRow, Position};

use crate::lane::Item;

#[derive(Debug, Default)]
pub(crate) struct Order {
    lines: BTreeMap<Line, LineState>,
    /// The line that each head holds up.
    heads: BTreeMap<Position, Line>,
    /// Keys with a delivery in memory that has no backlog row, in the lane's queue or on its way.
    live: BTreeMap<Line, Live>,
    live_at: BTreeMap<Position, Line>,
    following: usize,
    following_bytes: usize,
    /// Heads from the lane's own line that were not attempted yet.
    ahead: BTreeSet<Position>,
    /// Records that an owner before may have sent, and what was read after them: each waits until all before it have been looked up.
    looked: BTreeMap<Position, Option<Item>>,
    /// Lines whose next delivery may have its turn.
    to_promote: BTreeSet<Line>,
    /// Rows that are held, as far as known.
    waiting: u64,
    /// The lane's own line is to be saved: its rows have had their turn.
    is_changed: bool,
}

#[derive(Debug)]
struct Live {
    current: Position,
    following: VecDeque<Item>,
}

#[derive(Debug)]
struct LineState {
    /// What lies before has had its turn, durably.
    from: Position,
    /// Where to read on.
    next: Position,
    head: Option<EventRef>,
    after: Option<Position>,
    /// Rows that are held, as far as known: one that is held again counts twice.
    waiting: u64,
    /// The last row that this owner put in.
    last_held: Option<Position>,
    /// The last page was read to its bound: nothing before that waits.
    is_dry: bool,
    /// Rows that are not durable yet: nothing at or behind the first of them is read.
    pending: BTreeSet<Position>,
    /// Where the page that is being read begins, and where it ends.
    reading: Option<(Position, Bound)>,
    /// The first row that was put in since that page was asked for: the page may have been read before it.
    held_meanwhile: Option<Position>,
    /// How often `next` was moved back.
    generation: u32,
    /// This owner opened it: what others held in it has had its turn, or is read again and put in by this one.
    is_known: bool,
    /// In the lane's own line: the key whose delivery in memory has to end first.
    waits_for: Option<Line>,
}

/// Where a page of a line ends: before this position, or nowhere.
type Bound = Option<Position>;

/// Where a live delivery goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// To the queue, as the only one of its key.
    Go,
    /// Behind the one of its key that is in memory.
    Follow,
    /// Into this line.
    Hold(Line),
    /// It is the head of its line: its backlog row is durable.
    IsHead,
    /// Its line is past it, which only a change of the endpoint's ordering can do: it goes without order.
    Past,
}

/// What becomes of a row that the lane's own line gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// It becomes the head of its key.
    Head,
    /// Its key has a head: it moves to its line.
    Move,
    /// It has had its turn before, or was never in this order: a row of its own tells.
    Past,
    /// It is the head already.
    IsHead,
    /// Its key has a delivery in memory.
    Wait,
}

/// A page of a line to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    pub(crate) line: Line,
    pub(crate) from: Position,
    pub(crate) before: Option<Position>,
    pub(crate) limit: usize,
}

/// What a line does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Read(Page),
    /// Nothing is held any more.
    Close(Line),
    /// Not before something changes.
    Wait,
}

/// How far the lane's own line has had its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    generation: u32,
    upto: Position,
}

/// What keeps the lane's own line from having its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// Rows at or behind this position come after events that were skipped and are not caught up yet.
    pub(crate) before: Option<Position>,
    /// Where the reader of the shard is.
    pub(crate) read_to: Position,
    /// The shard has no place for more lines.
    pub(crate) is_full: bool,
}

impl Order {
    /// Takes over what a former owner left open. Returns the head, whose end it may not have seen.
    pub(crate) fn resume(&mut self, row: &LineRow) -> Option<EventRef> {
        let state = LineState {
            after: row.after,
            waiting: row.waiting,
            is_known: false,
            ..LineState::open(row.from, row.head.clone())
        };
        self.waiting += row.waiting;
        self.lines.insert(row.line, state);
        match &row.head {
            Some(head) => {
                self.heads.insert(head.at.position, row.line);
            }
            None => {
                self.to_promote.insert(row.line);
            }
        }
        row.head.clone()
    }

    /// Lines that are open.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn is_open(&self, line: Line) -> bool {
        self.lines.contains_key(&line)
    }

    /// Rows that are held, as far as known.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Rows in the lane's own line that may have their turn, as far as known.
    pub(crate) fn waiting_in_lane(&self) -> u64 {
        self.lines.get(&Line::LANE).filter(|line| !line.is_dry).map_or(0, |line| line.waiting)
    }

    /// Whether nothing is held, on its way or looked up.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.live.is_empty() && self.looked.is_empty()
    }

    /// Deliveries in memory that follow others, and their bytes.
    pub(crate) fn following(&self) -> (usize, usize) {
        (self.following, self.following_bytes)
    }

    /// Whether the end of this delivery lets another one of its key begin.
    pub(crate) fn counts(&self, position: Position) -> bool {
        self.live_at.contains_key(&position) || self.heads.contains_key(&position)
    }

    /// The line of a delivery in memory.
    pub(crate) fn live_line(&self, position: Position) -> Option<Line> {
        self.live_at.get(&position).copied()
    }

    /// A row of a line as the store is to hold it.
    pub(crate) fn row(&self, lane: LaneKey, epoch: Epoch, line: Line) -> LineRow {
        let state = self.lines.get(&line);
        LineRow {
            lane,
            line,
            epoch,
            is_open: state.is_some(),
            from: state.map(|state| state.from).unwrap_or_default(),
            head: state.and_then(|state| state.head.clone()),
            after: state.and_then(|state| state.after),
            waiting: state.map_or(0, |state| state.waiting),
        }
    }

    /// Whether the lane's own line has moved since it was saved. Asked once.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed) && self.is_open(Line::LANE)
    }

    // What comes.

    /// A record is looked up before it has its place: those behind it wait.
    pub(crate) fn look(&mut self, position: Position) {
        self.looked.entry(position).or_insert(None);
    }

    /// Whether something before this position is being looked up.
    pub(crate) fn waits_for_a_look(&self, position: Position) -> bool {
        self.looked.first_key_value().is_some_and(|(first, _)| *first < position)
    }

    /// A delivery waits until what lies before it has been looked up.
    pub(crate) fn wait(&mut self, item: Item) {
        self.looked.insert(item.at.at.position, Some(item));
    }

    /// A record was looked up and needs no place.
    pub(crate) fn needs_no_place(&mut self, position: Position) {
        self.looked.remove(&position);
    }

    /// The next delivery that has been looked up and whose turn it is to get a place.
    pub(crate) fn take_looked(&mut self) -> Option<Item> {
        let first = self.looked.first_entry()?;
        first.get().is_some().then(|| first.remove()).flatten()
    }

    /// Where a live delivery goes. `may_go`: the lane takes deliveries into its memory. `after_skipped`: events before it were skipped, and come into the lane's
    /// own line once they are caught up.
    pub(crate) fn place(
        &self,
        line: Line,
        position: Position,
        may_go: bool,
        after_skipped: bool,
    ) -> Place {
        match self.lines.get(&line) {
            Some(state) if position < state.from => match &state.head {
                Some(head) if head.at.position == position => Place::IsHead,
                Some(_) | None => Place::Past,
            },
            _ if after_skipped || self.is_open(Line::LANE) => Place::Hold(Line::LANE),
            Some(_) => Place::Hold(line),
            None if !may_go => Place::Hold(Line::LANE),
            None if self.live.contains_key(&line) => Place::Follow,
            None => Place::Go,
        }
    }

    /// A delivery goes to the queue.
    pub(crate) fn begin(&mut self, line: Line, current: Position) {
        self.live_at.insert(current, line);
        self.live.insert(line, Live { current, following: VecDeque::new() });
    }

    /// A delivery follows the one of its key.
    pub(crate) fn follow(&mut self, line: Line, item: Item) {
        if let Some(live) = self.live.get_mut(&line) {
            self.following += 1;
            self.following_bytes += item.event.data.len();
            live.following.push_back(item);
        }
    }

    /// The delivery in memory has ended. Returns the one that follows it, which goes to the queue.
    pub(crate) fn take_next(&mut self, ended: Position) -> Option<Item> {
        let line = self.live_at.remove(&ended)?;
        let live = self.live.get_mut(&line)?;
        let Some(item) = live.following.pop_front() else {
            self.live.remove(&line);
            self.wake_waiting(line);
            return None;
        };
        live.current = item.at.at.position;
        self.live_at.insert(live.current, line);
        self.forget_following(&item);
        Some(item)
    }

    fn forget_following(&mut self, item: &Item) {
        self.following = self.following.saturating_sub(1);
        self.following_bytes = self.following_bytes.saturating_sub(item.event.data.len());
    }

    /// A delivery of the queue leaves the memory.
    pub(crate) fn leave_queue(&mut self, position: Position) {
        if let Some(line) = self.live_at.remove(&position) {
            debug_assert!(self.live.get(&line).is_none_or(|live| live.following.is_empty()));
            self.live.remove(&line);
            self.wake_waiting(line);
        }
    }

    /// Takes all that follow others out of the memory.
    pub(crate) fn take_following(&mut self) -> Vec<Item> {
        let all = self.live.values_mut().flat_map(|live| live.following.drain(..));
        let all: Vec<Item> = all.collect();
        (self.following, self.following_bytes) = (0, 0);
        all
    }

    /// Takes an event out of what follows, or was looked up.
    pub(crate) fn take_of(&mut self, position: Position) -> Vec<Item> {
        let is_it = |item: &Item| item.at.at.position == position;
        let mut taken: Vec<Item> = Vec::new();
        for live in self.live.values_mut() {
            let index = live.following.iter().position(is_it);
            taken.extend(index.and_then(|index| live.following.remove(index)));
        }
        taken.iter().for_each(|item| self.forget_following(item));
        taken.extend(self.looked.remove(&position).flatten());
        taken
    }

    /// Records in memory that are not handed off, those in the queue and on their way apart.
    pub(crate) fn open_positions(&self) -> impl Iterator<Item = Position> {
        let following = self.live.values().flat_map(|live| &live.following);
        following.chain(self.looked.values().flatten()).map(|item| item.at.at.position)
    }

    fn last_live(&self) -> Option<Position> {
        let last = |live: &Live| live.following.back().map_or(live.current, |i| i.at.at.position);
        self.live.values().map(last).max()
    }
}

impl LineState {
    fn open(from: Position, head: Option<EventRef>) -> Self {
        Self {
            from,
            next: from,
            head,
            after: None,
            waiting: 0,
            last_held: None,
            is_dry: false,
            pending: BTreeSet::new(),
            reading: None,
            held_meanwhile: None,
            generation: 0,
            is_known: true,
            waits_for: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{
        ApiVersion, ContentType, Event, EventId, EventType, LastKnown, LogPosition, RunId, Shard,
        TenantId, Timestamp, Trigger,
    };

    use super::*;
    use crate::lane::Origin;

    fn item(position: u64) -> Item {
        let (tenant, position) = (TenantId::default_tenant(), Position(position));
        let id = EventId::parse("evt").expect("valid");
        let at = LogPosition { shard: Shard(0), position };
        let event = Event {
            tenant: tenant.clone(),
            id: id.clone(),
            event_type: EventType::parse("a.b").expect("valid"),
            created_at: Timestamp::ZERO,
            api_version: ApiVersion::parse("1").expect("valid"),
            content_type: ContentType::json(),
            data: "{}".into(),
            ordering_key: Some("a".into()),
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        };
        Item {
            at: EventRef { tenant, id, at },
            event: Arc::new(event),
            run: RunId::LOG,
            number: 1,
            trigger: Trigger::Event,
            first_due: Timestamp::ZERO,
            origin: Origin::Live(position),
            stored: false,
            attempts_before: 0,
            last: LastKnown::default(),
            queued_at: Timestamp::ZERO,
        }
    }

    #[test]
    fn what_follows_is_counted_until_it_leaves_and_what_is_looked_up_never() {
        let line = Line::of_key("a");
        let mut order = Order::default();
        order.begin(line, Position(1));
        order.follow(line, item(2));
        order.follow(line, item(3));
        order.look(Position(8));
        order.wait(item(9));
        assert_eq!(order.following(), (2, 4));
        assert_eq!(order.take_of(Position(9)).len(), 1);
        assert_eq!(order.following(), (2, 4), "it followed nothing");
        assert_eq!(order.take_of(Position(3)).len(), 1);
        assert_eq!(order.following(), (1, 2));
        assert_eq!(order.take_next(Position(1)).map(|next| next.at.at.position), Some(Position(2)));
        assert_eq!(order.following(), (0, 0));
    }
}
