//! Commits that are under way, and who waits for them.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::{Epoch, Shard};
use ports::{AckError, Error, ErrorKind};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::oneshot;

use super::RETRY;
use super::context::MemberContext;
use super::shard::Owned;
use crate::consumer::Shared;

/// A commit for the thread that waits for its answer: librdkafka tells nobody of commits that are not waited for.
pub(super) struct Commit {
    pub(super) offsets: TopicPartitionList,
    pub(super) places: Vec<Committed>,
}

/// One shard of a commit.
#[derive(Clone, Copy)]
pub(super) struct Committed {
    pub(super) shard: Shard,
    pub(super) offset: i64,
    pub(super) epoch: Epoch,
}

/// A commit that is answered.
pub(super) struct Done {
    pub(super) places: Vec<Committed>,
    pub(super) result: KafkaResult<()>,
}

/// The thread that commits. librdkafka answers within a session timeout.
pub(super) struct Committer {
    commits: Option<mpsc::SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(
        consumer: Arc<BaseConsumer<MemberContext>>,
        shared: Arc<Shared>,
    ) -> KafkaResult<Self> {
        let (commits, waiting) = mpsc::sync_channel::<Commit>(1);
        let work = move || {
            while let Ok(Commit { offsets, places }) = waiting.recv() {
                let result = consumer.commit(&offsets, CommitMode::Sync);
                consumer.context().heard().done.push(Done { places, result });
                shared.wake();
            }
        };
        let thread = std::thread::Builder::new().name("kafka-commits".to_owned()).spawn(work);
        let thread = thread.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { commits: Some(commits), thread: Some(thread) })
    }

    /// Hands a commit over. There is at most one at a time, and so always a place.
    pub(super) fn commit(&self, commit: Commit) -> bool {
        self.commits.as_ref().is_some_and(|commits| commits.try_send(commit).is_ok())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("committing positions panicked: a bug");
        }
    }
}

/// An ack that waits for its offset.
struct Waiting {
    offset: i64,
    answer: oneshot::Sender<Result<(), AckError>>,
}

/// At most one commit is under way.
pub(super) struct Commits {
    /// How often leases are renewed.
    every: Duration,
    /// When the one that is under way began.
    under_way: Option<Duration>,
    /// When the last one that was taken began.
    renewed: Option<Duration>,
    not_before: Duration,
    waiting: BTreeMap<Shard, Vec<Waiting>>,
}

impl Commits {
    pub(super) fn new(session_timeout: Duration) -> Self {
        Self {
            every: session_timeout / 5,
            under_way: None,
            renewed: None,
            not_before: Duration::ZERO,
            waiting: BTreeMap::new(),
        }
    }

    /// Whether a commit is wanted and may begin now.
    pub(super) fn may_begin<'a>(
        &self,
        now: Duration,
        mut shards: impl Iterator<Item = &'a Owned>,
    ) -> bool {
        if self.under_way.is_some() || now < self.not_before {
            return false;
        }
        let Some(first) = shards.next() else { return false };
        self.is_renewal(now) || first.wants_commit() || shards.any(Owned::wants_commit)
    }

    /// Whether it is time to renew the leases.
    pub(super) fn is_renewal(&self, now: Duration) -> bool {
        self.renewed.is_none_or(|at| now >= at + self.every)
    }

    /// How long until something is due.
    pub(super) fn due_in(&self, now: Duration) -> Duration {
        let due = self.renewed.map_or(Duration::ZERO, |at| at + self.every);
        due.max(self.not_before).saturating_sub(now).max(Duration::from_millis(10))
    }

    pub(super) fn began(&mut self, now: Duration) {
        self.under_way = Some(now);
    }

    /// Not again at once.
    pub(super) fn failed(&mut self, now: Duration) {
        self.not_before = now + RETRY;
    }

    /// When the commit that has ended began.
    pub(super) fn ended(&mut self) -> Option<Duration> {
        self.under_way.take()
    }

    pub(super) fn renewed(&mut self, began: Duration) {
        self.renewed = Some(began);
    }

    /// Answers an ack once the offset is committed.
    pub(super) fn wait(
        &mut self,
        shard: Shard,
        offset: i64,
        answer: oneshot::Sender<Result<(), AckError>>,
    ) {
        self.waiting.entry(shard).or_default().push(Waiting { offset, answer });
    }

    /// Answers the acks that a commit decides.
    pub(super) fn answer(&mut self, place: &Committed, is_taken: bool) {
        let Some(waiting) = self.waiting.remove(&place.shard) else { return };
        for one in waiting {
            if one.offset > place.offset {
                self.wait(place.shard, one.offset, one.answer);
                continue;
            }
            // An answer that nobody waits for any more is no failure.
            let _ = one.answer.send(if is_taken {
                Ok(())
            } else {
                Err(Error::new(ErrorKind::Unavailable, "the position was not saved").into())
            });
        }
    }

    /// The shard is another's: what waits for it is fenced.
    pub(super) fn forget(&mut self, shard: Shard) {
        for one in self.waiting.remove(&shard).unwrap_or_default() {
            // An answer that nobody waits for any more is no failure.
            let _ = one.answer.send(Err(AckError::Fenced));
        }
    }
}
