//! One shard: what was read and what was acked of it. Pure: times are told.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{Position, Timestamp};
use ports::Bounds;

use super::ShardLag;

/// Marks closer than this are one.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// Marks of a shard; every second one goes when there are more, so that ages get coarser and never too small.
const MARKS_MAX: usize = 64;
/// The log may hold what is no record, such as the marks of its transactions: it is asked once nothing was read for so long.
const DOUBT_AFTER: Duration = Duration::from_secs(5);

/// A record that was read and not acked: those behind it, up to the next mark, are not older.
struct Mark {
    at: Position,
    time: Timestamp,
}

pub(super) struct Track {
    /// The first position that is not done.
    open: Position,
    /// Behind what was read.
    read: Position,
    /// Behind what the log is known to hold.
    next: Position,
    marks: VecDeque<Mark>,
    /// Since when the acked position has stood still while something is open; monotonic.
    still_since: Option<Duration>,
    /// Since when the log is known to hold more while everything that was read is done.
    ahead_since: Option<Timestamp>,
}

impl Track {
    pub(super) fn new(acked: Option<Position>) -> Self {
        let open = acked.map(Position::next).unwrap_or_default();
        Self {
            open,
            read: open,
            next: open,
            marks: VecDeque::new(),
            still_since: None,
            ahead_since: None,
        }
    }

    pub(super) fn read(&mut self, at: Position, time: Timestamp, now: Duration) {
        if at < self.open {
            return;
        }
        if self.marks.back().is_none_or(|last| time >= last.time + MARK_EVERY) {
            self.mark(at, time);
        }
        self.read = self.read.max(at.next());
        self.next = self.next.max(self.read);
        self.ahead_since = None;
        self.still_since.get_or_insert(now);
    }

