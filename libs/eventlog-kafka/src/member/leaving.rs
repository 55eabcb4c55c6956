//! Shards that the group wants for other members: the port's side finishes what is under way, then they are given back.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Epoch, Shard};
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::Member;

/// Longest wait for the port's side. Nearly all attempts end within it; what does not is sent again by the next owner, who waits meanwhile.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// What one request of the group waits for.
pub(super) struct Leaving {
    shards: Vec<Shard>,
    /// Those that the port's side is not done with.
    open: BTreeMap<Shard, Epoch>,
    until: Duration,
}

impl Leaving {
    /// The shard was taken meanwhile: there is nothing to give back.
    pub(super) fn forget(&mut self, shard: Shard) {
        self.shards.retain(|leaving| *leaving != shard);
        self.open.remove(&shard);
    }
}

impl Member {
    /// Tells the port's side which shards are leaving.
    pub(super) fn begin_leaving(&mut self, shards: Vec<Shard>) {
        let wait = LEAVE_MAX.min(self.settings.session_timeout / 2);
        let mut open = BTreeMap::new();
        for shard in &shards {
            let Some(owned) = self.shards.get_mut(shard) else { continue };
            owned.is_leaving = true;
            owned.is_told = owned.is_told && self.shared.leave(*shard);
            if owned.is_told {
                open.insert(*shard, owned.epoch);
            }
        }
        let until = self.clock.monotonic() + wait;
        self.leaving.push(Leaving { shards, open, until });
    }

    /// Gives back what the port's side is done with, or has had enough time for.
    pub(super) fn finish_leaving(&mut self) {
        let released = self.shared.take_released();
        let now = self.clock.monotonic();
        let mut ended = Vec::new();
        self.leaving.retain_mut(|leaving| {
            leaving.open.retain(|shard, epoch| !released.contains(&(*shard, *epoch)));
            let is_open = !leaving.open.is_empty() && now < leaving.until;
            if !is_open {
                ended.append(&mut leaving.shards);
            }
            is_open
        });
        self.give_back(ended);
    }

    /// Gives back all shards that are leaving, done with or not.
    pub(super) fn end_leaving(&mut self) {
        let leaving = std::mem::take(&mut self.leaving);
        self.give_back(leaving.into_iter().flat_map(|leaving| leaving.shards).collect());
    }

    fn give_back(&mut self, shards: Vec<Shard>) {
        if shards.is_empty() {
            return;
        }
        let mut partitions = TopicPartitionList::new();
        for place in shards.iter().filter_map(|shard| self.sources.place(*shard).ok()) {
            partitions.add_partition(&place.topic, place.partition);
        }
        self.consumer.context().give_back(&self.consumer, &shards, &partitions);
        shards.into_iter().for_each(|shard| self.lose(shard));
    }
}
