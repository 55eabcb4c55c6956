//! Keeps the cache fresh: by hints at once, by reading revisions again every 30 s.

use std::sync::Arc;

use domain::{Revision, TenantId};
use futures::stream::{FuturesUnordered, StreamExt as _};
use ports::Hint;
use runtime::Shutdown;
use tokio::sync::{Notify, broadcast::error::RecvError, mpsc};

use super::cache::Seen;
use super::{TenantView, Tenants};
use crate::calls::within;
use crate::config::Config;
use crate::worker::Input;

/// Tenants that are read at once.
const AT_ONCE: usize = 16;

/// Follows hints and refreshes at the same time: a refresh of many tenants keeps no hint waiting.
pub(crate) async fn keep_fresh(
    tenants: Arc<Tenants>,
    config: Config,
    inputs: mpsc::Sender<Input>,
    shutdown: Shutdown,
) {
    let missed = Notify::new();
    let fresh = async {
        tokio::join!(
            follow_hints(&tenants, &inputs, &missed),
            refresh(&tenants, &config, &inputs, &missed)
        )
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        _ = fresh => shutdown.cancelled().await,
    }
}

async fn follow_hints(tenants: &Tenants, inputs: &mpsc::Sender<Input>, missed: &Notify) {
    let mut hints = tenants.deps.feed.subscribe();
    let mut loading = FuturesUnordered::new();
    let mut open = true;
    while open || !loading.is_empty() {
        tokio::select! {
            biased;
            Some(()) = loading.next(), if !loading.is_empty() => {}
            hint = hints.recv(), if open && loading.len() < AT_ONCE => match hint {
                Ok(Hint::Tenant(tenant, revision)) => {
                    loading.push(take_change(tenants, tenant, revision, inputs));
                }
                Ok(Hint::Inbox(_)) => {}
                Err(RecvError::Lagged(_)) => missed.notify_one(),
                Err(RecvError::Closed) => open = false,
            },
        }
    }
}

async fn refresh(
    tenants: &Tenants,
    config: &Config,
    inputs: &mpsc::Sender<Input>,
    missed: &Notify,
) {
    let clock = &tenants.deps.clock;
    // A fixed time, not a wait that begins anew: lost hints must not put it off.
    let mut at = clock.now() + config.refresh;
    loop {
        tokio::select! {
            biased;
            () = clock.sleep_until(at) => at = clock.now() + config.refresh,
            () = missed.notified() => {}
        }
        let mut seen = tenants.cache.seen().into_iter();
        let mut running = FuturesUnordered::new();
        let mut unread = Unread::default();
        loop {
            while running.len() < AT_ONCE
                && let Some(next) = seen.next()
            {
                running.push(refresh_one(tenants, next, inputs));
            }
            match running.next().await {
                Some(answer) => unread.add(answer),
                None => break,
            }
        }
        unread.tell();
    }
}

/// Reads a tenant again if it has changed, or if something of it could not be opened.
async fn refresh_one(
    tenants: &Tenants,
    seen: Seen,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), (TenantId, ports::Error)> {
    let Seen { tenant, revision: known, is_sealed } = seen;
    let revision = tenants.deps.config.revision(&tenant);
    match within(&*tenants.deps.clock, revision).await {
        Ok(Some(revision)) if revision > known => {
            take_change(tenants, tenant, revision, inputs).await;
        }
        // A key that was restored changes no revision.
        Ok(Some(_)) if is_sealed => {
            send_view(tenants.reload(&tenant).await, &tenant, inputs).await;
        }
        Ok(Some(_)) => {}
        Ok(None) => tenants.cache.remove(&tenant),
        Err(error) => return Err((tenant, error)),
    }
    Ok(())
}

/// Loads a tenant that is said to have changed. One that was never seen is loaded when it is.
async fn take_change(
    tenants: &Tenants,
    tenant: TenantId,
    revision: Revision,
    inputs: &mpsc::Sender<Input>,
) {
    // A load that is under way may have begun before the change.
    if tenants.cache.revision(&tenant).is_none() && !tenants.cache.is_loading(&tenant) {
        return;
    }
    // Also one that is known by now: whoever loaded it may not have handed it to the loop yet.
    send_view(tenants.at_least(&tenant, revision).await, &tenant, inputs).await;
}

async fn send_view(
    loaded: ports::Result<Option<Arc<TenantView>>>,
    tenant: &TenantId,
    inputs: &mpsc::Sender<Input>,
) {
    match loaded {
        // A closed channel means that the worker stops.
        Ok(Some(view)) => drop(inputs.send(Input::Tenant(view)).await),
        Ok(None) => tracing::info!(%tenant, "a tenant is gone"),
        Err(error) => {
            tracing::warn!(%tenant, %error, "cannot read a tenant's configuration; it is read again within 30 s");
        }
    }
}

/// Revisions that could not be read: said once a round, not once a tenant.
#[derive(Default)]
struct Unread {
    count: usize,
    last: Option<(TenantId, ports::Error)>,
}

impl Unread {
    fn add(&mut self, answer: Result<(), (TenantId, ports::Error)>) {
        if let Err(failed) = answer {
            self.count += 1;
            self.last = Some(failed);
        }
    }

    fn tell(self) {
        if let Some((tenant, error)) = self.last {
            tracing::warn!(tenants = self.count, %tenant, %error, "cannot read tenants' revisions; they are read again within 30 s");
        }
    }
}
