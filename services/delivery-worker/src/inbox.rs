//! Brings commands from the inboxes of the shards that this worker owns.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Command, Shard, TenantId};
use futures::stream::{FuturesUnordered, StreamExt as _};
use ports::Hint;
use runtime::Shutdown;
use tokio::sync::{broadcast::error::RecvError, mpsc, watch};

use crate::calls::{cause, remedy, within};
use crate::config::{Config, Deps};
use crate::tenants::{TenantView, Tenants};
use crate::worker::Input;

/// Commands that are read at once.
const PAGE: usize = 200;
/// Inboxes that are read at once.
const SHARDS_AT_ONCE: usize = 16;
/// Tenants that are read at once for the commands of one page.
const TENANTS_AT_ONCE: usize = 16;

/// Reads inboxes when a hint comes, and every second in case one was lost. One that is slow keeps no other waiting.
pub(crate) async fn bring(
    deps: Deps,
    config: Config,
    tenants: Arc<Tenants>,
    owned: watch::Receiver<BTreeSet<Shard>>,
    inputs: mpsc::Sender<Input>,
    shutdown: Shutdown,
) {
    let mut hints = deps.feed.subscribe();
    let inbox = Inbox { deps: deps.clone(), tenants, inputs };
    let mut turns = Turns::default();
    let mut reading = FuturesUnordered::new();
    // A fixed time, not a wait that begins anew: hints of others must not put the poll off.
    let mut poll_at = deps.clock.now() + config.inbox_poll;
    loop {
        while reading.len() < SHARDS_AT_ONCE
            && let Some(shard) = turns.next()
        {
            reading.push(inbox.bring(shard));
        }
        // The poll before hints: those of others must not put it off.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some((shard, failed)) = reading.next(), if !reading.is_empty() => {
                turns.ended(shard, failed);
            }
            () = deps.clock.sleep_until(poll_at) => {
                poll_at = deps.clock.now() + config.inbox_poll;
                turns.polled.extend(owned.borrow().iter());
            }
            hint = hints.recv() => match hint {
                Ok(Hint::Inbox(shard)) if owned.borrow().contains(&shard) => {
                    turns.hinted.insert(shard);
                }
                Ok(Hint::Inbox(_) | Hint::Tenant(..)) => {}
                Err(RecvError::Lagged(_)) => turns.polled.extend(owned.borrow().iter()),
                Err(RecvError::Closed) => return shutdown.cancelled().await,
            },
        }
    }
}

/// Whose inbox is read next: those with a hint first, and each by one reader at a time.
#[derive(Default)]
struct Turns {
    hinted: BTreeSet<Shard>,
    polled: BTreeSet<Shard>,
    reading: BTreeSet<Shard>,
    /// Those that could not be read last time, which was said.
    failing: BTreeSet<Shard>,
}

impl Turns {
    fn next(&mut self) -> Option<Shard> {
        let is_idle = |shard: &&Shard| !self.reading.contains(shard);
        let hinted = self.hinted.iter().find(is_idle);
        let shard = hinted.or_else(|| self.polled.iter().find(is_idle)).copied()?;
        self.hinted.remove(&shard);
        self.polled.remove(&shard);
        self.reading.insert(shard);
        Some(shard)
    }

    fn ended(&mut self, shard: Shard, failed: Option<ports::Error>) {
        self.reading.remove(&shard);
        let Some(error) = failed else {
            self.failing.remove(&shard);
            return;
        };
        if self.failing.insert(shard) {
            let cause = cause(&error);
            if error.is_retryable() {
                tracing::warn!(shard = shard.0, %error, cause, "cannot read commands; they are read again every second");
            } else {
                let (kind, remedy) = (error.kind(), remedy(&error));
                tracing::error!(shard = shard.0, ?kind, %error, cause, remedy, "cannot read commands; they are read again every second");
            }
        }
    }
}

struct Inbox {
    deps: Deps,
    tenants: Arc<Tenants>,
    inputs: mpsc::Sender<Input>,
}

impl Inbox {
    /// Brings the commands of a shard; with it comes what kept it from bringing all.
    async fn bring(&self, shard: Shard) -> (Shard, Option<ports::Error>) {
        let pending = self.deps.inbox.pending(shard, PAGE);
        let mut commands = match within(&*self.deps.clock, pending).await {
            Ok(commands) => commands,
            Err(error) => return (shard, Some(error)),
        };
        let (unread, failed) = self.configure(&commands).await;
        commands.retain(|command| !unread.contains(&command.tenant));
        if !commands.is_empty() {
            // A closed channel means that the worker stops; commands stay in the inbox.
            let _ = self.inputs.send(Input::Commands(commands)).await;
        }
        (shard, failed)
    }

    /// Makes the engine know the endpoints before it acts on them: as of now, since the hint of a change before the command may still be on its way. Returns
    /// the tenants that could not be read, whose commands wait, and the last error.
    async fn configure(&self, commands: &[Command]) -> (BTreeSet<TenantId>, Option<ports::Error>) {
        let named: BTreeSet<&TenantId> = commands.iter().map(|command| &command.tenant).collect();
        let mut named = named.into_iter();
        let mut loading = FuturesUnordered::new();
        let (mut unread, mut failed) = (BTreeSet::new(), None);
        loop {
            while loading.len() < TENANTS_AT_ONCE
                && let Some(tenant) = named.next()
            {
                loading.push(async move { (tenant, self.current(tenant).await) });
            }
            match loading.next().await {
                Some((_, Ok(Some(view)))) => {
                    let _ = self.inputs.send(Input::Tenant(view)).await;
                }
                Some((_, Ok(None))) => {}
                Some((tenant, Err(error))) => {
                    unread.insert(tenant.clone());
                    failed = Some(error);
                }
                None => return (unread, failed),
            }
        }
    }

    async fn current(&self, tenant: &TenantId) -> ports::Result<Option<Arc<TenantView>>> {
        let revision = self.deps.config.revision(tenant);
        match within(&*self.deps.clock, revision).await? {
            Some(revision) => self.tenants.at_least(tenant, revision).await,
            None => Ok(None),
        }
    }
}
