//! The store's ports. Reads wait and fail as the misfortunes have it; writes have their fate.

use async_trait::async_trait;
use domain::{
    BacklogKey, BacklogRow, Command, CommandId, DeadLetter, DeadLetterId, EndpointId, EndpointUid,
    Epoch, EventId, EventRef, Fact, HeldRow, LaneKey, LaneRow, Line, LineRow, Position, Resolution,
    Revision, RunId, Shard, Subscription, SubscriptionId, TenantId, Timestamp,
};
use ports::{
    Applied, BacklogPage, BacklogStore, ConfigStore, DeadLetterFilter, DeadLetterKey,
    DeadLetterPage, DeadLetterStore, EndpointConfig, EventStore, Expect, IdempotencyRow,
    IdempotencyStore, InboxStore, LaneStore, LineStore, Loaded, StateChange, StoredEvent, Taken,
    Tenant, TenantConfig,
};
use testkit::Fault;

use super::{SimStore, Write};
use crate::faults::error_of;

#[async_trait]
impl EventStore for SimStore {
    async fn put_events(&self, events: &[StoredEvent]) -> ports::Result<()> {
        self.write(Write::Events(events.to_vec())).await
    }

    async fn record(&self, facts: &[Fact]) -> ports::Result<()> {
        self.write(Write::Facts(facts.to_vec())).await
    }

    async fn load(&self, event: &EventRef, endpoint: EndpointUid) -> ports::Result<Loaded> {
        self.faults.read("look at a delivery").await?;
        EventStore::load(&self.memory, event, endpoint).await
    }

    async fn find(&self, tenant: &TenantId, event: &EventId) -> ports::Result<Option<StoredEvent>> {
        self.memory.find(tenant, event).await
    }

    async fn facts(
        &self,
        tenant: &TenantId,
        event: &EventId,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.memory.facts(tenant, event, limit).await
    }

    async fn attempts_of_endpoint(
        &self,
        endpoint: EndpointUid,
        before: Option<(Timestamp, u128)>,
        limit: usize,
    ) -> ports::Result<Vec<Fact>> {
        self.faults.read("list of attempts").await?;
        self.memory.attempts_of_endpoint(endpoint, before, limit).await
    }
}

#[async_trait]
impl BacklogStore for SimStore {
    async fn append(&self, rows: &[(LaneKey, BacklogRow)]) -> ports::Result<()> {
        self.write(Write::Rows(rows.to_vec())).await
    }

    async fn page(
        &self,
        lane: LaneKey,
        after: BacklogKey,
        upto: BacklogKey,
        limit: usize,
    ) -> ports::Result<BacklogPage> {
        self.faults.read("page of a backlog").await?;
        self.memory.page(lane, after, upto, limit).await
    }

    async fn trim(&self, lane: LaneKey, upto: BacklogKey) -> ports::Result<()> {
        self.memory.trim(lane, upto).await
    }
}

#[async_trait]
impl LaneStore for SimStore {
    async fn save(&self, lanes: &[LaneRow]) -> ports::Result<()> {
        self.write(Write::Lanes(lanes.to_vec())).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<EndpointUid>,
        limit: usize,
    ) -> ports::Result<Vec<LaneRow>> {
        self.faults.read("lanes of a shard").await?;
        LaneStore::of_shard(&self.memory, shard, after, limit).await
    }

    async fn get(&self, lane: LaneKey) -> ports::Result<Option<LaneRow>> {
        LaneStore::get(&self.memory, lane).await
    }

    async fn remove(&self, lane: LaneKey, epoch: Epoch) -> ports::Result<()> {
        self.write(Write::LaneRemoved(lane, epoch)).await
    }
}

#[async_trait]
impl LineStore for SimStore {
    async fn hold(&self, rows: &[(LaneKey, Line, HeldRow)]) -> ports::Result<()> {
        self.write(Write::Held(rows.to_vec())).await
    }

    async fn read(
        &self,
        lane: LaneKey,
        line: Line,
        from: Position,
        before: Option<Position>,
        limit: usize,
    ) -> ports::Result<Vec<HeldRow>> {
        self.faults.read("page of a line").await?;
        LineStore::read(&self.memory, lane, line, from, before, limit).await
    }

