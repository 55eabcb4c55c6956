//! Following attempts as they end.

use std::sync::Arc;
use std::time::Duration;

use domain::{EventPattern, Observation};
use futures::{Stream, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::watchers::WATCH_TIME;
use super::{App, EndpointName, EndpointScope, Error};

/// Which attempts a caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WatchDeliveries {
    pub(crate) scope: EndpointScope,
    /// Empty: all.
    pub(crate) event_types: Vec<EventPattern>,
}

/// What a caller is told.
#[derive(Debug)]
pub(crate) struct WatchedAttempt {
    pub(crate) attempt: Arc<Observation>,
    /// Attempts that were left out before it.
    pub(crate) missed: u64,
}

impl WatchDeliveries {
    fn wants(&self, seen: &Observation) -> bool {
        let is_of = |pattern: &EventPattern| pattern.matches(&seen.event_type);
        seen.event.tenant == self.scope.tenant
            && self.scope.endpoint.as_ref().is_none_or(|endpoint| *endpoint == seen.endpoint)
            && (self.event_types.is_empty() || self.event_types.iter().any(is_of))
    }
}

impl App {
    /// Streams a tenant's attempts from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a tenant or an endpoint that does not exist, [`Error::TooManyWatchers`], and when nothing can be heard.
    pub(crate) async fn watch_deliveries(
        self: &Arc<Self>,
        call: WatchDeliveries,
    ) -> Result<impl Stream<Item = Result<WatchedAttempt, Error>> + Send + use<>, Error> {
        let place = self.watchers.enter()?;
        let EndpointScope { tenant, endpoint } = &call.scope;
        match endpoint.clone() {
            Some(endpoint) => {
                let name = EndpointName { tenant: tenant.clone(), endpoint };
                drop(self.endpoint_config(&name).await?);
            }
            None => drop(self.tenant(tenant).await?),
        }
        let told = self.deps.observations.watch().await?;
        let until = self.deps.clock.monotonic() + WATCH_TIME;
        let begin = (self.clone(), call, told, place);
        Ok(stream::try_unfold(begin, move |(app, call, mut told, place)| async move {
            let next = app.next_wanted(&call, &mut told, until).await;
            Ok(next.map(|next| (next, (app, call, told, place))))
        }))
    }

    /// The next attempt that the caller wants; none when the time is up, or nothing is told any more.
    async fn next_wanted(
        &self,
        call: &WatchDeliveries,
        told: &mut Receiver<Arc<Observation>>,
        until: Duration,
    ) -> Option<WatchedAttempt> {
        let mut missed = 0;
        loop {
            let left = until.saturating_sub(self.deps.clock.monotonic());
            if left.is_zero() {
                return None;
            }
            let seen = tokio::select! {
                seen = told.recv() => seen,
                () = self.deps.clock.sleep(left) => return None,
            };
            match seen {
                Ok(attempt) if call.wants(&attempt) => {
                    return Some(WatchedAttempt { attempt, missed });
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => missed += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
