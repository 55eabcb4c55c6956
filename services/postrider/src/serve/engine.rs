//! The adapters, opened, kept and closed: the one place that chooses among them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use control_plane::server::Readiness;
use delivery_worker::Alarms;
use domain::egress_policy::EgressPolicy;
use egress::Egress;
use embedded::{Embedded, InProcessObservations, Options};
use ports::{Clock, ConfigFeed, EventLog, Observations, Stores};
use runtime::{LocalKeys, Shutdown, SystemClock, SystemRng, TaskGroup};
use tokio::sync::watch;

use super::config::{LogKind, Role, Settings, StoreKind};
use super::health::{self, Watched};
use super::{cluster, identity};

/// How often expired rows are removed.
const MAINTAIN_EVERY: Duration = Duration::from_secs(60);
/// Everything that roles are given.
pub(crate) struct Engine {
    log: Arc<dyn EventLog>,
    feed: Arc<dyn ConfigFeed>,
    observations: Arc<dyn Observations>,
    stores: Stores,
    watched: Watched,
    /// The workers' group.
    group: String,
    keys: Arc<LocalKeys>,
    sender: Arc<Egress>,
    clock: Arc<SystemClock>,
    policy: EgressPolicy,
}

impl Engine {
    /// Opens the log, the store and everything else that can refuse to work. Waits for those of a cluster that do not answer yet.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub(crate) async fn open(settings: &Settings, policy: EgressPolicy) -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock::new());
        let keys = identity::keys(settings)?;
        let embedded = match settings.needs_data_dir() {
            true => {
                Some(Arc::new(Embedded::open(&settings.data_dir, Options::new(clock.clone()))?))
            }
            false => None,
        };
        let group = settings.group();
        let kafka = match &settings.log {
            LogKind::Embedded => None,
            LogKind::Kafka(cluster) => {
                let kafka = cluster::log(cluster, &clock).await?;
                if embedded.is_some() {
                    ensure!(
                        kafka.members(&group).await? == 0,
                        "another worker reads {}, and with store = \"embedded\" there can be one: stop it, or use store = \"scylla\" in every process",
                        cluster.events(),
                    );
                }
                Some(Arc::new(kafka))
            }
        };
        let log_id = match (&kafka, &embedded) {
            (Some(kafka), _) => kafka.id(),
            (None, Some(embedded)) => embedded.id(),
            (None, None) => unreachable!("a log is one of the two"),
        };
        let scylla = match &settings.store {
            StoreKind::Embedded => None,
            StoreKind::Scylla(cluster) => {
                Some(cluster::store(cluster, log_id, &clock).await?.store())
            }
        };
        let (log, feed): (Arc<dyn EventLog>, Arc<dyn ConfigFeed>) = match (&kafka, &embedded) {
            (Some(kafka), _) => (kafka.log(), kafka.feed()),
            (None, Some(embedded)) => (embedded.log(), embedded.feed()),
            (None, None) => unreachable!("a log is one of the two"),
        };
        let observations: Arc<dyn Observations> = match &kafka {
            Some(kafka) => kafka.observations(),
            None => Arc::new(InProcessObservations::new()),
        };
        let stores = match (&scylla, &embedded) {
            (Some(scylla), _) => Stores::of(scylla),
            (None, Some(embedded)) => Stores::of(&embedded.store()),
            (None, None) => unreachable!("a store is one of the two"),
        };
        let mut outward = egress::Settings::new(policy.clone());
        outward.ca_file.clone_from(&settings.ca_file);
        Ok(Self {
            log,
            feed,
            observations,
            stores,
            watched: Watched {
                embedded,
                kafka,
                scylla,
                has_api: settings.roles.contains(&Role::ControlPlane),
            },
            group,
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
            log: self.log.clone(),
            config: stores.config,
            idempotency: stores.idempotency,
            events: stores.events,
            lanes: stores.lanes,
            backlog: stores.backlog,
            inbox: stores.inbox,
            dead_letters: stores.dead_letters,
            jobs: stores.jobs,
            event_types: stores.event_types,
            feed: self.feed.clone(),
            observations: self.observations.clone(),
            keys: self.keys.clone(),
            clock: self.clock.clone(),
            rng: Arc::new(SystemRng::new()),
            metrics: control_plane::Metrics::default(),
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
            group: self.group.clone(),
            stalled_after: settings.stalled_after,
            ..delivery_worker::Config::default()
        };
        config.engine.in_flight_max = settings.in_flight;
        let deps = delivery_worker::Deps {
            log: self.log.clone(),
            events: stores.events,
            backlog: stores.backlog,
            lanes: stores.lanes,
            lines: stores.lines,
            dead_letters: stores.dead_letters,
            inbox: stores.inbox,
            idempotency: stores.idempotency,
            config: stores.config,
            feed: self.feed.clone(),
            observations: self.observations.clone(),
            keys: self.keys.clone(),
            sender: self.sender.clone(),
            clock: self.clock.clone(),
            rng: Arc::new(SystemRng::new()),
            metrics: delivery_worker::Metrics::default(),
        };
        (config, deps)
    }

    /// Starts what keeps the engine in order, and what tells whether it works.
    ///
    /// `alarms` are the delivering role's, where it runs in this process.
    pub(crate) fn keep(
        &self,
        tasks: &mut TaskGroup,
        alarms: Option<Alarms>,
    ) -> watch::Receiver<Readiness> {
        let delivers_only = !self.watched.has_api && alarms.is_some();
        let (tell, readiness) = watch::channel(if delivers_only {
            Readiness::not_ready(health::NO_SHARDS_YET)
        } else {
            Readiness::ready()
        });
        if let Some(embedded) = self.watched.embedded.clone() {
            let clock = self.clock.clone();
            tasks.spawn("maintenance", maintain(embedded, clock, tasks.shutdown().clone()));
        }
        let watched = self.watched.clone();
        let shutdown = tasks.shutdown().clone();
        let watching = health::watch(watched, self.clock.clone(), alarms, tell, shutdown);
        tasks.spawn("health", watching);
        readiness
    }

    /// Finishes what was handed in, leaves the workers' group, and frees the data directory.
    pub(crate) async fn close(&self) {
        if let Some(kafka) = &self.watched.kafka {
            kafka.close().await;
        }
        if let Some(embedded) = &self.watched.embedded {
            embedded.close().await;
        }
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
