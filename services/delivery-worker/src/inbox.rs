//! Brings commands from the inboxes of the shards that this worker owns.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Revision, Shard};
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
    loop {
        let shards: Vec<Shard> = tokio::select! {
            () = shutdown.cancelled() => return,
            () = deps.clock.sleep(config.inbox_poll) => owned.borrow().iter().copied().collect(),
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
    for command in &commands {
        // The engine must know the endpoint before it can act on it.
        if let Some(view) = tenants.at_least(&command.tenant, Revision(0)).await?
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
