//! The thread of one member of a group: it owns librdkafka's consumer.

mod commits;
mod context;
mod leaving;
mod shard;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use domain::{Position, Shard};
use ports::{Ack, AckError, Clock, ConsumerItem, Error, ErrorKind, Lease, LogRecord};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::claim::Claim;
use crate::client::{self, CALL_TIMEOUT};
use crate::consumer::{AckAsked, Shared};
use crate::settings::Settings;
use crate::sources::{PARTITIONS_MAX, Place, Sources};
use commits::{Commit, Commits, Committed, Committer, Done};
use context::{Heard, MemberContext};
use leaving::Leaving;
use shard::{Fetched, Owned};

/// Longest sleep of the thread when nothing happens.
const NAP: Duration = Duration::from_millis(250);
/// How long after a failure something is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A member of a group.
pub(crate) struct Member {
    settings: Settings,
    sources: Arc<Sources>,
    group: String,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<MemberContext>>,
    committer: Committer,
    shards: BTreeMap<Shard, Owned>,
    leaving: Vec<Leaving>,
    commits: Commits,
    /// The shard that was fetched from last.
    turn: Shard,
    /// Assigned partitions whose beginning is not known yet are asked for again at this time.
    assign_again: Duration,
}

impl Member {
    /// Joins the group. The member lives in the thread that calls [`Member::run`].
    pub(crate) fn join(
        settings: Settings,
        sources: Arc<Sources>,
        group: String,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
    ) -> KafkaResult<Self> {
        let consumer = subscribe(&settings, &sources, &group, &shared)?;
        let committer = Committer::start(consumer.clone(), shared.clone())?;
        let commits = Commits::new(settings.session_timeout);
        Ok(Self {
            settings,
            sources,
            group,
            clock,
            shared,
            consumer,
            committer,
            shards: BTreeMap::new(),
            leaving: Vec::new(),
            commits,
            turn: Shard(0),
            assign_again: Duration::ZERO,
        })
    }

