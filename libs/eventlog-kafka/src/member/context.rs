//! What the group's callbacks leave for the thread of a member.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Shard;
use ports::Lease;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::commits::Done;
use crate::client::Context;
use crate::sources::Sources;

/// What callbacks leave for the thread.
#[derive(Default)]
pub(super) struct Heard {
    /// Partitions that the group gave us; librdkafka waits for our answer.
    pub(super) assigned: Option<Vec<Shard>>,
    /// Partitions that the group wants for other members; librdkafka waits for our answer.
    pub(super) leaving: Vec<Shard>,
    /// Partitions that the group took.
    pub(super) revoked: Vec<Shard>,
    /// Commits that are answered.
    pub(super) done: Vec<Done>,
}

/// The callbacks of a member's client.
pub(crate) struct MemberContext {
    client: Context,
    sources: Arc<Sources>,
    heard: Mutex<Heard>,
    /// The member leaves the group: nothing is to be finished any more.
    is_closing: AtomicBool,
    /// Of the partitions that are ours: ended by the revocation itself, whatever the thread does at that time.
    leases: Mutex<BTreeMap<Shard, Lease>>,
}

impl MemberContext {
    pub(super) fn new(sources: Arc<Sources>) -> Self {
        Self {
            client: Context::default(),
            sources,
            heard: Mutex::default(),
            is_closing: AtomicBool::new(false),
            leases: Mutex::default(),
        }
    }

    /// The member is about to leave the group: what the group takes from now on is given back at once.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    pub(super) fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What partitions are called. All are of topics that we asked for.
    fn shards(&self, partitions: &TopicPartitionList) -> Vec<Shard> {
        let elements = partitions.elements();
        let shards = elements.iter().map(|one| self.sources.shard(one.topic(), one.partition()));
        shards.flatten().collect()
    }

    /// Answers that partitions are ours no more.
    pub(super) fn give_back(
        &self,
        consumer: &BaseConsumer<Self>,
        shards: &[Shard],
        partitions: &TopicPartitionList,
    ) {
        {
            let mut leases = self.leases();
            let ended = shards.iter().filter_map(|shard| leases.remove(shard));
            ended.for_each(|lease| lease.end());
        }
        let answered = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "partitions that are gone could not be given back");
        }
    }

    pub(super) fn leases(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shard, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let shards = self.shards(partitions);
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Answered by the thread, once it knows where to begin.
            self.heard().assigned.get_or_insert_default().extend(shards);
            return;
        }
        if let Some(assigned) = &mut self.heard().assigned {
            assigned.retain(|shard| !shards.contains(shard));
        }
        // Those that are lost may be another member's by now; the others are ours until the answer.
        if consumer.assignment_lost() || self.is_closing.load(Ordering::Acquire) {
            self.give_back(consumer, &shards, partitions);
            self.heard().revoked.extend(shards);
        } else {
            self.heard().leaving.extend(shards);
        }
    }
}
