//! Lines: when they are opened, what is held in them, and what of it has its turn.

use std::collections::BTreeSet;

use domain::{EventRef, HeldRow, Line, Position, limits};

use super::{Gate, LineState, Mark, Next, Order, Page, Turn};
use crate::lane::Item;

impl Order {
    /// Opens the lane's own line. Returns whether it was closed.
    pub(crate) fn open_lane_line(&mut self, first: Position) -> bool {
        if self.is_open(Line::LANE) {
            return false;
        }
        let after = self.last_live();
        self.lines.insert(Line::LANE, LineState { after, ..LineState::open(first, None) });
        self.to_promote.insert(Line::LANE);
        true
    }

    /// A delivery has, or is about to have, a backlog row: it is the head of its key's line. Returns whether that was closed, and what followed in memory.
    pub(crate) fn block(&mut self, line: Line, head: &EventRef) -> (bool, Vec<Item>) {
        let position = head.at.position;
        self.live_at.remove(&position);
        let live = self.live.remove(&line);
        let followed: Vec<Item> = live.into_iter().flat_map(|live| live.following).collect();
        followed.iter().for_each(|item| self.forget_following(item));
        self.wake_waiting(line);
        if self.is_open(line) {
            return (false, followed);
        }
        self.lines.insert(line, LineState::open(position.next(), Some(head.clone())));
        self.heads.insert(position, line);
        (true, followed)
    }

    /// A row is on its way into a line. Returns whether the line's row has to be saved before it.
    pub(crate) fn hold(&mut self, line: Line, position: Position) -> bool {
        let Some(state) = self.lines.get_mut(&line) else {
            return false;
        };
        if position < state.next {
            // Read again from there.
            state.next = position;
            state.generation += 1;
        }
        let is_before = position < state.from;
        state.from = state.from.min(position);
        state.waiting += 1;
        self.waiting += 1;
        state.last_held = state.last_held.max(Some(position));
        state.is_dry = false;
        state.pending.insert(position);
        if state.reading.is_some() {
            let first = state.held_meanwhile.map_or(position, |first| first.min(position));
            state.held_meanwhile = Some(first);
        }
        is_before
    }

    /// A row of a line is durable.
    pub(crate) fn held(&mut self, line: Line, position: Position) {
        if let Some(state) = self.lines.get_mut(&line) {
            state.pending.remove(&position);
        }
    }

    /// A head has ended: the next of its line may have its turn.
    pub(crate) fn head_over(&mut self, position: Position) -> bool {
        self.attempted(position);
        let Some(line) = self.heads.remove(&position) else {
            return false;
        };
        if let Some(state) = self.lines.get_mut(&line) {
            state.head = None;
            self.to_promote.insert(line);
        }
        true
    }

    /// A head was attempted: another key of the lane's own line may have its turn.
    pub(crate) fn attempted(&mut self, position: Position) {
        if self.ahead.remove(&position) {
            self.to_promote.insert(Line::LANE);
        }
    }

    pub(super) fn wake_waiting(&mut self, line: Line) {
        if let Some(state) = self.lines.get_mut(&Line::LANE)
            && state.waits_for == Some(line)
        {
            state.waits_for = None;
            self.to_promote.insert(Line::LANE);
        }
    }

    pub(crate) fn has_to_promote(&self) -> bool {
        !self.to_promote.is_empty()
    }

    /// Lines to ask for what they do next; each stays among them as long as it is to wait.
    pub(crate) fn take_to_promote(&mut self) -> BTreeSet<Line> {
        std::mem::take(&mut self.to_promote)
    }

    pub(crate) fn ask_again(&mut self, line: Line) {
        self.to_promote.insert(line);
    }

