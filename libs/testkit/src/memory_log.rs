//! The event log in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::record::{Poison, Record, Trust};
use domain::{Epoch, LogPosition, Position, Shard, Timestamp, shard_of_key};
use ports::{
    Ack, AckError, Appended, Bounds, Clock, Consumer, ConsumerItem, Error, ErrorKind, EventLog,
    Lease, LogRecord, RangePage, Shards,
};
use tokio::sync::Notify;

use crate::Faults;

const RECORD_BYTES_MAX: usize = 1024 * 1024;
const BATCH_RECORDS: usize = 500;
const BATCH_BYTES: usize = 1024 * 1024;

/// An event log in memory. Clones are the same log.
///
/// Like the embedded one it gives all shards to the member of a group that joined last.
#[derive(Clone)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    /// Wakes consumers in the order in which they began to wait, so that histories replay.
    changed: Arc<Notify>,
    clock: Arc<dyn Clock>,
    faults: Faults,
}

struct State {
    shards: Vec<ShardState>,
    groups: BTreeMap<String, Group>,
    spread: usize,
    quarantine: Vec<(LogRecord, Poison)>,
    /// Whether owners are asked for their shards.
    asks: bool,
}

#[derive(Clone, Default)]
struct ShardState {
    records: BTreeMap<Position, LogRecord>,
    low: Position,
    next: Position,
}

#[derive(Default)]
struct Group {
    members: Vec<u64>,
    next_member: u64,
    epoch: Epoch,
    /// Of the owner.
    lease: Option<Lease>,
    acked: BTreeMap<Shard, Position>,
    /// Where a shard was when the group was made.
    began: BTreeMap<Shard, Position>,
    /// Shards that the owner has not released to the member that waits for them.
    asked_back: Option<BTreeSet<Shard>>,
}

impl MemoryLog {
    /// An empty log of so many shards.
    #[must_use]
    pub fn new(shards: u16, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            shards: vec![ShardState::default(); usize::from(shards.max(1))],
            groups: BTreeMap::new(),
            spread: 0,
            quarantine: Vec::new(),
            asks: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
            clock,
            faults: Faults::default(),
        }
    }

    /// Makes calls fail: appends and acks are writes.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// A member that joins waits until the owner has released its shards, instead of taking them.
    pub fn ask_before_taking(&self) {
        self.lock().asks = true;
    }

    /// Ends every consumer, as a restart of the process does; records and acked positions stay.
    pub fn restart(&self) {
        for group in self.lock().groups.values_mut() {
            group.members.clear();
            group.asked_back = None;
        }
        self.changed.notify_waiters();
    }

    /// Removes every record, as retention does, whatever was acked.
    pub fn remove_all(&self) {
        for shard in &mut self.lock().shards {
            shard.records.clear();
            shard.low = shard.next;
        }
        self.changed.notify_waiters();
    }

    /// Leaves out the next `count` positions of a shard: positions are not dense.
    pub fn skip_positions(&self, shard: Shard, count: u64) {
        if let Some(shard) = self.lock().shards.get_mut(usize::from(shard.0)) {
            shard.next.0 += count;
        }
    }

    /// A group's acked position in a shard.
    #[must_use]
    pub fn acked(&self, group: &str, shard: Shard) -> Option<Position> {
        let state = self.lock();
        state.groups.get(group)?.acked.get(&shard).copied()
    }

    /// What was set aside, oldest first.
    #[must_use]
    pub fn quarantined(&self) -> Vec<(LogRecord, Poison)> {
        self.lock().quarantine.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shard(&self, shard: Shard) -> ports::Result<&ShardState> {
        let found = self.shards.get(usize::from(shard.0));
        found.ok_or_else(|| Error::new(ErrorKind::Bug, "a shard that does not exist"))
    }

    fn append(&mut self, record: Record, time: Timestamp) -> ports::Result<Appended> {
        if record.size() > RECORD_BYTES_MAX {
            let message = format!("record of {} bytes is too large", record.size());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let count = self.shards.len();
        let number = match &record.key {
            Some(key) => shard_of_key(key, u16::try_from(count).unwrap_or(u16::MAX)).0,
            None => {
                self.spread += 1;
                u16::try_from(self.spread % count).unwrap_or(0)
            }
        };
        let shard = self
            .shards
            .get_mut(usize::from(number))
            .ok_or_else(|| Error::new(ErrorKind::Bug, "a shard that does not exist"))?;
        let at = LogPosition { shard: Shard(number), position: shard.next };
        shard.next = shard.next.next();
        shard.records.insert(at.position, LogRecord { at, time, trust: Trust::AnyTenant, record });
        Ok(Appended { at, time })
    }

    fn ack(&mut self, group: &str, Ack { shard, epoch, upto }: Ack) -> Result<(), AckError> {
        let next = self.shard(shard)?.next;
        if upto >= next {
            let message = "ack of a position that was never given out";
            return Err(Error::new(ErrorKind::Bug, message).into());
        }
        match self.groups.get_mut(group) {
            Some(group) if group.epoch == epoch => {
                let acked = group.acked.entry(shard).or_insert(upto);
                *acked = upto.max(*acked);
                Ok(())
            }
            _ => Err(AckError::Fenced),
        }
    }

    fn asks_back(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| group.asked_back.is_some())
    }

    /// Whether nobody joined, took or released the shards since a member took them in this epoch.
    fn is_held(&self, group: &str, epoch: Epoch) -> bool {
        self.groups.get(group).is_some_and(|group| group.epoch == epoch)
    }

    fn is_owner(&self, group: &str, member: u64) -> bool {
        let group = self.groups.get(group);
        group.and_then(|group| group.members.last()) == Some(&member)
    }
}

