//! The thread of one member of a group: it owns librdkafka's consumer.

mod commits;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Position, Shard};
use ports::{AckError, Clock, ConsumerItem, Error, ErrorKind, Lease};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use crate::claim::Claim;
use crate::client::{self, CALL_TIMEOUT, Context};
use crate::consumer::Shared;
use crate::settings::Settings;
use commits::{Commit, Commits, Committer, Done, Place};
use shard::{Fetched, Owned};

/// Longest sleep of the thread when nothing happens.
const NAP: Duration = Duration::from_millis(250);
/// How long after a failure something is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// What callbacks leave for the thread.
#[derive(Default)]
struct Heard {
    /// Partitions that the group gave us; librdkafka waits for our answer.
    assigned: Option<Vec<i32>>,
    /// Partitions that the group took.
    revoked: Vec<i32>,
    /// Commits that are answered.
    done: Vec<Done>,
}

/// The callbacks of a member's client.
pub(crate) struct MemberContext {
    client: Context,
    heard: Mutex<Heard>,
    /// Of the partitions that are ours: ended by the revocation itself, whatever the thread does at that time.
    leases: Mutex<BTreeMap<i32, Lease>>,
}

impl MemberContext {
    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, Lease>> {
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
        let numbers = numbers(partitions);
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Answered by the thread, once it knows where to begin.
            self.heard().assigned.get_or_insert_default().extend(numbers);
            return;
        }
        {
            let mut leases = self.leases();
            let ended = numbers.iter().filter_map(|number| leases.remove(number));
            ended.for_each(|lease| lease.end());
        }
        let answered = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "partitions that are gone could not be given back");
        }
        let mut heard = self.heard();
        if let Some(assigned) = &mut heard.assigned {
            assigned.retain(|number| !numbers.contains(number));
        }
        heard.revoked.extend(numbers);
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions
        .elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}

/// A member of a group.
pub(crate) struct Member {
    settings: Settings,
    topic: String,
    group: String,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<MemberContext>>,
    committer: Committer,
    shards: BTreeMap<i32, Owned>,
    commits: Commits,
    /// The partition that is fetched from first.
    turn: i32,
    /// Assigned partitions whose beginning is not known yet are asked for again at this time.
    assign_again: Duration,
}

impl Member {
    /// Joins the group. The member lives in the thread that calls [`Member::run`].
    pub(crate) fn join(
        settings: Settings,
        topic: String,
        group: String,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
    ) -> KafkaResult<Self> {
        let consumer = subscribe(&settings, &topic, &group, &shared)?;
        let committer = Committer::start(consumer.clone(), shared.clone())?;
        let commits = Commits::new(settings.session_timeout);
        Ok(Self {
            settings,
            topic,
            group,
            clock,
            shared,
            consumer,
            committer,
            shards: BTreeMap::new(),
            commits,
            turn: 0,
            assign_again: Duration::ZERO,
        })
    }

    /// Serves until the port's side is dropped, then leaves the group.
    pub(crate) fn run(mut self) {
        while !self.shared.is_stopped() {
            let mut busy = self.poll_group();
            busy |= self.hear();
            self.take_acks();
            busy |= self.fetch();
            self.commit();
            if !busy {
                self.shared.sleep(NAP.min(self.commits.due_in(self.clock.monotonic())));
            }
        }
        self.lose_all();
        drop(self.committer);
        // Leaves the group: the others need not wait for our silence.
        drop(self.consumer);
    }

    /// Serves rebalances, answers to commits, and errors. Whether there were any.
    fn poll_group(&mut self) -> bool {
        /// In one go: so that a stream of errors does not keep the partitions waiting.
        const EVENTS_MAX: usize = 64;
        for served in 0..EVENTS_MAX {
            // Borrowed from the client; what it leads to must wait for its end.
            let (record, error) = match self.consumer.poll(Duration::ZERO) {
                None => return served > 0,
                // A batch that was fetched before its partition got a queue of its own.
                Some(Ok(message)) => (Some(crate::record::from_message(&message)), None),
                Some(Err(error)) => (None, Some(error)),
            };
            if let Some(record) = record
                && let Some(shard) = self.shards.get_mut(&i32::from(record.at.shard.0))
            {
                shard.early.push_back(record);
            }
            if let Some(error) = error {
                self.take_error(error);
            }
        }
        true
    }

