//! How far the group of the workers has come, who is in it, and what topics it has read that nobody names any more.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Timestamp;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{Finding, Severity};
use crate::claim::Claim;
use crate::client::{self, CALL_TIMEOUT, Context};
use crate::member::offset_of;
use crate::settings::{GroupProtocol, Settings, Source};
use crate::sources::PARTITIONS_MAX;

/// Records that wait longer than this wait for us: what waits for an endpoint is handed off after 45 s at most (`architecture.md` §5).
const OLD: Duration = Duration::from_secs(5 * 60);
/// Shards that one line names.
const NAMED_MAX: usize = 8;

type Client = BaseConsumer<Context>;

/// A partition that the group has committed an offset of.
struct Committed {
    topic: String,
    partition: i32,
    next: i64,
    /// What a worker wrote beside it.
    claim: Option<Claim>,
}

/// A partition with records that are not handed off.
struct Behind {
    shard: u16,
    partition: i32,
    /// The next one that is.
    next: i64,
    records: i64,
    /// Records that retention took before.
    lost: i64,
}

/// Asks as the group would, and joins nothing. Blocks.
pub(super) struct Look<'a> {
    settings: &'a Settings,
    group: &'a str,
    client: Client,
}

impl<'a> Look<'a> {
    pub(super) fn new(settings: &'a Settings, group: &'a str) -> KafkaResult<Self> {
        let mut config = client::reader(settings);
        config.set("group.id", group);
        let client = BaseConsumer::from_config_and_context(&config, Context::default())?;
        Ok(Self { settings, group, client })
    }

    pub(super) fn findings(&self, now: Timestamp) -> KafkaResult<Vec<Finding>> {
        let cluster = self.client.fetch_metadata(None, CALL_TIMEOUT)?;
        let committed = match self.committed(&cluster) {
            Ok(committed) => committed,
            Err(error) => return self.refused(error),
        };
        let mut findings = Vec::new();
        let mut waiting = 0;
        let mut shards = 0;
        for source in self.settings.sources() {
            let Some(partitions) = partitions(&cluster, &source.topic) else { continue };
            shards += partitions;
            let of_it = |one: &&Committed| one.topic == source.topic;
            let of_it: Vec<&Committed> = committed.iter().filter(of_it).collect();
            findings.extend(renumbered(&source, &of_it));
            let behind = self.behind(&source, partitions, &of_it)?;
            waiting += behind.iter().map(|one| one.records).sum::<i64>();
            findings.extend(lost(&source.topic, &behind));
            findings.push(self.lag(&source.topic, &behind, now)?);
        }
        findings.push(self.members(shards, waiting)?);
        findings.extend(self.left_behind(&committed)?);
        Ok(findings)
    }

    fn refused(&self, error: KafkaError) -> KafkaResult<Vec<Finding>> {
        if !self.may_not_see_the_group(&error) {
            return Err(error);
        }
        let group = self.group;
        let problem = format!(
            "its positions cannot be seen, and no worker may join it: grant the Kafka user READ on group {group}"
        );
        Ok(vec![finding(Severity::Fail, format!("group {group}"), problem)])
    }