/// The records of `[from, to)` up to a page's size, and whether there are more.
fn page(shard: &ShardState, from: Position, to: Position, limit: usize) -> (Vec<LogRecord>, bool) {
    let mut records: Vec<LogRecord> = Vec::new();
    let mut bytes = 0;
    if from >= to {
        return (records, false);
    }
    for record in shard.records.range(from..to).map(|(_, record)| record) {
        bytes += record.record.size();
        let full = records.len() == limit.min(BATCH_RECORDS);
        if full || (!records.is_empty() && bytes > BATCH_BYTES) {
            return (records, true);
        }
        records.push(record.clone());
    }
    (records, false)
}

#[async_trait]
impl EventLog for MemoryLog {
    fn shards(&self) -> Shards {
        Shards::new(u16::try_from(self.lock().shards.len()).unwrap_or(u16::MAX), [])
    }

    async fn append(&self, records: Vec<Record>) -> Vec<ports::Result<Appended>> {
        let count = records.len();
        let now = self.clock.now();
        let appended = self.faults.write(|| {
            let mut state = self.lock();
            let append = |record| state.append(record, now);
            records.into_iter().map(append).collect::<Vec<_>>()
        });
        self.changed.notify_waiters();
        appended.unwrap_or_else(|error| {
            let each = || Err(error.again());
            (0..count).map(|_| each()).collect()
        })
    }

    async fn consume(&self, group: &str) -> ports::Result<Box<dyn Consumer>> {
        let mut state = self.lock();
        let lows: Vec<Position> = state.shards.iter().map(|shard| shard.low).collect();
        let (asks, shards) = (state.asks, lows.len());
        let entry = state.groups.entry(group.to_owned()).or_default();
        for (number, low) in (0..).zip(lows) {
            entry.began.entry(Shard(number)).or_insert(low);
        }
        let member = entry.next_member;
        entry.next_member += 1;
        if asks && !entry.members.is_empty() {
            entry.members.insert(0, member);
            let all = || (0..).map(Shard).take(shards).collect();
            // One that joins while the owner releases waits for the next time.
            entry.asked_back.get_or_insert_with(all);
        } else {
            entry.members.push(member);
            // Fences the owner before at once.
            entry.epoch.0 += 1;
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(Box::new(MemoryConsumer {
            log: self.clone(),
            group: group.to_owned(),
            member,
            cursors: Vec::new(),
            is_leaving: false,
            epoch: Epoch::default(),
            turn: 0,
            queue: VecDeque::new(),
        }))
    }

    async fn read(&self, at: LogPosition) -> ports::Result<Option<LogRecord>> {
        self.faults.read(|| {
            let state = self.lock();
            let shard = state.shards.get(usize::from(at.shard.0));
            shard.and_then(|shard| shard.records.get(&at.position).cloned())
        })
    }

    async fn read_range(
        &self,
        shard: Shard,
        from: Position,
        to: Position,
        limit: usize,
    ) -> ports::Result<RangePage> {
        self.faults.read(|| {
            let state = self.lock();
            let (records, more) = page(state.shard(shard)?, from, to, limit);
            let last = records.last().map(|record| record.at.position.next());
            let next = more.then(|| last.unwrap_or(from));
            Ok(RangePage { records, next })
        })?
    }

    async fn position_at(&self, shard: Shard, time: Timestamp) -> ports::Result<Position> {
        self.faults.read(|| {
            let state = self.lock();
            let shard = state.shard(shard)?;
            let mut records = shard.records.values();
            let found = records.find(|record| record.time >= time);
            Ok(found.map_or(shard.next, |record| record.at.position))
        })?
    }

    async fn bounds(&self, shard: Shard) -> ports::Result<Bounds> {
        self.faults.read(|| {
            let state = self.lock();
            let shard = state.shard(shard)?;
            Ok(Bounds { low: shard.low, next: shard.next })
        })?
    }

    async fn quarantine(&self, record: &LogRecord, poison: &Poison) -> ports::Result<()> {
        let set_aside = (record.clone(), poison.clone());
        self.faults.write(|| self.lock().quarantine.push(set_aside))
    }
}

struct MemoryConsumer {
    log: MemoryLog,
    group: String,
    member: u64,
    /// The next position of each shard that it owns.
    cursors: Vec<(Shard, Position)>,
    /// Whether it was told that another member waits for them.
    is_leaving: bool,
    /// In which it took them.
    epoch: Epoch,
    turn: usize,
    queue: VecDeque<ConsumerItem>,
}

impl MemoryConsumer {
    fn claim(&mut self, state: &mut State) {
        let Some(group) = state.groups.get_mut(&self.group) else {
            return;
        };
        group.epoch.0 += 1;
        self.epoch = group.epoch;
        let lease = Lease::forever();
        if let Some(former) = group.lease.replace(lease.clone()) {
            former.end();
        }
        for (shard, head) in (0..).map(Shard).zip(state.shards.iter().map(|s| s.next)) {
            let acked = group.acked.get(&shard).copied();
            let began = group.began.get(&shard).copied().unwrap_or_default();
            self.cursors.push((shard, acked.map_or(began, Position::next)));
            let (epoch, lease) = (group.epoch, lease.clone());
            self.queue.push_back(ConsumerItem::Assigned { shard, epoch, acked, head, lease });
        }
    }

