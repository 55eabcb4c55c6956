//! The adapters of the embedded engine, opened, kept and closed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use control_plane::server::Readiness;
use domain::egress_policy::EgressPolicy;
use egress::Egress;
use embedded::{Embedded, Health, Options};
use ports::Clock;
use runtime::{LocalKeys, Shutdown, SystemClock, SystemRng, TaskGroup};
use tokio::sync::watch;

use super::config::Settings;
use super::identity;

/// How often expired rows are removed.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);
/// Why a process is degraded whose network is at fault.
const EGRESS_DEGRADED: &str =
    "egress.degraded: most endpoints cannot be reached; check DNS and the network of this process";
/// How often the engine is asked whether it takes writes.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Everything that roles are given.
pub(crate) struct Engine {
    embedded: Arc<Embedded>,
    keys: Arc<LocalKeys>,
    sender: Arc<Egress>,
    clock: Arc<SystemClock>,
    policy: EgressPolicy,
}

impl Engine {
    /// Opens the data directory and everything else that can refuse to work.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub(crate) fn open(settings: &Settings, policy: EgressPolicy) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let keys = identity::keys(settings)?;
        let embedded = Embedded::open(&settings.data_dir, Options::new(clock.clone()))?;
        let mut outward = egress::Settings::new(policy.clone());
        outward.ca_file.clone_from(&settings.ca_file);
        Ok(Self {
            embedded: Arc::new(embedded),
            keys: Arc::new(keys),
            sender: Arc::new(Egress::new(&outward)?),
            clock,
            policy,
        })
    }

    /// What the API role is given.
    pub(crate) fn control_plane(
        &self,
        settings: &Settings,
    ) -> (control_plane::Config, control_plane::Deps) {
        let store = self.embedded.store();
        let config = control_plane::Config {
            api_version: settings.api_version.clone(),
            event_bytes_max: settings.event_bytes_max,
            egress: self.policy.clone(),
            ..control_plane::Config::default()
        };
        let deps = control_plane::Deps {
            log: self.embedded.log(),
            config: store.clone(),
            idempotency: store.clone(),
            events: store.clone(),
            lanes: store.clone(),
            inbox: store.clone(),
            dead_letters: store,
            feed: self.embedded.feed(),
            keys: self.keys.clone(),
            clock: self.clock.clone(),
            rng: Arc::new(SystemRng::new()),
            page_token_key: self.keys.derive("page tokens"),
        };
        (config, deps)
    }

    /// What the delivering role is given.
    pub(crate) fn delivery_worker(
        &self,
        settings: &Settings,
    ) -> (delivery_worker::Config, delivery_worker::Deps) {
        let store = self.embedded.store();
        let mut config = delivery_worker::Config {
            api_version: settings.api_version.clone(),
            drain: settings.drain_deadline,
            ..delivery_worker::Config::default()
        };
        config.engine.in_flight_max = settings.in_flight;
        let deps = delivery_worker::Deps {
            log: self.embedded.log(),
            events: store.clone(),
            backlog: store.clone(),
            lanes: store.clone(),
            dead_letters: store.clone(),
            inbox: store.clone(),
            config: store,
            feed: self.embedded.feed(),
            keys: self.keys.clone(),
            sender: self.sender.clone(),
            clock: self.clock.clone(),
            rng: Arc::new(SystemRng::new()),
        };
        (config, deps)
    }

    /// Starts what keeps the engine in order, and what tells whether it works.
    ///
    /// `egress_degraded` is the delivering role's word on the network, where it runs in this process.
    pub(crate) fn keep(
        &self,
        tasks: &mut TaskGroup,
        egress_degraded: Option<watch::Receiver<bool>>,
    ) -> watch::Receiver<Readiness> {
        let (tell, readiness) = watch::channel(Readiness::ready());
        let (embedded, clock) = (self.embedded.clone(), self.clock.clone());
        tasks.spawn("maintenance", maintain(embedded, clock, tasks.shutdown().clone()));
        let (embedded, clock) = (self.embedded.clone(), self.clock.clone());
        let stop = tasks.shutdown().clone();
        tasks.spawn("health", watch_health(embedded, clock, egress_degraded, tell, stop));
        readiness
    }

    /// Finishes what was handed in, and frees the data directory.
    pub(crate) async fn close(&self) {
        self.embedded.close().await;
    }
}

async fn maintain(
    embedded: Arc<Embedded>,
    clock: Arc<SystemClock>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = clock.sleep(MAINTAIN_EVERY) => {}
        }
        match embedded.maintain(clock.now()).await {
            Ok(removed) => tracing::debug!(?removed, "removed what has expired"),
            // What is left over now is removed by a later pass; readiness tells when the engine itself has failed.
            Err(error) => tracing::warn!(%error, "expired rows could not be removed; trying again"),
        }
    }
}

async fn watch_health(
    embedded: Arc<Embedded>,
    clock: Arc<SystemClock>,
    egress_degraded: Option<watch::Receiver<bool>>,
    tell: watch::Sender<Readiness>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = clock.sleep(HEALTH_EVERY) => {}
        }
        let mut now = match embedded.health() {
            Health::Ok => Readiness::ready(),
            Health::Failed { file, reason } => {
                Readiness::not_ready(format!("{file} takes no writes any more: {reason}"))
            }
        };
        if egress_degraded.as_ref().is_some_and(|degraded| *degraded.borrow()) {
            // Traffic is still wanted: the log takes events, and they are delivered once the network is back.
            now.reasons.push(EGRESS_DEGRADED.to_owned());
        }
        tell.send_if_modified(|before| {
            let changed = *before != now;
            if changed && !now.ready {
                tracing::error!(
                    reason = now.reasons.join(", "),
                    "the store has failed; restart the process when its cause is gone"
                );
            }
            *before = now;
            changed
        });
    }
}