    /// A group that may not be seen looks like a broker that does not answer: why not comes by the client's queue.
    fn may_not_see_the_group(&self, error: &KafkaError) -> bool {
        const LOOKS_MAX: usize = 10;
        const LOOK: Duration = Duration::from_millis(100);
        let is_refusal =
            |error: &KafkaError| error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed);
        let mut heard = (0..LOOKS_MAX).filter_map(|_| self.client.poll(LOOK)?.err());
        is_refusal(error) || heard.any(|error| is_refusal(&error))
    }

    /// What the group has committed of any topic that we may see.
    fn committed(&self, cluster: &Metadata) -> KafkaResult<Vec<Committed>> {
        let mut asked = TopicPartitionList::new();
        for topic in cluster.topics().iter().filter(|topic| !topic.name().starts_with("__")) {
            for partition in topic.partitions() {
                asked.add_partition(topic.name(), partition.id());
            }
        }
        let found = self.client.committed_offsets(asked, CALL_TIMEOUT)?;
        let one = |place: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            Some(Committed {
                topic: place.topic().to_owned(),
                partition: place.partition(),
                next: offset_of(place.offset())?,
                claim: Claim::parse(place.metadata()),
            })
        };
        Ok(found.elements().iter().filter_map(one).collect())
    }

    fn behind(
        &self,
        source: &Source,
        partitions: usize,
        committed: &[&Committed],
    ) -> KafkaResult<Vec<Behind>> {
        let mut behind = Vec::new();
        for partition in (0..).take(partitions) {
            let (low, end) =
                self.client.fetch_watermarks(&source.topic, partition, CALL_TIMEOUT)?;
            let known = committed.iter().find(|one| one.partition == partition);
            let next = known.map_or(low, |one| one.next);
            let (records, lost) = (end - next.max(low), low - next);
            if records > 0 || lost > 0 {
                let shard = u16::try_from(partition).unwrap_or(0);
                let shard = source.number.saturating_mul(PARTITIONS_MAX) + shard;
                behind.push(Behind { shard, partition, next: next.max(low), records, lost });
            }
        }
        behind.retain(|one| one.records > 0 || one.lost > 0);
        behind.sort_by_key(|one| std::cmp::Reverse(one.records));
        Ok(behind)
    }

    fn lag(&self, topic: &str, behind: &[Behind], now: Timestamp) -> KafkaResult<Finding> {
        let waiting: Vec<&Behind> = behind.iter().filter(|one| one.records > 0).collect();
        let records: i64 = waiting.iter().map(|one| one.records).sum();
        let each = waiting.iter().map(|one| (one.shard, one.records));
        let what =
            format!("topic {topic} lag of {}: {records} record(s){}", self.group, listed(each));
        let old = self.old(topic, &waiting, now)?;
        if old.is_empty() {
            return Ok(finding(Severity::Ok, what, String::new()));
        }
        let shards: Vec<String> = old.iter().take(NAMED_MAX).map(u16::to_string).collect();
        let problem = format!(
            "records of shard(s) {} wait for over {} minutes: the workers are too few, too slow or away, or the shards stand still (/readyz of the workers says so)",
            shards.join(", "),
            OLD.as_secs() / 60
        );
        Ok(finding(Severity::Warn, what, problem))
    }

    /// The shards whose next record is old.
    fn old(&self, topic: &str, waiting: &[&Behind], now: Timestamp) -> KafkaResult<Vec<u16>> {
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let before = now.as_millis() - i64::try_from(OLD.as_millis()).unwrap_or(0);
        let mut asked = TopicPartitionList::new();
        for one in waiting {
            asked.add_partition_offset(topic, one.partition, Offset::Offset(before.max(0)))?;
        }
        let found = self.client.offsets_for_times(asked, CALL_TIMEOUT)?;
        let is_old = |one: &&&Behind| {
            let first_young = found.find_partition(topic, one.partition);
            // None is young: all that waits is old.
            first_young
                .is_some_and(|place| offset_of(place.offset()).is_none_or(|at| at > one.next))
        };
        Ok(waiting.iter().filter(is_old).map(|one| one.shard).collect())
    }

    fn members(&self, shards: usize, waiting: i64) -> KafkaResult<Finding> {
        let group = self.group;
        if self.settings.group_protocol == GroupProtocol::Consumer {
            let what = format!(
                "group {group} members (kafka.group_protocol = \"consumer\": kafka-consumer-groups --describe --members shows them)"
            );
            return Ok(finding(Severity::Ok, what, String::new()));
        }
        let found = self.client.fetch_group_list(Some(group), CALL_TIMEOUT)?;
        let members: usize = found.groups().iter().map(|group| group.members().len()).sum();
        let what = format!("group {group} members: {members} worker(s) for {shards} shard(s)");
        let (severity, problem) = if members == 0 {
            let problem = format!(
                "nobody delivers, and {waiting} record(s) wait: start a process with the role delivery-worker"
            );
            (Severity::Warn, problem)
        } else if members > shards {
            let problem = format!(
                "{} of them have nothing to do: stop some, or add partitions",
                members - shards
            );
            (Severity::Warn, problem)
        } else {
            (Severity::Ok, String::new())
        };
        Ok(finding(severity, what, problem))
    }

    /// Topics that a worker of this group has read and that `kafka.topics` does not name any more.
    fn left_behind(&self, committed: &[Committed]) -> KafkaResult<Vec<Finding>> {
        let sources = self.settings.sources();
        let mut left: BTreeMap<(&str, u16), i64> = BTreeMap::new();
        for one in committed {
            let Some(shard) = one.claim.and_then(|claim| claim.shard) else { continue };
            if sources.iter().any(|source| source.topic == one.topic) {
                continue;
            }
            let (low, end) =
                self.client.fetch_watermarks(&one.topic, one.partition, CALL_TIMEOUT)?;
            let number = Settings::number_of(shard);
            *left.entry((&one.topic, number)).or_default() += (end - one.next.max(low)).max(0);
        }
        let told = left.into_iter().map(|((topic, number), records)| {
            let what = format!("topic {topic}, which was number {number} of kafka.topics: {records} record(s) wait");
            if records == 0 {
                return finding(Severity::Ok, what, String::new());
            }
            let problem = format!(
                "nobody reads them: name it again as \"{number} {topic} …\" until its lag has come to nothing"
            );
            finding(Severity::Fail, what, problem)
        });
        Ok(told.collect())
    }
}

