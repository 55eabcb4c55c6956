//! Commands to the owners of shards: rows of the inbox, and a hint that they are there.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Command, CommandId, CommandKind, EndpointUid, EventRef, Shard, TenantId, Timestamp};
use ports::Hint;

use super::{App, Error, Seed};

/// How long an answer waits for the owners of shards, in steps.
const DONE_STEPS: u32 = 40;
/// One step of that wait.
const DONE_STEP: Duration = Duration::from_millis(50);
/// Commands of a shard that are looked through.
const PENDING_LOOK: usize = 1_000;

/// One command, before its shard is known by name.
pub(crate) struct Order {
    pub(crate) id: CommandId,
    pub(crate) shard: Shard,
    pub(crate) time: Timestamp,
    pub(crate) endpoint: EndpointUid,
    pub(crate) kind: CommandKind,
}

impl App {
    /// The shard whose owner delivers an event of this place to this endpoint.
    pub(crate) fn shard_for(&self, event: &EventRef, endpoint: EndpointUid) -> Shard {
        if event.at.is_in_log() {
            return event.at.shard;
        }
        self.deps.log.shards().of_key(endpoint.as_bytes())
    }

    /// Sends commands, then hints. Sending the same ones again changes nothing (IN-1).
    pub(crate) async fn send(&self, tenant: &TenantId, orders: Vec<Order>) -> Result<(), Error> {
        let commands: Vec<Command> = orders
            .into_iter()
            .map(|order| Command {
                id: order.id,
                shard: order.shard,
                time: order.time,
                tenant: tenant.clone(),
                endpoint: order.endpoint,
                kind: order.kind,
            })
            .collect();
        self.deps.inbox.send(&commands).await?;
        let shards: BTreeSet<Shard> = commands.iter().map(|command| command.shard).collect();
        for shard in shards {
            if let Err(error) = self.deps.feed.hint(Hint::Inbox(shard)).await {
                tracing::warn!(shard = shard.0, %error, "hint of a command was not sent");
            }
        }
        Ok(())
    }

    /// Sends one command to every shard: the endpoint has a lane wherever its events lie. Gives their ids.
    pub(crate) async fn send_to_all_shards(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        kind: &CommandKind,
    ) -> Result<Vec<(Shard, CommandId)>, Error> {
        let seed = Seed::new(&*self.deps.clock, &*self.deps.rng);
        let orders: Vec<Order> = self
            .deps
            .log
            .shards()
            .all()
            .map(|shard| Order {
                id: seed.command(&shard.0.to_string()),
                shard,
                time: seed.time(),
                endpoint,
                kind: kind.clone(),
            })
            .collect();
        let ids = orders.iter().map(|order| (order.shard, order.id)).collect();
        self.send(tenant, orders).await?;
        Ok(ids)
    }

    /// Waits a little until the owners of the shards have done these commands.
    pub(crate) async fn wait_until_done(&self, ids: &[(Shard, CommandId)]) -> Result<(), Error> {
        for _ in 0..DONE_STEPS {
            let mut all_done = true;
            for (shard, id) in ids {
                let pending = self.deps.inbox.pending(*shard, PENDING_LOOK).await?;
                all_done &= !pending.iter().any(|command| command.id == *id);
            }
            if all_done {
                return Ok(());
            }
            self.deps.clock.sleep(DONE_STEP).await;
        }
        Ok(())
    }
}
