//! A shard that changes hands while its worker lives.

use std::time::Duration;

use domain::{Shard, Timestamp};

use super::{Pending, World};

impl World {
    /// Gives a shard up and takes it back once what was being written is durable; late answers to the old owner's reads are dropped.
    pub(crate) fn reassign(&mut self, shard: Shard) {
        self.engine.revoke(shard);
        self.take_effects();
        while let Some(key) = self.first_write() {
            let write = self.pending.remove(&key).expect("found");
            self.carry_out(write);
            self.take_effects();
        }
        self.note_risk(Some(shard));
        self.take_back(shard);
    }

    /// Another worker waits for a shard: it is given up once nothing of it is under way, or after this time, and taken back. Whether nothing was under way.
    pub(crate) fn hand_over(&mut self, shard: Shard, wait: Duration) -> bool {
        self.engine.leave(shard);
        self.drop_reads(shard);
        let sent = self.sent_of(shard);
        let end = self.now + wait;
        let mut has_left = self.engine.has_left(shard, self.now);
        while !has_left && self.now < end {
            self.run_for(Duration::from_millis(20));
            has_left = self.engine.has_left(shard, self.now);
        }
        assert_eq!(self.sent_of(shard), sent, "something of a shard that is left was sent");
        if has_left {
            let flying = self.in_flight.values().filter(|sent| sent.at.at.shard == shard).count();
            assert_eq!(flying, 0, "a shard was left with requests in flight");
            self.engine.revoke(shard);
            self.take_back(shard);
        } else {
            self.reassign(shard);
        }
        has_left
    }

    fn sent_of(&self, shard: Shard) -> usize {
        self.sent.iter().filter(|sent| sent.at.at.shard == shard).count()
    }

    fn take_back(&mut self, shard: Shard) {
        self.drop_reads(shard);
        self.taken_over = true;
        self.epoch += 1;
        self.assign(shard);
        self.bring(shard);
        self.settle();
    }

    fn drop_reads(&mut self, shard: Shard) {
        self.pending.retain(|_, pending| match pending {
            Pending::Page { lane, .. }
            | Pending::Scan { lane, .. }
            | Pending::Line { lane, .. }
            | Pending::LineRead(lane, ..) => lane.shard != shard,
            Pending::Outcome(..)
            | Pending::Written(_)
            | Pending::Loaded { .. }
            | Pending::Answered(..)
            | Pending::SetState { .. } => true,
        });
    }

    fn first_write(&self) -> Option<(Timestamp, u64)> {
        let mut pending = self.pending.iter();
        pending.find(|(_, pending)| matches!(pending, Pending::Written(_))).map(|(key, _)| *key)
    }
}