/// A topic whose shards were called otherwise: what waits there is found by its old number alone.
fn renumbered(source: &Source, committed: &[&Committed]) -> Option<Finding> {
    let numbers = committed.iter().filter_map(|one| one.claim?.shard);
    let was = numbers.map(Settings::number_of).find(|was| *was != source.number)?;
    let (topic, is) = (&source.topic, source.number);
    let problem = format!(
        "is {is} in kafka.topics, and was {was} before, under which its deliveries lie: give it back number {was}"
    );
    Some(finding(Severity::Fail, format!("topic {topic} number"), problem))
}

/// What retention took before it was handed off.
fn lost(topic: &str, behind: &[Behind]) -> Option<Finding> {
    let lost: Vec<&Behind> = behind.iter().filter(|one| one.lost > 0).collect();
    let records: i64 = lost.iter().map(|one| one.lost).sum();
    let each = listed(lost.iter().map(|one| (one.shard, one.lost)));
    let problem = format!(
        "retention took {records} record(s) before they were handed off{each}: make retention.ms longer, or the workers faster; publish what is missing again"
    );
    (records > 0).then(|| finding(Severity::Fail, format!("topic {topic} retention"), problem))
}

/// `: shard 3: 12, shard 4: 1 and 2 more`
fn listed(each: impl ExactSizeIterator<Item = (u16, i64)>) -> String {
    let more = each.len().saturating_sub(NAMED_MAX);
    let named = each.take(NAMED_MAX).map(|(shard, records)| format!("shard {shard}: {records}"));
    let named: Vec<String> = named.collect();
    match (named.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(" ({})", named.join(", ")),
        (false, more) => format!(" ({} and {more} more)", named.join(", ")),
    }
}

fn partitions(cluster: &Metadata, topic: &str) -> Option<usize> {
    let found = cluster.topics().iter().find(|found| found.name() == topic)?;
    Some(found.partitions().len()).filter(|partitions| *partitions > 0)
}

fn finding(severity: Severity, what: String, problem: String) -> Finding {
    Finding { severity, what, problem }
}