    fn mark(&mut self, at: Position, time: Timestamp) {
        if self.marks.len() == MARKS_MAX {
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        self.marks.push_back(Mark { at, time });
    }

    pub(super) fn acked(&mut self, upto: Position, now: Duration) {
        self.done_before(upto.next(), now);
    }

    /// What the log holds.
    pub(super) fn looked(&mut self, bounds: Bounds, now: Timestamp, monotonic: Duration) {
        self.next = self.next.max(bounds.next);
        // Before the first record is read, and after a gap, nothing below is left to do.
        self.done_before(bounds.low, monotonic);
        if self.next > self.open {
            self.still_since.get_or_insert(monotonic);
            if self.read <= self.open {
                self.ahead_since.get_or_insert(now);
            }
        }
    }

    /// The range that may hold no record at all, once that is likely: the log is to be asked.
    pub(super) fn doubt(&self, now: Timestamp) -> Option<(Position, Position)> {
        let since = self.ahead_since?;
        (now.since(since) >= DOUBT_AFTER).then_some((self.open, self.next))
    }

    /// Nothing is left to do below a position.
    pub(super) fn done_before(&mut self, position: Position, now: Duration) {
        if position <= self.open {
            return;
        }
        self.open = position;
        self.next = self.next.max(position);
        while self.marks.get(1).is_some_and(|second| second.at <= position) {
            self.marks.pop_front();
        }
        if self.read <= position {
            self.marks.clear();
        }
        self.ahead_since = None;
        self.still_since = (self.next > position).then_some(now);
    }

    /// A position that has stood still for `stalled_after` is told as such.
    pub(super) fn lag(
        &self,
        now: Timestamp,
        monotonic: Duration,
        stalled_after: Duration,
    ) -> ShardLag {
        let oldest = self.marks.front().map(|mark| mark.time).or(self.ahead_since);
        let still = self.still_since.map(|since| monotonic.saturating_sub(since));
        ShardLag {
            records: self.next.0.saturating_sub(self.open.0),
            age: oldest.map(|time| now.since(time)).unwrap_or_default(),
            stalled: still.filter(|still| *still >= stalled_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn bounds(low: u64, next: u64) -> Bounds {
        Bounds { low: Position(low), next: Position(next) }
    }

    fn lag(track: &Track, after: u64) -> (u64, u64, bool) {
        let lag = track.lag(START + secs(after), secs(after), secs(120));
        (lag.records, lag.age.as_secs(), lag.stalled.is_some())
    }

    #[test]
    fn what_is_read_and_not_acked_is_behind_by_its_age_in_the_log() {
        let mut track = Track::new(Some(Position(9)));
        assert_eq!(lag(&track, 0), (0, 0, false));
        for (at, second) in [(10, 0), (11, 0), (20, 3)] {
            track.read(Position(at), START + secs(second), secs(second));
        }
        assert_eq!(lag(&track, 5), (11, 5, false), "positions are not dense");
        track.acked(Position(10), secs(5));
        assert_eq!(lag(&track, 5), (10, 5, false), "the mark still stands for 11");
        track.acked(Position(11), secs(6));
        assert_eq!(lag(&track, 6), (9, 6, false), "12 to 20 are not older than the mark before 20");
        track.acked(Position(20), secs(7));
        assert_eq!(lag(&track, 7), (0, 0, false));
        track.acked(Position(11), secs(8));
        assert_eq!(lag(&track, 8), (0, 0, false), "an ack never moves back");
    }

    #[test]
    fn what_the_log_holds_beyond_that_is_behind_since_it_was_seen() {
        let mut track = Track::new(None);
        track.looked(bounds(40, 50), START, secs(0));
        assert_eq!(lag(&track, 4), (10, 4, false), "below 40 there is nothing any more");
        assert_eq!(track.doubt(START + secs(4)), None);
        assert_eq!(track.doubt(START + secs(5)), Some((Position(40), Position(50))));
        track.read(Position(40), START - secs(60), secs(5));
        assert_eq!(lag(&track, 5), (10, 65, false), "now its age is known");
        assert_eq!(track.doubt(START + secs(60)), None);
    }

    #[test]
    fn what_is_no_record_is_not_waited_for() {
        let mut track = Track::new(Some(Position(9)));
        track.looked(bounds(0, 11), START, secs(0));
        track.done_before(Position(11), secs(5));
        track.looked(bounds(0, 11), START + secs(500), secs(500));
        assert_eq!(lag(&track, 500), (0, 0, false));
    }

    #[test]
    fn a_shard_stands_still_once_something_waits_and_no_ack_has_moved_for_two_minutes() {
        let mut track = Track::new(Some(Position(9)));
        track.looked(bounds(0, 10), START, secs(1_000));
        track.read(Position(10), START, secs(1_000));
        track.read(Position(11), START, secs(1_100));
        assert_eq!(track.lag(START, secs(1_119), secs(120)).stalled, None);
        assert_eq!(track.lag(START, secs(1_120), secs(120)).stalled, Some(secs(120)));
        track.acked(Position(10), secs(1_130));
        assert_eq!(track.lag(START, secs(1_249), secs(120)).stalled, None, "it moved");
        assert_eq!(
            track.lag(START, secs(1_250), secs(120)).stalled,
            Some(secs(120)),
            "and stopped again"
        );
        track.acked(Position(11), secs(1_260));
        assert_eq!(track.lag(START, secs(9_000), secs(120)).stalled, None, "nothing waits");
    }

    #[test]
    fn marks_are_bounded_and_get_coarser_never_younger() {
        let mut track = Track::new(None);
        for at in 0..10_000 {
            track.read(Position(at), START + secs(at), secs(at));
        }
        assert!(track.marks.len() <= MARKS_MAX);
        for upto in [0, 100, 5_000, 9_998] {
            track.acked(Position(upto), secs(10_000));
            let (_, age, _) = lag(&track, 10_000);
            assert!(age >= 10_000 - (upto + 1), "{age} s after {upto}");
        }
        track.acked(Position(9_999), secs(10_000));
        assert_eq!(lag(&track, 10_000), (0, 0, false));
    }
}