    /// Serves until the port's side is dropped, then leaves the group.
    pub(crate) fn run(mut self) {
        while !self.shared.is_stopped() {
            let mut busy = self.poll_group();
            busy |= self.hear();
            self.take_acks();
            self.finish_leaving();
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
                Some(Ok(message)) => (self.early(&message), None),
                Some(Err(error)) => (None, Some(error)),
            };
            if let Some(record) = record
                && let Some(owned) = self.shards.get_mut(&record.at.shard)
            {
                owned.early.push_back(record);
            }
            if let Some(error) = error {
                self.take_error(error);
            }
        }
        true
    }

    /// A record that came by the client's own queue.
    fn early(&self, message: &BorrowedMessage<'_>) -> Option<LogRecord> {
        let shard = self.sources.shard(message.topic(), message.partition())?;
        let owned = self.shards.get(&shard)?;
        Some(crate::record::from_message(message, &owned.place))
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
        let joined = subscribe(&self.settings, &self.sources, &self.group, &self.shared).and_then(
            |consumer| Ok((Committer::start(consumer.clone(), self.shared.clone())?, consumer)),
        );
        match joined {
            Ok((committer, consumer)) => (self.committer, self.consumer) = (committer, consumer),
            Err(error) => self.shared.fail(crate::error::not_read(error)),
        }
        self.commits = Commits::new(self.settings.session_timeout);
    }

    /// Everything that is ours is not any more, and the group has its answers: librdkafka does not close before.
    fn lose_all(&mut self) {
        self.consumer.context().close();
        let (leaving, assigned) = {
            let mut heard = self.consumer.context().heard();
            (std::mem::take(&mut heard.leaving), heard.assigned.take())
        };
        self.begin_leaving(leaving);
        self.end_leaving();
        if assigned.is_some()
            && let Err(error) = self.answer_assignment(&TopicPartitionList::new())
        {
            tracing::debug!(%error, "partitions that were assigned could not be declined");
        }
        let mut leases = self.consumer.context().leases();
        std::mem::take(&mut *leases).values().for_each(Lease::end);
        drop(leases);
        let shards: Vec<Shard> = self.shards.keys().copied().collect();
        shards.into_iter().for_each(|shard| self.lose(shard));
    }

    fn lose(&mut self, shard: Shard) {
        // It may be ours again before its leaving would have ended.
        self.leaving.iter_mut().for_each(|leaving| leaving.forget(shard));
        if let Some(owned) = self.shards.remove(&shard) {
            owned.lease.end();
            self.commits.forget(shard);
            if owned.is_told {
                self.shared.revoke(shard);
            }
        }
    }

    /// Takes what callbacks left. Whether there was anything.
    fn hear(&mut self) -> bool {
        let (leaving, revoked, done, assigned) = {
            let mut heard = self.consumer.context().heard();
            let may_assign = self.assign_again <= self.clock.monotonic();
            let assigned = if may_assign { heard.assigned.take() } else { None };
            let Heard { leaving, revoked, done, .. } = &mut *heard;
            let (leaving, revoked) = (std::mem::take(leaving), std::mem::take(revoked));
            (leaving, revoked, std::mem::take(done), assigned)
        };
        let heard =
            !leaving.is_empty() || !revoked.is_empty() || !done.is_empty() || assigned.is_some();
        if !leaving.is_empty() {
            self.begin_leaving(leaving);
        }
        for shard in revoked {
            self.lose(shard);
        }
        for done in done {
            self.take_done(&done);
        }
        if let Some(assigned) = assigned
            && let Err(error) = self.assign(&assigned)
        {
            tracing::debug!(%error, "cannot begin with the shards that were assigned; trying again");
            self.shared.fail(error);
            self.assign_again = self.clock.monotonic() + RETRY;
            let mut heard = self.consumer.context().heard();
            heard.assigned.get_or_insert_default().extend(assigned);
        }
        heard
    }

    /// Begins with shards: where the group stands, with a new epoch that is committed before anybody hears of them.
    fn assign(&mut self, shards: &[Shard]) -> ports::Result<()> {
        let not_read = crate::error::not_read;
        let mut beginning = TopicPartitionList::new();
        let mut begun = Vec::with_capacity(shards.len());
        for place in self.committed(shards)?.elements() {
            place.error().map_err(not_read)?;
            let Some(shard) = self.sources.shard(place.topic(), place.partition()) else {
                continue;
            };
            let claim = Claim::parse(place.metadata());
            check_number(shard, place.topic(), claim)?;
            let owned = self.begin(shard, offset_of(place.offset()), claim)?;
            beginning
                .add_partition_offset(place.topic(), place.partition(), Offset::Offset(owned.next))
                .map_err(not_read)?;
            begun.push(owned);
        }
        self.answer_assignment(&beginning).map_err(not_read)?;
        let mut leases = self.consumer.context().leases();
        for owned in begun {
            leases.insert(owned.place.shard, owned.lease.clone());
            self.shards.insert(owned.place.shard, owned);
        }
        Ok(())
    }

    /// Where the group stands.
    fn committed(&self, shards: &[Shard]) -> ports::Result<TopicPartitionList> {
        let mut asked = TopicPartitionList::new();
        if shards.is_empty() {
            return Ok(asked);
        }
        for shard in shards {
            let place = self.sources.place(*shard)?;
            asked.add_partition(&place.topic, place.partition);
        }
        self.consumer.committed_offsets(asked, CALL_TIMEOUT).map_err(crate::error::not_read)
    }

    /// A shard where the group stands at `stands`; nowhere yet, when it never committed.
    fn begin(
        &self,
        shard: Shard,
        stands: Option<i64>,
        claim: Option<Claim>,
    ) -> ports::Result<Owned> {
        let place = self.sources.place(shard)?;
        let (topic, partition) = (&*place.topic, place.partition);
        let found = self.consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT);
        let (low, head) = found.map_err(crate::error::not_read)?;
        let epoch = Claim::next_epoch(claim, self.clock.now());
        // A tool that reset the position left no claim: then what lies before it counts as acked.
        let acked = stands.filter(|stands| *stands > 0 && claim.is_none_or(|claim| claim.acked));
        let stands = stands.unwrap_or(low);
        if stands > head {
            tracing::error!(
                shard = shard.0,
                position = stands,
                end = head,
                topic,
                partition,
                "the topic ends before the group's position: it was made anew, or lost records; run `postrider doctor`",
            );
        }
        let Some(mut queue) = self.consumer.split_partition_queue(topic, partition) else {
            let message = format!("no queue for partition {partition} of topic {topic}");
            return Err(Error::new(ErrorKind::Unavailable, message));
        };
        let shared = self.shared.clone();
        queue.set_nonempty_callback(move || shared.wake());
        Ok(Owned::new(place, queue, epoch, stands, acked.is_some(), (low, head)))
    }

    fn answer_assignment(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(partitions),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(partitions),
        }
    }

    fn take_acks(&mut self) {
        for AckAsked { ack: Ack { shard, epoch, upto }, answer } in self.shared.take_acks() {
            // An answer that nobody waits for any more is no failure.
            match self.shards.get_mut(&shard) {
                Some(owned) if owned.epoch == epoch && owned.is_told => {
                    if upto.0 >= owned.end().unsigned_abs() {
                        let message =
                            format!("ack of {}/{}, which was never given out", shard.0, upto.0);
                        let _ = answer.send(Err(Error::new(ErrorKind::Bug, message).into()));
                        continue;
                    }
                    owned.ack(upto);
                    if owned.wants_commit() {
                        self.commits.wait(shard, owned.stands, answer);
                    } else {
                        let _ = answer.send(Ok(()));
                    }
                }
                _ => {
                    let _ = answer.send(Err(AckError::Fenced));
                }
            }
        }
    }

    /// Fetches a batch for the port's side. Whether there was one.
    fn fetch(&mut self) -> bool {
        if !self.shared.has_place() {
            return false;
        }
        let after = (Bound::Excluded(self.turn), Bound::Unbounded);
        let after = self.shards.range(after).map(|(shard, _)| *shard);
        let before = self.shards.range(..=self.turn).map(|(shard, _)| *shard);
        let order: Vec<Shard> = after.chain(before).collect();
        for shard in order {
            let Some(owned) = self.shards.get_mut(&shard) else { continue };
            if !owned.is_told || owned.is_leaving {
                continue;
            }
            match owned.fetch() {
                Fetched::Nothing => {}
                Fetched::Batch(records) => {
                    self.turn = shard;
                    self.shared.push(ConsumerItem::Records { shard, records });
                    return true;
                }
                Fetched::OutOfRange => self.pass_gap(shard),
                Fetched::Failed(error) => {
                    self.shared.fail(crate::error::not_read(error));
                }
            }
        }
        false
    }

    /// Retention has passed the position: says so, and goes on at what is left.
    fn pass_gap(&mut self, shard: Shard) {
        let Some(owned) = self.shards.get_mut(&shard) else { return };
        let (topic, partition) = (&*owned.place.topic, owned.place.partition);
        let found = self.consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT);
        let sought = found.and_then(|(low, _)| {
            let to = low.max(owned.next);
            self.consumer.seek(topic, partition, Offset::Offset(to), CALL_TIMEOUT)?;
            Ok(to)
        });
        match sought {
            Ok(to) if to > owned.next => {
                let gap = owned.gap(to);
                self.shared.push(gap);
            }
            Ok(end) => {
                let message = format!(
                    "shard {} of the event log ends before position {end}, which was read: run `postrider doctor`",
                    shard.0
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
                let Place { shard, topic, partition, .. } = &owned.place;
                let (shard, offset, epoch) = (*shard, owned.stands, owned.epoch);
                let claim = Claim { epoch, acked: owned.acked, shard: Some(shard) };
                let mut place = offsets.add_partition(topic, *partition);
                if let Err(error) = place.set_offset(Offset::Offset(offset)) {
                    tracing::error!(%error, "a position is no offset: a bug");
                    return;
                }
                place.set_metadata(claim.to_string());
                places.push(Committed { shard, offset, epoch });
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
            let Some(owned) = self.shards.get_mut(&place.shard) else { continue };
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
    sources: &Arc<Sources>,
    group: &str,
    shared: &Arc<Shared>,
) -> KafkaResult<Arc<BaseConsumer<MemberContext>>> {
    let context = MemberContext::new(sources.clone());
    let config = client::member(settings, group);
    let mut consumer = BaseConsumer::from_config_and_context(&config, context)?;
    let waker = shared.clone();
    consumer.set_nonempty_callback(move || waker.wake());
    let consumer = Arc::new(consumer);
    consumer.subscribe(&sources.topics())?;
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

/// Another number for a topic would give its deliveries to nobody, and those of another topic to it.
fn check_number(shard: Shard, topic: &str, claim: Option<Claim>) -> ports::Result<()> {
    match claim.and_then(|claim| claim.shard) {
        Some(was) if was != shard => {
            let (is, was) = (shard.0 / PARTITIONS_MAX, was.0 / PARTITIONS_MAX);
            let message = format!(
                "topic {topic} has number {is} in kafka.topics, and was number {was} before: give it back its number"
            );
            Err(Error::new(ErrorKind::Corrupt, message))
        }
        _ => Ok(()),
    }
}
