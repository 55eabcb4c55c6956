//! The topics that events come from, and how their partitions are numbered as shards.

use std::sync::Arc;

use domain::Shard;
use domain::record::Trust;
use ports::{Error, ErrorKind, Shards};

use crate::settings::{Settings, Source};

/// Most partitions of one topic: its shards are numbered from its own number times this.
pub(crate) const PARTITIONS_MAX: u16 = 1_024;

/// The topics that are read, the one that is appended to first.
#[derive(Debug)]
pub(crate) struct Sources(Vec<Counted>);

/// A topic, and how many partitions it has.
#[derive(Debug)]
struct Counted {
    number: u16,
    topic: Arc<str>,
    trust: Trust,
    partitions: u16,
}

/// Where a shard lies in the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) shard: Shard,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) trust: Trust,
}

impl Sources {
    /// The topics that the settings name, each with its partitions, in the order of [`Settings::sources`].
    pub(crate) fn new(settings: &Settings, partitions: impl IntoIterator<Item = u16>) -> Self {
        let counted = |(source, partitions): (Source, u16)| Counted {
            number: source.number,
            topic: source.topic.into(),
            trust: source.trust,
            partitions,
        };
        Self(settings.sources().into_iter().zip(partitions).map(counted).collect())
    }

    pub(crate) fn shards(&self) -> Shards {
        let (appended, others) =
            self.0.split_first().map_or((0, &[][..]), |(first, others)| (first.partitions, others));
        let numbered = |counted: &Counted| {
            let first = counted.number * PARTITIONS_MAX;
            (first..first + counted.partitions).map(Shard)
        };
        Shards::new(appended, others.iter().flat_map(numbered))
    }

    /// The names of the topics.
    pub(crate) fn topics(&self) -> Vec<&str> {
        self.0.iter().map(|counted| &*counted.topic).collect()
    }

    /// What a partition is called; `None` when its topic is none of these.
    pub(crate) fn shard(&self, topic: &str, partition: i32) -> Option<Shard> {
        let counted = self.0.iter().find(|counted| &*counted.topic == topic)?;
        let partition = u16::try_from(partition).ok().filter(|number| *number < PARTITIONS_MAX)?;
        Some(Shard(counted.number * PARTITIONS_MAX + partition))
    }

    /// Where a shard lies.
    ///
    /// # Errors
    /// When it is of no topic of these.
    pub(crate) fn place(&self, shard: Shard) -> ports::Result<Place> {
        let (number, partition) = (shard.0 / PARTITIONS_MAX, shard.0 % PARTITIONS_MAX);
        let counted = self.0.iter().find(|counted| counted.number == number);
        let counted = counted.ok_or_else(|| {
            let message = format!("shard {} is of topic number {number}, which kafka.topics does not name any more: name it again", shard.0);
            Error::new(ErrorKind::Unavailable, message)
        })?;
        Ok(Place {
            shard,
            topic: counted.topic.clone(),
            partition: i32::from(partition),
            trust: counted.trust.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::TenantId;

    use super::*;

    #[test]
    fn the_shards_of_a_topic_are_numbered_from_its_own_number_on() {
        let mut settings = Settings::new(Vec::new(), "p");
        let source = |text| Source::parse(text).expect("a topic");
        settings.topics = vec![source("30 bus trusted"), source("2 orders tenant=acme")];
        let sources = Sources::new(&settings, [3, 1, 2]);
        assert_eq!(sources.topics(), ["p.events", "bus", "orders"]);
        let shards = sources.shards();
        assert_eq!(shards.appended(), 3);
        let all: Vec<u16> = shards.all().map(|shard| shard.0).collect();
        assert_eq!(all, [0, 1, 2, 2_048, 2_049, 30_720]);
        for shard in shards.all() {
            let place = sources.place(shard).expect("one of ours");
            assert_eq!(sources.shard(&place.topic, place.partition), Some(shard));
        }
        let bound = sources.place(Shard(2_049)).expect("one of ours");
        let acme = Trust::Only(TenantId::parse("acme").expect("a tenant"));
        assert_eq!((&*bound.topic, bound.partition, bound.trust), ("orders", 1, acme));
        assert_eq!(sources.shard("p.hints", 0), None);
        assert_eq!(sources.shard("orders", 1_024), None, "it would be another topic's");
        let error = sources.place(Shard(1_024)).expect_err("no topic has number 1").to_string();
        assert!(error.contains("number 1") && error.contains("kafka.topics"), "{error}");
    }
}
