//! One shard that is a member's.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{Epoch, Position};
use ports::{ConsumerItem, Lease, LogRecord};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::context::MemberContext;
use super::position;
use crate::sources::Place;

/// Most records and bytes of a batch (`ConsumerItem::Records`).
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;

/// A partition that the group has given us.
pub(super) struct Owned {
    pub(super) place: Place,
    pub(super) epoch: Epoch,
    pub(super) lease: Lease,
    queue: PartitionQueue<MemberContext>,
    /// Where the group stands: the first offset that is not acked.
    pub(super) stands: i64,
    /// Whether that comes from an ack.
    pub(super) acked: bool,
    /// What the brokers have of it.
    pub(super) committed: Option<i64>,
    /// The next offset to fetch; records before it are repeats.
    pub(super) next: i64,
    /// Whether `Assigned` was said.
    pub(super) is_told: bool,
    /// Whether another member waits for it: no more records of it are given.
    pub(super) is_leaving: bool,
    /// Records that came before the partition had a queue of its own.
    pub(super) early: VecDeque<LogRecord>,
    /// The first record that did not fit the batch before.
    left: Option<LogRecord>,
    low: i64,
    head: i64,
}

/// What one look at a partition's queue gave.
pub(super) enum Fetched {
    Nothing,
    Batch(Vec<LogRecord>),
    /// The position is not in the log any more.
    OutOfRange,
    Failed(KafkaError),
}

impl Owned {
    /// A shard with a new epoch, without a lease yet, where the group stands at `stands`, and whose log goes from `low` to before `head`.
    pub(super) fn new(
        place: Place,
        queue: PartitionQueue<MemberContext>,
        epoch: Epoch,
        stands: i64,
        acked: bool,
        (low, head): (i64, i64),
    ) -> Self {
        Self {
            place,
            epoch,
            lease: Lease::until(Duration::ZERO),
            queue,
            stands,
            acked,
            committed: None,
            next: stands.max(low),
            is_told: false,
            is_leaving: false,
            early: VecDeque::new(),
            left: None,
            low,
            head,
        }
    }

    /// Moves where the group stands, never back.
    pub(super) fn ack(&mut self, upto: Position) {
        let after = i64::try_from(upto.0).unwrap_or(i64::MAX).saturating_add(1);
        if after > self.stands {
            self.stands = after;
            self.acked = true;
        }
    }

    /// Acks are below this: what was given, or lay in the log at the assignment.
    pub(super) fn end(&self) -> i64 {
        self.next.max(self.head)
    }

    /// Whether the brokers do not have what they should.
    pub(super) fn wants_commit(&self) -> bool {
        self.committed != Some(self.stands)
    }

    /// What is to be said once the claim is committed; nothing when it was said, or another member waits for it already.
    pub(super) fn tell(&mut self) -> Vec<ConsumerItem> {
        if self.is_leaving || std::mem::replace(&mut self.is_told, true) {
            return Vec::new();
        }
        let mut items = vec![ConsumerItem::Assigned {
            shard: self.place.shard,
            epoch: self.epoch,
            acked: self.acked.then(|| position(self.stands - 1)),
            head: position(self.head),
            lease: self.lease.clone(),
        }];
        if self.stands < self.low {
            let (from, to) = (position(self.stands), position(self.low));
            items.push(ConsumerItem::Gap { shard: self.place.shard, from, to });
        }
        items
    }

    /// Goes on at `to`: what lies between is gone.
    pub(super) fn gap(&mut self, to: i64) -> ConsumerItem {
        let from = std::mem::replace(&mut self.next, to);
        ConsumerItem::Gap { shard: self.place.shard, from: position(from), to: position(to) }
    }

    /// Takes what has been fetched, at most a batch.
    pub(super) fn fetch(&mut self) -> Fetched {
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < BATCH_RECORDS {
            let record = match self.left.take().or_else(|| self.early.pop_front()) {
                Some(record) => record,
                None => match self.queue.poll(Duration::ZERO) {
                    None => break,
                    Some(Ok(message)) => crate::record::from_message(&message, &self.place),
                    Some(Err(error)) if !records.is_empty() => {
                        // Said again by librdkafka when it is met the next time.
                        tracing::debug!(%error, "Kafka's consumer met an error behind records");
                        break;
                    }
                    Some(Err(error)) => return failed(error),
                },
            };
            let offset = i64::try_from(record.at.position.0).unwrap_or(i64::MAX);
            if offset < self.next {
                continue;
            }
            let size = record.record.size();
            if bytes + size > BATCH_BYTES && !records.is_empty() {
                self.left = Some(record);
                break;
            }
            bytes += size;
            self.next = offset + 1;
            records.push(record);
        }
        if records.is_empty() {
            return Fetched::Nothing;
        }
        Fetched::Batch(records)
    }
}

fn failed(error: KafkaError) -> Fetched {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
            Fetched::OutOfRange
        }
        _ => Fetched::Failed(error),
    }
}
