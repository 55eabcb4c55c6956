//! One member of a group.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Position, Shard};
use ports::{Ack, AckError, Consumer, ConsumerItem};
use tokio::sync::watch;

use super::state::LogState;
use super::{Inner, read};
use crate::error::closed;
use crate::writer::Cost;

/// A member of a group: reads pages of its shards in turn, and sleeps on the log's watch when it has met the head of all.
pub(super) struct LogConsumer {
    log: Arc<Inner>,
    group: Arc<str>,
    member: u64,
    /// The shards that it owns.
    owned: Option<Owned>,
    /// Said before anything else is read.
    queue: VecDeque<ConsumerItem>,
    commits: watch::Receiver<u64>,
    members: watch::Receiver<()>,
}

struct Owned {
    shards: Vec<Cursor>,
    /// The shard whose turn it is.
    turn: usize,
}

#[derive(Clone, Copy)]
struct Cursor {
    shard: Shard,
    next: u64,
}

/// What one look at a shard gave.
enum Look {
    Item(ConsumerItem, u64),
    /// Nothing up to this position.
    Nothing(u64),
}

impl LogConsumer {
    pub(super) async fn join(log: &Arc<Inner>, group: &str) -> ports::Result<Self> {
        let group: Arc<str> = group.into();
        let (member, members) = log.groups.join(&group);
        let mut consumer = Self {
            log: Arc::clone(log),
            commits: log.commits.raised.subscribe(),
            group,
            member,
            owned: None,
            queue: VecDeque::new(),
            members,
        };
        // Fences the owner before, so that its next ack is refused as soon as this call has returned.
        consumer.claim().await?;
        Ok(consumer)
    }

    async fn claim(&mut self) -> ports::Result<()> {
        let group = Arc::clone(&self.group);
        let claim = self.log.write(Cost::ONE, move |state| state.claim(&group)).await?;
        let (epoch, standings) = claim;
        let lease = self.log.groups.new_lease(&self.group);
        self.queue.clear();
        let mut shards = Vec::with_capacity(standings.len());
        for standing in standings {
            shards.push(Cursor { shard: standing.shard, next: standing.start });
            self.queue.push_back(ConsumerItem::Assigned {
                shard: standing.shard,
                epoch,
                acked: standing.acked,
                head: standing.head,
                lease: lease.clone(),
            });
        }
        self.owned = Some(Owned { shards, turn: 0 });
        Ok(())
    }

    fn revoke(&mut self) {
        let owned = self.owned.take();
        // What was assigned and not heard of yet needs no taking back.
        let unheard: Vec<Shard> = self
            .queue
            .drain(..)
            .filter_map(|item| match item {
                ConsumerItem::Assigned { shard, .. } => Some(shard),
                ConsumerItem::Records { .. }
                | ConsumerItem::Leaving { .. }
                | ConsumerItem::Revoked { .. }
                | ConsumerItem::Gap { .. } => None,
            })
            .collect();
        let shards = owned.map(|owned| owned.shards).unwrap_or_default();
        self.queue = shards
            .into_iter()
            .filter(|cursor| !unheard.contains(&cursor.shard))
            .map(|cursor| ConsumerItem::Revoked { shard: cursor.shard })
            .collect();
    }

    /// The next page or gap of the shards, in turn; `None` when all are read to their heads.
    async fn read_on(&mut self) -> ports::Result<Option<ConsumerItem>> {
        let Some(owned) = &mut self.owned else {
            return Ok(None);
        };
        for _ in 0..owned.shards.len() {
            owned.turn = (owned.turn + 1) % owned.shards.len();
            let Some(cursor) = owned.shards.get_mut(owned.turn) else {
                continue;
            };
            let head = self.log.commits.next(cursor.shard.0.into());
            if cursor.next >= head {
                continue;
            }
            let Cursor { shard, next } = *cursor;
            let look = self
                .log
                .readers
                .read(move |conn| Ok(look(read::page(conn, shard, next)?, shard, next, head)));
            match look.await? {
                Look::Item(item, next) => {
                    cursor.next = next;
                    return Ok(Some(item));
                }
                Look::Nothing(next) => cursor.next = next,
            }
        }
        Ok(None)
    }
}

fn look((records, low): (Vec<ports::LogRecord>, u64), shard: Shard, from: u64, head: u64) -> Look {
    if low > from {
        let (from, to) = (Position(from), Position(low));
        return Look::Item(ConsumerItem::Gap { shard, from, to }, low);
    }
    match records.last().map(|record| record.at.position.0 + 1) {
        Some(next) => Look::Item(ConsumerItem::Records { shard, records }, next),
        // Every position below the head was committed before this look: they were never used.
        None => Look::Nothing(head),
    }
}

#[async_trait]
impl Consumer for LogConsumer {
    async fn next(&mut self) -> ports::Result<ConsumerItem> {
        loop {
            self.members.borrow_and_update();
            self.commits.borrow_and_update();
            if self.log.commits.is_closed() {
                return Err(closed(super::KIND.name));
            }
            let owner = self.log.groups.is_owner(&self.group, self.member);
            if !owner && self.owned.is_some() {
                self.revoke();
            } else if owner && self.owned.is_none() && self.queue.is_empty() {
                self.claim().await?;
            }
            if let Some(item) = self.queue.pop_front() {
                return Ok(item);
            }
            if let Some(item) = self.read_on().await? {
                return Ok(item);
            }
            if self.owned.is_some() != self.log.groups.is_owner(&self.group, self.member) {
                continue;
            }
            tokio::select! {
                changed = self.commits.changed() => changed,
                changed = self.members.changed() => changed,
            }
            .map_err(|_| closed(super::KIND.name))?;
        }
    }

    async fn ack(&mut self, acks: &[Ack]) -> Vec<Result<(), AckError>> {
        let group = Arc::clone(&self.group);
        let asked = acks.to_vec();
        let write =
            move |state: &mut LogState| asked.iter().map(|ack| state.ack(&group, *ack)).collect();
        let acked = self.log.write(Cost::ONE, write).await;
        acked.unwrap_or_else(|error| acks.iter().map(|_| Err(error.again().into())).collect())
    }
}

impl Drop for LogConsumer {
    fn drop(&mut self) {
        self.log.groups.leave(&self.group, self.member);
    }
}