    /// What a line without a head does next. A page counts as being read.
    pub(crate) fn next(&mut self, line: Line, gate: Gate) -> Option<Next> {
        let ahead = self.ahead.len();
        let looks = self.looked.first_key_value().map(|(first, _)| *first);
        let state = self.lines.get_mut(&line)?;
        if state.head.is_some() || state.reading.is_some() {
            return None;
        }
        if state.is_known && state.last_held.is_none_or(|last| last < state.next) {
            return Some(Next::Close(line));
        }
        let is_lane = line == Line::LANE;
        let is_early =
            |after: Position| gate.read_to <= after || looks.is_some_and(|looked| looked <= after);
        let must_wait = is_lane
            && (ahead > limits::LINE_AHEAD_MAX / 2
                || gate.is_full
                || state.waits_for.is_some()
                || state.after.is_some_and(is_early));
        let gate_before = gate.before.filter(|_| is_lane);
        let before = state.pending.first().copied().into_iter().chain(gate_before).min();
        if must_wait || before.is_some_and(|before| before <= state.next) {
            return Some(Next::Wait);
        }
        state.reading = Some((state.next, before));
        let limit = if is_lane { limits::LINE_AHEAD_MAX } else { 1 };
        Some(Next::Read(Page { line, from: state.next, before, limit }))
    }

    /// A page has come. Returns the rows of it that are certain to be the next ones, and whether the line ends with them; `None` when nobody waits for it, or
    /// something came before it meanwhile.
    pub(crate) fn take_page<'r>(
        &mut self,
        line: Line,
        rows: &'r [HeldRow],
    ) -> Option<(&'r [HeldRow], bool)> {
        let state = self.lines.get_mut(&line)?;
        let (from, before) = state.reading.take()?;
        let meanwhile = state.held_meanwhile.take();
        self.to_promote.insert(line);
        if from != state.next {
            return None;
        }
        // What was put in since then may be missing, and comes before all that lies behind it.
        let is_sure = |row: &HeldRow| meanwhile.is_none_or(|held| row.event.at.position < held);
        let sure = rows.partition_point(is_sure);
        state.is_dry = rows.is_empty() && meanwhile.is_none();
        let is_end = before.is_none() && meanwhile.is_none() && state.pending.is_empty();
        Some((rows.get(..sure).unwrap_or_default(), is_end))
    }

    /// Nothing is held in a line any more.
    pub(crate) fn close(&mut self, line: Line) {
        if let Some(state) = self.lines.remove(&line) {
            self.waiting = self.waiting.saturating_sub(state.waiting);
        }
        self.to_promote.remove(&line);
    }

    /// The first of a key's line becomes its head.
    pub(crate) fn promote(&mut self, line: Line, row: &HeldRow) {
        let position = row.event.at.position;
        self.passed(line, position);
        if let Some(state) = self.lines.get_mut(&line) {
            state.from = position.next();
            state.head = Some(row.event.clone());
            self.heads.insert(position, line);
        }
    }

    /// What becomes of a row of the lane's own line.
    pub(crate) fn turn(&mut self, row: &HeldRow) -> Turn {
        let position = row.event.at.position;
        if let Some(state) = self.lines.get(&row.key) {
            return match &state.head {
                Some(head) if head.at.position == position => Turn::IsHead,
                _ if position < state.from => Turn::Past,
                Some(_) | None => Turn::Move,
            };
        }
        if !self.live.contains_key(&row.key) {
            return Turn::Head;
        }
        if let Some(state) = self.lines.get_mut(&Line::LANE) {
            state.waits_for = Some(row.key);
        }
        Turn::Wait
    }

    /// Whether one more of the lane's own line may have its turn.
    pub(crate) fn has_room_ahead(&self) -> bool {
        self.ahead.len() < limits::LINE_AHEAD_MAX
    }

    /// A row of the lane's own line becomes a head.
    pub(crate) fn goes_ahead(&mut self, position: Position) {
        self.ahead.insert(position);
    }

    /// A row of a line has had its turn, once what that led to is durable.
    pub(crate) fn passed(&mut self, line: Line, position: Position) {
        if let Some(state) = self.lines.get_mut(&line) {
            state.next = position.next();
            let one = state.waiting.min(1);
            state.waiting -= one;
            self.waiting = self.waiting.saturating_sub(one);
        }
    }

    /// How far the lane's own line has had its turn; to be handed back once what that led to is durable.
    pub(crate) fn lane_line_mark(&self) -> Option<Mark> {
        let state = self.lines.get(&Line::LANE)?;
        Some(Mark { generation: state.generation, upto: state.next })
    }

    /// What the lane's own line led to up to a mark is durable.
    pub(crate) fn lane_line_done(&mut self, mark: Mark) {
        if let Some(state) = self.lines.get_mut(&Line::LANE)
            && mark.generation == state.generation
        {
            state.from = state.from.max(mark.upto);
            self.is_changed = true;
        }
    }
}