    fn take_error(&mut self, error: KafkaError) {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            tracing::error!(%error, "the member of the consumer group was put out; it joins anew");
            self.rejoin();
        } else {
            // Connections come back by themselves; what is missing in between is told once a read or a commit needs it.
            tracing::debug!(%error, "Kafka's consumer met an error");
        }
        self.shared.fail(crate::error::not_read(error));
    }

    fn rejoin(&mut self) {
        self.lose_all();
        let joined = subscribe(&self.settings, &self.topic, &self.group, &self.shared).and_then(
            |consumer| Ok((Committer::start(consumer.clone(), self.shared.clone())?, consumer)),
        );
        match joined {
            Ok((committer, consumer)) => (self.committer, self.consumer) = (committer, consumer),
            Err(error) => self.shared.fail(crate::error::not_read(error)),
        }
        self.commits = Commits::new(self.settings.session_timeout);
    }

    /// Everything that is ours is not any more.
    fn lose_all(&mut self) {
        let mut leases = self.consumer.context().leases();
        std::mem::take(&mut *leases).values().for_each(Lease::end);
        drop(leases);
        let shards: Vec<i32> = self.shards.keys().copied().collect();
        shards.into_iter().for_each(|number| self.lose(number));
    }

    fn lose(&mut self, number: i32) {
        if let Some(owned) = self.shards.remove(&number) {
            owned.lease.end();
            self.commits.forget(number);
            if owned.is_told {
                self.shared.revoke(owned.shard);
            }
        }
    }

    /// Takes what callbacks left. Whether there was anything.
    fn hear(&mut self) -> bool {
        let (revoked, done, assigned) = {
            let mut heard = self.consumer.context().heard();
            let may_assign = self.assign_again <= self.clock.monotonic();
            let assigned = if may_assign { heard.assigned.take() } else { None };
            (std::mem::take(&mut heard.revoked), std::mem::take(&mut heard.done), assigned)
        };
        let heard = !revoked.is_empty() || !done.is_empty() || assigned.is_some();
        for number in revoked {
            self.lose(number);
        }
        for done in done {
            self.take_done(&done);
        }
        if let Some(assigned) = assigned
            && let Err(error) = self.assign(&assigned)
        {
            tracing::warn!(%error, "cannot begin with the shards that were assigned; trying again");
            self.assign_again = self.clock.monotonic() + RETRY;
            let mut heard = self.consumer.context().heard();
            heard.assigned.get_or_insert_default().extend(assigned);
        }
        heard
    }

    /// Begins with partitions: where the group stands, with a new epoch that is committed before anybody hears of them.
    fn assign(&mut self, numbers: &[i32]) -> KafkaResult<()> {
        if numbers.is_empty() {
            return self.answer_assignment(&TopicPartitionList::new());
        }
        let mut asked = TopicPartitionList::new();
        for number in numbers {
            asked.add_partition(&self.topic, *number);
        }
        let committed = self.consumer.committed_offsets(asked, CALL_TIMEOUT)?;
        let mut beginning = TopicPartitionList::new();
        let mut shards = Vec::with_capacity(numbers.len());
        for place in committed.elements() {
            place.error()?;
            let number = place.partition();
            let (low, head) = self.consumer.fetch_watermarks(&self.topic, number, CALL_TIMEOUT)?;
            let stands = offset_of(place.offset());
            let claim = Claim::parse(place.metadata());
            let epoch = Claim::next_epoch(claim, self.clock.now());
            // A tool that reset the position left no claim: then what lies before it counts as acked.
            let acked =
                stands.filter(|stands| *stands > 0 && claim.is_none_or(|claim| claim.acked));
            let stands = stands.unwrap_or(low);
            if stands > head {
                tracing::error!(
                    shard = number,
                    position = stands,
                    end = head,
                    topic = self.topic,
                    "the topic ends before the group's position: it was made anew, or lost records; run `postrider doctor`",
                );
            }
            let from = stands.max(low);
            beginning.add_partition_offset(&self.topic, number, Offset::Offset(from))?;
            let Some(queue) = self.consumer.split_partition_queue(&self.topic, number) else {
                return Err(KafkaError::Subscription(format!("no queue for partition {number}")));
            };
            let shared = self.shared.clone();
            let mut queue = queue;
            queue.set_nonempty_callback(move || shared.wake());
            let lease = Lease::until(Duration::ZERO);
            shards.push(Owned::new(
                number,
                queue,
                lease,
                epoch,
                stands,
                acked.is_some(),
                (low, head),
            ));
        }
        self.answer_assignment(&beginning)?;
        let mut leases = self.consumer.context().leases();
        for owned in shards {
            leases.insert(owned.number, owned.lease.clone());
            self.shards.insert(owned.number, owned);
        }
        Ok(())
    }

    fn answer_assignment(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(partitions),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(partitions),
        }
    }

    fn take_acks(&mut self) {
        for ack in self.shared.take_acks() {
            let number = i32::from(ack.shard.0);
            // An answer that nobody waits for any more is no failure.
            match self.shards.get_mut(&number) {
                Some(owned) if owned.epoch == ack.epoch && owned.is_told => {
                    if ack.upto.0 >= owned.end().unsigned_abs() {
                        let message =
                            format!("ack of {}/{}, which was never given out", number, ack.upto.0);
                        let _ = ack.answer.send(Err(Error::new(ErrorKind::Bug, message).into()));
                        continue;
                    }
                    owned.ack(ack.upto);
                    if owned.wants_commit() {
                        self.commits.wait(number, owned.stands, ack.answer);
                    } else {
                        let _ = ack.answer.send(Ok(()));
                    }
                }
                _ => {
                    let _ = ack.answer.send(Err(AckError::Fenced));
                }
            }
        }
    }

    /// Fetches a batch for the port's side. Whether there was one.
    fn fetch(&mut self) -> bool {
        if !self.shared.has_place() {
            return false;
        }
        let after = self.shards.range(self.turn + 1..).map(|(number, _)| *number);
        let before = self.shards.range(..=self.turn).map(|(number, _)| *number);
        let order: Vec<i32> = after.chain(before).collect();
        for number in order {
            let Some(owned) = self.shards.get_mut(&number) else { continue };
            if !owned.is_told {
                continue;
            }
            match owned.fetch() {
                Fetched::Nothing => {}
                Fetched::Batch(records) => {
                    self.turn = number;
                    self.shared.push(ConsumerItem::Records { shard: owned.shard, records });
                    return true;
                }
                Fetched::OutOfRange => self.pass_gap(number),
                Fetched::Failed(error) => {
                    self.shared.fail(crate::error::not_read(error));
                }
            }
        }
        false
    }

    /// Retention has passed the position: says so, and goes on at what is left.
    fn pass_gap(&mut self, number: i32) {
        let Some(owned) = self.shards.get_mut(&number) else { return };
        let found = self.consumer.fetch_watermarks(&self.topic, number, CALL_TIMEOUT);
        let sought = found.and_then(|(low, _)| {
            let to = low.max(owned.next);
            self.consumer.seek(&self.topic, number, Offset::Offset(to), CALL_TIMEOUT)?;
            Ok(to)
        });
        match sought {
            Ok(to) if to > owned.next => {
                let gap = owned.gap(to);
                self.shared.push(gap);
            }
            Ok(end) => {
                let message = format!(
                    "shard {number} of the event log ends before position {end}, which was read: run `postrider doctor`"
                );
                self.shared.fail(Error::new(ErrorKind::Corrupt, message));
            }
            Err(error) => self.shared.fail(crate::error::not_read(error)),
        }
    }

    /// Commits what has moved, what is claimed, and, when it is time, everything: that is what renews the leases.
    fn commit(&mut self) {
        let now = self.clock.monotonic();
        if !self.commits.may_begin(now, self.shards.values()) {
            return;
        }
        let all = self.commits.is_renewal(now);
        let mut offsets = TopicPartitionList::new();
        let mut places = Vec::new();
        for owned in self.shards.values() {
            if all || owned.wants_commit() {
                let claim = Claim { epoch: owned.epoch, acked: owned.acked };
                let mut place = offsets.add_partition(&self.topic, owned.number);
                if let Err(error) = place.set_offset(Offset::Offset(owned.stands)) {
                    tracing::error!(%error, "a position is no offset: a bug");
                    return;
                }
                place.set_metadata(claim.to_string());
                let (number, offset, epoch) = (owned.number, owned.stands, owned.epoch);
                places.push(Place { number, offset, epoch });
            }
        }
        if self.committer.commit(Commit { offsets, places }) {
            self.commits.began(now);
        }
    }

    fn take_done(&mut self, done: &Done) {
        let now = self.clock.monotonic();
        let Some(began) = self.commits.ended() else { return };
        if let Err(error) = &done.result {
            tracing::debug!(%error, "Kafka did not take a commit");
            self.commits.failed(now);
        }
        let is_taken = done.result.is_ok();
        if is_taken {
            // The brokers counted us as a member when they took it, which was not before it was sent. A tenth is left for clocks that run unevenly.
            let until = began + self.settings.session_timeout * 9 / 10;
            self.shards.values().for_each(|owned| owned.lease.renew(until));
            self.commits.renewed(began);
        }
        for place in &done.places {
            let Some(owned) = self.shards.get_mut(&place.number) else { continue };
            // Of the owner before, when the partition went and came back meanwhile.
            if owned.epoch != place.epoch {
                continue;
            }
            if is_taken {
                owned.committed = Some(place.offset);
                owned.tell().into_iter().for_each(|item| self.shared.push(item));
            }
            self.commits.answer(place, is_taken);
        }
    }
}

fn subscribe(
    settings: &Settings,
    topic: &str,
    group: &str,
    shared: &Arc<Shared>,
) -> KafkaResult<Arc<BaseConsumer<MemberContext>>> {
    let context = MemberContext {
        client: Context::default(),
        heard: Mutex::default(),
        leases: Mutex::default(),
    };
    let config = client::member(settings, group);
    let mut consumer = BaseConsumer::from_config_and_context(&config, context)?;
    let waker = shared.clone();
    consumer.set_nonempty_callback(move || waker.wake());
    let consumer = Arc::new(consumer);
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// A real offset; `None` for what stands for something else, such as "never committed".
pub(crate) fn offset_of(offset: Offset) -> Option<i64> {
    if let Offset::Offset(offset) = offset { Some(offset) } else { None }
}

/// A place in the log as the port says it.
fn position(offset: i64) -> Position {
    Position(offset.unsigned_abs())
}

/// A partition as the port says it.
fn shard_of(number: i32) -> Shard {
    Shard(u16::try_from(number).unwrap_or(u16::MAX))
}
