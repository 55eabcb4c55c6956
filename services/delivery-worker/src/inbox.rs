//! Brings commands from the inboxes of the shards that this worker owns.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Shard, TenantId};
use ports::Hint;
use runtime::Shutdown;
use tokio::sync::{broadcast::error::RecvError, mpsc, watch};

use crate::config::{Config, Deps};
use crate::tenants::Tenants;
use crate::worker::Input;

/// Commands that are read at once.
const PAGE: usize = 200;

/// Reads inboxes when a hint comes, and every second in case one was lost.
pub(crate) async fn bring(
    deps: Deps,
    config: Config,
    tenants: Arc<Tenants>,
    owned: watch::Receiver<BTreeSet<Shard>>,
    inputs: mpsc::Sender<Input>,
    shutdown: Shutdown,
) {
    let mut hints = deps.feed.subscribe();
    // A fixed time, not a wait that begins anew: hints of others must not put the poll off.
    let mut poll_at = deps.clock.now() + config.inbox_poll;
    loop {
        let shards: Vec<Shard> = tokio::select! {
            () = shutdown.cancelled() => return,
            () = deps.clock.sleep_until(poll_at) => {
                poll_at = deps.clock.now() + config.inbox_poll;
                owned.borrow().iter().copied().collect()
            }
            hint = hints.recv() => match hint {
                Ok(Hint::Inbox(shard)) if owned.borrow().contains(&shard) => vec![shard],
                Ok(Hint::Inbox(_) | Hint::Tenant(..)) => continue,
                Err(RecvError::Lagged(_)) => owned.borrow().iter().copied().collect(),
                Err(RecvError::Closed) => return shutdown.cancelled().await,
            },
        };
        for shard in shards {
            if let Err(error) = bring_one(&deps, &tenants, shard, &inputs).await {
                tracing::warn!(shard = shard.0, %error, "cannot read commands; they are read again in a second");
            }
        }
    }
}

async fn bring_one(
    deps: &Deps,
    tenants: &Tenants,
    shard: Shard,
    inputs: &mpsc::Sender<Input>,
) -> ports::Result<()> {
    let commands = deps.inbox.pending(shard, PAGE).await?;
    let named: BTreeSet<&TenantId> = commands.iter().map(|command| &command.tenant).collect();
    for tenant in named {
        // The engine must know the endpoint before it can act on it: as of now, since the hint of a change before the command may still be on its way.
        let Some(revision) = deps.config.revision(tenant).await? else { continue };
        if let Some(view) = tenants.at_least(tenant, revision).await?
            && inputs.send(Input::Tenant(view)).await.is_err()
        {
            return Ok(());
        }
    }
    if !commands.is_empty() {
        // A closed channel means that the worker stops; commands stay in the inbox.
        let _ = inputs.send(Input::Commands(commands)).await;
    }
    Ok(())
}
