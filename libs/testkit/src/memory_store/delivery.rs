//! Backlog, lanes, inbox, idempotency keys.

use std::ops::Bound;

use async_trait::async_trait;
use domain::limits::IDEMPOTENCY_TTL;
use domain::{
    BacklogKey, BacklogRow, Command, CommandId, EndpointUid, Epoch, LaneKey, LaneRow, Shard,
    TenantId, Trigger,
};
use ports::{BacklogPage, BacklogStore, IdempotencyRow, IdempotencyStore, InboxStore, LaneStore};

use super::{KEEP_BODY, KEEP_COMMAND, MemoryStore, is_young};

#[async_trait]
impl BacklogStore for MemoryStore {
    async fn append(&self, rows: &[(LaneKey, BacklogRow)]) -> ports::Result<()> {
        self.write(|state, _| {
            for (lane, row) in rows {
                let lane = state.backlog.entry(*lane).or_default();
                lane.entry(row.key).or_insert_with(|| row.clone());
                if row.trigger != Trigger::Event
                    && let Some((_, keep)) = state.events.get_mut(&row.event)
                {
                    *keep = (row.first_due + KEEP_BODY).max(*keep);
                }
            }
        })
    }

    async fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> ports::Result<BacklogPage> {
        self.read(|state, _| {
            let mut page = BacklogPage::default();
            let Some(rows) = state.backlog.get(&lane) else {
                return page;
            };
            let behind = (Bound::Excluded(after), Bound::Unbounded);
            for (key, row) in rows.range(behind) {
                if *key > upto || page.rows.len() == limit {
                    page.next_due = Some(key.due);
                    break;
                }
                page.rows.push(row.clone());
            }
            page
        })
    }

    async fn trim(&self, lane: LaneKey, upto: BacklogKey) -> ports::Result<()> {
        self.write(|state, _| {
            if let Some(rows) = state.backlog.get_mut(&lane) {
                rows.retain(|key, _| *key > upto);
            }
        })
    }
}

#[async_trait]
impl LaneStore for MemoryStore {
    async fn save(&self, lanes: &[LaneRow]) -> ports::Result<()> {
        self.write(|state, _| {
            for lane in lanes {
                let stored = state.lanes.entry(lane.key).or_insert_with(|| lane.clone());
                if lane.epoch >= stored.epoch {
                    *stored = lane.clone();
                }
            }
        })
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<EndpointUid>,
        limit: usize,
    ) -> ports::Result<Vec<LaneRow>> {
        self.read(|state, _| {
            let lanes = state.lanes.values();
            let lanes = lanes.filter(|lane| {
                lane.key.shard == shard && after.is_none_or(|after| lane.key.endpoint > after)
            });
            lanes.take(limit).cloned().collect()
        })
    }

    async fn get(&self, lane: LaneKey) -> ports::Result<Option<LaneRow>> {
        self.read(|state, _| state.lanes.get(&lane).cloned())
    }

    async fn remove(&self, lane: LaneKey, epoch: Epoch) -> ports::Result<()> {
        self.write(|state, _| {
            if state.lanes.get(&lane).is_some_and(|saved| saved.epoch <= epoch) {
                state.lanes.remove(&lane);
            }
        })
    }
}

#[async_trait]
impl InboxStore for MemoryStore {
    async fn send(&self, commands: &[Command]) -> ports::Result<()> {
        self.write(|state, _| {
            for command in commands {
                let entry = state.inbox.entry((command.shard, command.id));
                entry.or_insert_with(|| (command.clone(), false));
            }
        })
    }

    async fn pending(&self, shard: Shard, limit: usize) -> ports::Result<Vec<Command>> {
        self.read(|state, now| {
            let commands = state.inbox.values();
            let open = commands.filter(|(command, done)| {
                command.shard == shard && !done && is_young(command.time, KEEP_COMMAND, now)
            });
            let mut open: Vec<&Command> = open.map(|(command, _)| command).collect();
            open.sort_by_key(|command| (command.time, command.id));
            open.into_iter().take(limit).cloned().collect()
        })
    }

    async fn done(&self, shard: Shard, commands: &[CommandId]) -> ports::Result<()> {
        self.write(|state, _| {
            for id in commands {
                if let Some((_, done)) = state.inbox.get_mut(&(shard, *id)) {
                    *done = true;
                }
            }
        })
    }
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn get(
        &self,
        tenant: &TenantId,
        keys: &[&str],
    ) -> ports::Result<Vec<Option<IdempotencyRow>>> {
        self.read(|state, now| {
            let row = |key: &&str| {
                let row = state.keys.get(&(tenant.clone(), (*key).to_owned()));
                row.filter(|row| is_young(row.time, IDEMPOTENCY_TTL, now)).cloned()
            };
            keys.iter().map(row).collect()
        })
    }

    async fn put(&self, tenant: &TenantId, rows: &[(&str, IdempotencyRow)]) -> ports::Result<()> {
        self.write(|state, now| {
            for (key, row) in rows {
                let entry = state.keys.entry((tenant.clone(), (*key).to_owned()));
                let stored = entry.or_insert_with(|| row.clone());
                if !is_young(stored.time, IDEMPOTENCY_TTL, now) {
                    *stored = row.clone();
                }
            }
        })
    }
}
