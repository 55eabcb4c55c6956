//! The rows of several writes of one shard, by group.

use std::collections::{BTreeMap, BTreeSet};

use delivery::{Forgotten, Write, WriteToken};
use domain::{
    BacklogRow, CommandId, DeadLetter, EventRef, Fact, HeldRow, LaneKey, LaneRow, Line, LineRow,
    Shard,
};
use ports::{Lease, StoredEvent};

use super::group::{Done, Resolved, store_all};
use crate::config::Deps;

#[derive(Default)]
pub(super) struct Batch {
    /// While it lasts, this is the owner who may write.
    lease: Option<Lease>,
    tokens: Vec<WriteToken>,
    /// The newest row of each lane: one call holds a row once.
    lanes: BTreeMap<LaneKey, LaneRow>,
    /// Each body once, whatever many lanes need it.
    events: Vec<StoredEvent>,
    rows: Vec<(LaneKey, BacklogRow)>,
    dead_letters: Vec<DeadLetter>,
    facts: Vec<Fact>,
    /// The newest row of each line.
    lines: BTreeMap<(LaneKey, Line), LineRow>,
    held: Vec<(LaneKey, Line, HeldRow)>,
    resolved: Vec<Resolved>,
    commands: BTreeMap<Shard, Vec<CommandId>>,
    /// Lanes to forget; one that a later write of the batch saves stays.
    removed: BTreeMap<LaneKey, Forgotten>,
    deleted: Vec<Forgotten>,
}

/// What became of a batch.
pub(super) struct Recorded {
    /// The writes that are durable.
    pub(super) tokens: Vec<WriteToken>,
    /// Lanes of deleted endpoints. They may hold a million rows, and nothing waits for their end.
    pub(super) deleted: Vec<Forgotten>,
}

impl Batch {
    pub(super) fn collect(writes: impl Iterator<Item = Box<Write>>, lease: Option<Lease>) -> Self {
        let mut batch = Self { lease, ..Self::default() };
        let mut bodies: BTreeSet<EventRef> = BTreeSet::new();
        for write in writes {
            batch.tokens.push(write.token);
            for lane in write.lanes {
                batch.removed.remove(&lane.key);
                batch.add_lane(lane);
            }
            batch.removed.extend(write.removed.into_iter().map(|gone| (gone.lane, gone)));
            batch.deleted.extend(write.deleted);
            let fresh = write.events.into_iter().filter(|(at, _)| bodies.insert(at.clone()));
            batch.events.extend(fresh.map(|(at, event)| StoredEvent { at, event }));
            batch.rows.extend(write.rows);
            batch.dead_letters.extend(write.dead_letters);
            batch.facts.extend(write.facts);
            batch.lines.extend(write.lines.into_iter().map(|row| ((row.lane, row.line), row)));
            batch.held.extend(write.held);
            batch.resolved.extend(write.resolved.into_iter().map(Resolved::from));
            for (shard, id) in write.commands {
                batch.commands.entry(shard).or_default().push(id);
            }
        }
        batch
    }

    /// The last one wins, as in the store: unless its owner is an older one.
    fn add_lane(&mut self, lane: LaneRow) {
        let newest = self.lanes.entry(lane.key).or_insert_with(|| lane.clone());
        if newest.epoch <= lane.epoch {
            *newest = lane;
        }
    }

    /// Makes everything durable: what others need first, then successors (backlog rows, dead letters), then attempts, then what waits for them in
    /// the order of its key, then what ends by them. A step begins
    /// when the one before is durable.
    pub(super) async fn store(self, deps: &Deps) -> Recorded {
        let lease = self.lease.as_ref();
        let lanes: Vec<LaneRow> = self.lanes.into_values().collect();
        tokio::join!(store_all(deps, lease, lanes), store_all(deps, lease, self.events));
        tokio::join!(store_all(deps, lease, self.rows), store_all(deps, lease, self.dead_letters));
        store_all(deps, lease, self.facts).await;
        // DL-1: a line is open before anything is held in it, its head has its row, and what left one that is closed is held where it went.
        let (open, closed): (Vec<_>, _) = self.lines.into_values().partition(|row| row.is_open);
        store_all(deps, lease, open).await;
        store_all(deps, lease, self.held).await;
        store_all(deps, lease, closed).await;
        let done = self.commands.into_iter().map(|(shard, ids)| Done { shard, ids }).collect();
        tokio::join!(store_all(deps, lease, self.resolved), store_all(deps, lease, done));
        store_all(deps, lease, self.removed.into_values().collect()).await;
        Recorded { tokens: self.tokens, deleted: self.deleted }
    }
}