    async fn save(&self, lines: &[LineRow]) -> ports::Result<()> {
        self.write(Write::Lines(lines.to_vec())).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<(EndpointUid, Line)>,
        limit: usize,
    ) -> ports::Result<Vec<LineRow>> {
        self.faults.read("lines of a shard").await?;
        LineStore::of_shard(&self.memory, shard, after, limit).await
    }

    async fn forget(&self, lane: LaneKey) -> ports::Result<()> {
        self.memory.forget(lane).await
    }
}

#[async_trait]
impl InboxStore for SimStore {
    async fn send(&self, commands: &[Command]) -> ports::Result<()> {
        self.memory.send(commands).await
    }

    async fn pending(&self, shard: Shard, limit: usize) -> ports::Result<Vec<Command>> {
        self.faults.read("commands").await?;
        self.memory.pending(shard, limit).await
    }

    async fn done(&self, shard: Shard, commands: &[CommandId]) -> ports::Result<()> {
        self.write(Write::Done(shard, commands.to_vec())).await
    }
}

#[async_trait]
impl DeadLetterStore for SimStore {
    async fn put(&self, letters: &[DeadLetter]) -> ports::Result<()> {
        self.write(Write::Letters(letters.to_vec())).await
    }

    async fn get(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
    ) -> ports::Result<Option<(DeadLetter, Option<Resolution>)>> {
        DeadLetterStore::get(&self.memory, tenant, endpoint, id).await
    }

    async fn list(
        &self,
        endpoint: EndpointUid,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> ports::Result<DeadLetterPage> {
        self.memory.list(endpoint, filter, before, limit).await
    }

    async fn begin_redrive(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<Taken> {
        self.memory.begin_redrive(tenant, endpoint, id, run).await
    }

    async fn resolve(
        &self,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> ports::Result<()> {
        self.write(Write::Resolved(endpoint, id, run)).await
    }
}

#[async_trait]
impl IdempotencyStore for SimStore {
    async fn get(
        &self,
        tenant: &TenantId,
        keys: &[&str],
    ) -> ports::Result<Vec<Option<IdempotencyRow>>> {
        self.faults.read("idempotency keys").await?;
        IdempotencyStore::get(&self.memory, tenant, keys).await
    }

    async fn put(&self, tenant: &TenantId, rows: &[(&str, IdempotencyRow)]) -> ports::Result<()> {
        let rows = rows.iter().map(|(key, row)| ((*key).to_owned(), row.clone()));
        self.write(Write::Keys(tenant.clone(), rows.collect())).await
    }
}

#[async_trait]
impl ConfigStore for SimStore {
    async fn create_tenant(&self, tenant: &Tenant) -> ports::Result<Applied> {
        self.memory.create_tenant(tenant).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> ports::Result<Vec<Tenant>> {
        self.memory.tenants(after, limit).await
    }

    async fn revision(&self, tenant: &TenantId) -> ports::Result<Option<Revision>> {
        self.faults.read("revision").await?;
        self.memory.revision(tenant).await
    }

    async fn load(&self, tenant: &TenantId) -> ports::Result<Option<TenantConfig>> {
        self.faults.read("configuration").await?;
        ConfigStore::load(&self.memory, tenant).await
    }

    async fn put_endpoint(
        &self,
        config: &EndpointConfig,
        subscriptions: &[Subscription],
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.memory.put_endpoint(config, subscriptions, expect).await
    }

    async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &EndpointId,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.memory.delete_endpoint(tenant, endpoint, expect).await
    }

    async fn set_state(
        &self,
        tenant: &TenantId,
        uid: EndpointUid,
        change: StateChange,
    ) -> ports::Result<Applied> {
        let fate = self.faults.fate("change of a state");
        self.faults.wait(fate.before).await;
        let answer = match fate.fault {
            None => self.memory.set_state(tenant, uid, change).await,
            Some(fault) => {
                if fault == Fault::UnknownApplied {
                    self.memory.set_state(tenant, uid, change).await?;
                }
                Err(error_of(fault))
            }
        };
        self.faults.wait(fate.after).await;
        answer
    }

    async fn put_subscription(
        &self,
        name: (&TenantId, &EndpointId, &SubscriptionId),
        to: Option<&Subscription>,
        expect: Expect,
    ) -> ports::Result<Applied> {
        self.memory.put_subscription(name, to, expect).await
    }
}
