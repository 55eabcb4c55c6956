//! What a delivery worker needs.

use std::sync::Arc;
use std::time::Duration;

use delivery::EngineConfig;
use domain::ApiVersion;
use ports::{
    BacklogStore, Clock, ConfigFeed, ConfigStore, DeadLetterStore, EventLog, EventStore,
    IdempotencyStore, InboxStore, KeyProvider, LaneStore, LineStore, Observations, Rng, Sender,
};

use crate::telemetry::Metrics;

/// Settings of the role.
#[derive(Clone, Debug)]
pub struct Config {
    /// The consumer group.
    pub group: String,
    /// Bounds of the engine.
    pub engine: EngineConfig,
    /// Version of events whose record has none.
    pub api_version: ApiVersion,
    /// `User-Agent` of every request.
    pub user_agent: Arc<str>,
    /// How long what is in flight may go on after the shutdown began.
    pub drain: Duration,
    /// How often cached revisions are read again, so that a lost hint heals (`architecture.md` §6).
    pub refresh: Duration,
    /// How often inboxes are polled (`architecture.md` §7).
    pub inbox_poll: Duration,
    /// How long an acked position may stand still while something waits, until its shard is told as stalled. The hand-off rule lets at most 45 s lie between
    /// a record and its hand-off (`architecture.md` §5); what is left of the default is for a store that is slow for a while.
    pub stalled_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group: "postrider-delivery".to_owned(),
            engine: EngineConfig::default(),
            api_version: ApiVersion::parse("2026-01-01").expect("the default version is valid"),
            user_agent: concat!("Postrider/", env!("CARGO_PKG_VERSION")).into(),
            drain: Duration::from_secs(35),
            refresh: Duration::from_secs(30),
            inbox_poll: Duration::from_secs(1),
            stalled_after: Duration::from_secs(120),
        }
    }
}

/// The ports that the role talks through.
#[derive(Clone)]
pub struct Deps {
    /// Where events come from.
    pub log: Arc<dyn EventLog>,
    /// Bodies and facts.
    pub events: Arc<dyn EventStore>,
    /// What waits.
    pub backlog: Arc<dyn BacklogStore>,
    /// What outlives this owner.
    pub lanes: Arc<dyn LaneStore>,
    /// What is held behind others of its ordering key.
    pub lines: Arc<dyn LineStore>,
    /// Deliveries that ended without success.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Commands.
    pub inbox: Arc<dyn InboxStore>,
    /// Publishers' keys.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Configuration.
    pub config: Arc<dyn ConfigStore>,
    /// Hints of its changes.
    pub feed: Arc<dyn ConfigFeed>,
    /// Who watches attempts.
    pub observations: Arc<dyn Observations>,
    /// Opens secrets.
    pub keys: Arc<dyn KeyProvider>,
    /// Sends requests.
    pub sender: Arc<dyn Sender>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// What it counts.
    pub metrics: Metrics,
}
