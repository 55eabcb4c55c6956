//! How far a shard's acked position may move (DL-2).

use std::collections::{BTreeSet, VecDeque};

use domain::{EndpointUid, Epoch, Position, Timestamp};

/// The records of one shard between the acked position and the reader.
#[derive(Debug)]
pub(crate) struct Tracker {
    pub(crate) epoch: Epoch,
    /// Another worker waits for the shard: nothing of it begins any more.
    pub(crate) is_leaving: bool,
    /// Lines of its lanes that are open.
    pub(crate) lines: usize,
    records: VecDeque<Tracked>,
    bytes: usize,
    /// Where the reader is: one past the last record it gave.
    next: Position,
    acked: Option<Position>,
    /// Records below this position may have been read by an owner before.
    second_time_below: Position,
    /// How many more records can have been read before: the span is bounded, and what the store knows of the acked position lags behind it by as much at most.
    second_time_left: usize,
    /// Records and bytes that came since the span was last found crowded.
    since_crowded: (usize, usize),
    /// Deliveries of records that are not read yet and were cancelled already.
    cancelled: BTreeSet<(Position, EndpointUid)>,
}

/// Most deliveries that are remembered as cancelled before their record is read.
const CANCELLED_MAX: usize = 10_000;

#[derive(Debug)]
struct Tracked {
    position: Position,
    open: u32,
    bytes: usize,
    read_at: Timestamp,
}

impl Tracker {
    pub(crate) fn new(epoch: Epoch, acked: Option<Position>, head: Position, span: usize) -> Self {
        Self {
            epoch,
            is_leaving: false,
            lines: 0,
            records: VecDeque::new(),
            bytes: 0,
            next: acked.map_or(Position(0), Position::next),
            acked,
            second_time_below: head,
            second_time_left: span.saturating_mul(2),
            since_crowded: (0, 0),
            cancelled: BTreeSet::new(),
        }
    }

    /// Takes a record with so many deliveries that are not handed off. Returns whether an owner before may have sent them.
    pub(crate) fn push(
        &mut self,
        position: Position,
        open: u32,
        bytes: usize,
        now: Timestamp,
    ) -> bool {
        self.records.push_back(Tracked { position, open, bytes, read_at: now });
        self.bytes += bytes;
        self.since_crowded.0 += 1;
        self.since_crowded.1 += bytes;
        self.next = self.next.max(position.next());
        let again = position < self.second_time_below && self.second_time_left > 0;
        self.second_time_left = self.second_time_left.saturating_sub(1);
        again
    }

    /// One delivery of the record is handed off.
    pub(crate) fn done(&mut self, position: Position) {
        let found = self.records.binary_search_by_key(&position, |record| record.position);
        if let Some(record) = found.ok().and_then(|index| self.records.get_mut(index)) {
            record.open = record.open.saturating_sub(1);
        }
    }

    /// Moves the acked position over everything that is handed off. `Some` when it moved.
    pub(crate) fn advance(&mut self) -> Option<Position> {
        let mut moved = None;
        while let Some(record) = self.records.pop_front_if(|record| record.open == 0) {
            self.bytes -= record.bytes;
            moved = Some(record.position);
        }
        self.acked = moved.or(self.acked);
        moved
    }

    /// A delivery was cancelled. Kept for as long as its record is not read.
    pub(crate) fn cancel(&mut self, position: Position, endpoint: EndpointUid) {
        if position >= self.next && self.cancelled.len() < CANCELLED_MAX {
            self.cancelled.insert((position, endpoint));
        }
    }

    /// Whether a delivery was cancelled before its record was read.
    pub(crate) fn take_cancelled(&mut self, position: Position, endpoint: EndpointUid) -> bool {
        self.cancelled.remove(&(position, endpoint))
    }

    /// Whether three quarters of the span are used up; then everything up to the position that is given, its middle, is to be handed off.
    ///
    /// It is asked for at each record, and gives an answer again only after a sixteenth of the span: so the work is bounded.
    pub(crate) fn crowded(&mut self, records_max: usize, bytes_max: usize) -> Option<Position> {
        let is_long = |used: usize, max: usize| used >= max - max / 4;
        let (records, bytes) = self.since_crowded;
        let is_time = records >= records_max / 16 || bytes >= bytes_max / 16;
        if !is_time || !(is_long(self.len(), records_max) || is_long(self.bytes, bytes_max)) {
            return None;
        }
        self.since_crowded = (0, 0);
        self.records.get(self.len() / 2).map(|record| record.position)
    }

    /// Where the reader is: one past the last record.
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest record that is not handed off was read.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.records.front().map(|record| record.read_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tracker() -> Tracker {
        Tracker::new(Epoch(1), None, Position(0), 10)
    }

    #[test]
    fn the_acked_position_waits_for_the_oldest_open_record() {
        let mut tracker = tracker();
        for (position, open) in [(2, 1), (5, 0), (9, 2)] {
            tracker.push(Position(position), open, 1, Timestamp::ZERO);
        }
        assert_eq!(tracker.advance(), None);
        tracker.done(Position(9));
        assert_eq!(tracker.advance(), None);
        tracker.done(Position(2));
        assert_eq!(tracker.advance(), Some(Position(5)));
        tracker.done(Position(9));
        assert_eq!(tracker.advance(), Some(Position(9)));
        assert_eq!((tracker.len(), tracker.bytes()), (0, 0));
    }

    #[test]
    fn only_what_lies_below_the_head_was_perhaps_read_before() {
        let mut tracker = Tracker::new(Epoch(1), Some(Position(4)), Position(7), 2);
        assert!(tracker.push(Position(5), 0, 1, Timestamp::ZERO));
        assert!(tracker.push(Position(6), 0, 1, Timestamp::ZERO));
        assert!(!tracker.push(Position(7), 0, 1, Timestamp::ZERO));
        let mut long = Tracker::new(Epoch(1), Some(Position(4)), Position(100), 2);
        let again: Vec<bool> =
            (5..11).map(|p| long.push(Position(p), 0, 1, Timestamp::ZERO)).collect();
        assert_eq!(again, [true, true, true, true, false, false], "twice the span of 2");
    }

    proptest! {
        /// DL-2 against the obvious model: the largest position below which nothing is open.
        #[test]
        fn it_agrees_with_a_plain_model(opens in prop::collection::vec(0_u32..3, 1..30), order: Vec<prop::sample::Index>) {
            let mut tracker = tracker();
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (i, open) in opens.iter().enumerate() {
                tracker.push(Position(i as u64 * 3), *open, 1, Timestamp::ZERO);
                model.push((i as u64 * 3, *open));
            }
            let mut acked = tracker.advance();
            for index in order {
                let i = index.index(model.len());
                if model[i].1 > 0 {
                    model[i].1 -= 1;
                    tracker.done(Position(model[i].0));
                }
                acked = tracker.advance().or(acked);
                let expected = model.iter().take_while(|(_, open)| *open == 0).last();
                prop_assert_eq!(acked, expected.map(|(p, _)| Position(*p)));
            }
        }
    }
}