    /// What there is to say now.
    fn poll(&mut self) -> Option<ConsumerItem> {
        let log = self.log.clone();
        let mut state = log.lock();
        let owner = state.is_owner(&self.group, self.member);
        let holds = owner && state.is_held(&self.group, self.epoch);
        if owner && self.cursors.is_empty() && self.queue.is_empty() {
            self.claim(&mut state);
        } else if !holds && !self.cursors.is_empty() {
            self.queue.clear();
            let revoked = self.cursors.drain(..);
            self.queue.extend(revoked.map(|(shard, _)| ConsumerItem::Revoked { shard }));
            self.is_leaving = false;
        } else if owner && !self.is_leaving && state.asks_back(&self.group) {
            self.is_leaving = true;
            let shards = self.cursors.iter().map(|(shard, _)| *shard);
            self.queue.extend(shards.map(|shard| ConsumerItem::Leaving { shard }));
        }
        if let Some(item) = self.queue.pop_front() {
            return Some(item);
        }
        if self.is_leaving {
            return None;
        }
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len();
            let Some((shard, next)) = self.cursors.get_mut(self.turn) else {
                continue;
            };
            let Ok(state) = state.shard(*shard) else {
                continue;
            };
            if *next < state.low {
                let (from, to) = (*next, state.low);
                *next = to;
                let shard = *shard;
                return Some(ConsumerItem::Gap { shard, from, to });
            }
            let (records, _) = page(state, *next, state.next, BATCH_RECORDS);
            if let Some(last) = records.last() {
                *next = last.at.position.next();
                let shard = *shard;
                return Some(ConsumerItem::Records { shard, records });
            }
        }
        None
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> ports::Result<ConsumerItem> {
        self.log.faults.read(|| ())?;
        loop {
            let log = self.log.clone();
            // Made before the look: a change in between is heard.
            let changed = log.changed.notified();
            if let Some(item) = self.poll() {
                return Ok(item);
            }
            changed.await;
        }
    }

    async fn ack(&mut self, acks: &[Ack]) -> Vec<Result<(), AckError>> {
        let acked = self.log.faults.write(|| {
            let mut state = self.log.lock();
            acks.iter().map(|ack| state.ack(&self.group, *ack)).collect()
        });
        acked.unwrap_or_else(|error| acks.iter().map(|_| Err(error.again().into())).collect())
    }

    fn release(&mut self, shard: Shard, epoch: Epoch) {
        let mut state = self.log.lock();
        if let Some(group) = state.groups.get_mut(&self.group)
            && group.epoch == epoch
            && let Some(asked) = &mut group.asked_back
        {
            asked.remove(&shard);
            if asked.is_empty() {
                group.asked_back = None;
                // Who has released everything is given it anew, if nobody else is there any more.
                group.epoch.0 += 1;
                // The one that waits is the owner now.
                group.members.rotate_right(1);
            }
        }
        drop(state);
        self.log.changed.notify_waiters();
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        if let Some(group) = self.log.lock().groups.get_mut(&self.group) {
            // An owner that was asked goes on releasing, also when the one that waited has gone.
            if group.members.last() == Some(&self.member) {
                group.asked_back = None;
            }
            group.members.retain(|member| *member != self.member);
        }
        self.log.changed.notify_waiters();
    }
}
