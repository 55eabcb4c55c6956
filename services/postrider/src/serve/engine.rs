//! The adapters, opened, kept and closed: the one place that chooses among them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use control_plane::server::Readiness;
use domain::egress_policy::EgressPolicy;
use egress::Egress;
use embedded::{Embedded, Health, Options};
use ports::{Clock, Stores};
use runtime::{LocalKeys, Shutdown, SystemClock, SystemRng, TaskGroup};
use store_scylla::Scylla;
use tokio::sync::watch;

use super::config::{Settings, StoreKind};
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
    scylla: Option<Arc<store_scylla::Store>>,
    stores: Stores,
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
    pub(crate) async fn open(settings: &Settings, policy: EgressPolicy) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let keys = identity::keys(settings)?;
        let embedded = Embedded::open(&settings.data_dir, Options::new(clock.clone()))?;
        let (stores, scylla) = match &settings.store {
            StoreKind::Embedded => (Stores::of(&embedded.store()), None),
            StoreKind::Scylla(cluster) => {
                let scylla = Scylla::connect(cluster, clock.clone()).await?;
                scylla.claim(embedded.id()).await?;
                (Stores::of(&scylla.store()), Some(scylla.store()))
            }
        };
        let mut outward = egress::Settings::new(policy.clone());
        outward.ca_file.clone_from(&settings.ca_file);
        Ok(Self {
            embedded: Arc::new(embedded),
            scylla,
            stores,
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
        let stores = self.stores.clone();
        let config = control_plane::Config {
            api_version: settings.api_version.clone(),
            event_bytes_max: settings.event_bytes_max,
            egress: self.policy.clone(),
            ..control_plane::Config::default()
        };
        let deps = control_plane::Deps {
            log: self.embedded.log(),
            config: stores.config,
            idempotency: stores.idempotency,
            events: stores.events,
            lanes: stores.lanes,
            backlog: stores.backlog,
            inbox: stores.inbox,
            dead_letters: stores.dead_letters,
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
        let stores = self.stores.clone();
        let mut config = delivery_worker::Config {
            api_version: settings.api_version.clone(),
            drain: settings.drain_deadline,
            ..delivery_worker::Config::default()
        };
        config.engine.in_flight_max = settings.in_flight;
        let deps = delivery_worker::Deps {
            log: self.embedded.log(),
            events: stores.events,
            backlog: stores.backlog,
            lanes: stores.lanes,
            dead_letters: stores.dead_letters,
            inbox: stores.inbox,
            config: stores.config,
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
        let health = watch_health(
            self.embedded.clone(),
            self.scylla.clone(),
            self.clock.clone(),
            egress_degraded,
            tell,
            tasks.shutdown().clone(),
        );
        tasks.spawn("health", health);
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
    scylla: Option<Arc<store_scylla::Store>>,
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
        let mut now = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            now = health(&embedded, scylla.as_deref()) => now,
        };
        if egress_degraded.as_ref().is_some_and(|degraded| *degraded.borrow()) {
            // Traffic is still wanted: the log takes events, and they are delivered once the network is back.
            now.reasons.push(EGRESS_DEGRADED.to_owned());
        }
        tell.send_if_modified(|before| {
            let changed = before.ready != now.ready;
            if changed {
                say(&now, embedded.health());
            }
            *before = now;
            changed
        });
    }
}

/// Says once that readiness has changed: an engine that failed wants a person, a store that is away comes back by itself.
fn say(now: &Readiness, health: Health) {
    let reason = now.reasons.join(", ");
    match health {
        Health::Failed { .. } | Health::Damaged { .. } => {
            tracing::error!(
                reason,
                "the store has failed; restart the process when its cause is gone"
            );
        }
        Health::Ok if now.ready => tracing::info!("ready again"),
        Health::Ok => tracing::warn!(reason, "not ready"),
    }
}

/// Whether the log takes writes and the store answers.
async fn health(embedded: &Embedded, scylla: Option<&store_scylla::Store>) -> Readiness {
    match embedded.health() {
        Health::Ok => {}
        Health::Damaged { file, reason } => {
            return Readiness::not_ready(format!("{file}: {reason}"));
        }
        Health::Failed { file, reason } => {
            return Readiness::not_ready(format!("{file} takes no writes any more: {reason}"));
        }
    }
    match scylla {
        None => Readiness::ready(),
        Some(store) => match store.ping().await {
            Ok(()) => Readiness::ready(),
            Err(error) => Readiness::not_ready(format!(
                "the store does not answer ({}): deliveries wait until it does",
                cause(&error)
            )),
        },
    }
}

fn cause(error: &ports::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
