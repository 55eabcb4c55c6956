//! How an endpoint fares: what its lanes say, over all shards.

use domain::{BreakerPhase, EndpointUid, LaneKey, LaneRow, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{App, Error};

/// Lanes that are read at once.
const READS_AT_ONCE: usize = 16;

/// How an endpoint fares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Health {
    /// The most of any lane.
    pub(crate) consecutive_failures: u32,
    /// The newest of any lane.
    pub(crate) last_success: Option<Timestamp>,
    /// The newest of any lane.
    pub(crate) last_failure: Option<Timestamp>,
    /// Whether any lane's breaker is open.
    pub(crate) is_open: bool,
    /// The sum over the lanes.
    pub(crate) waiting: u64,
    /// The oldest of any lane.
    pub(crate) oldest_due: Option<Timestamp>,
}

impl Health {
    fn add(mut self, lane: &LaneRow) -> Self {
        self.consecutive_failures = self.consecutive_failures.max(lane.breaker.failures);
        self.last_success = self.last_success.max(lane.last_success);
        self.last_failure = self.last_failure.max(lane.last_failure);
        self.is_open |= matches!(lane.breaker.phase, BreakerPhase::Open { .. });
        self.waiting = self.waiting.saturating_add(lane.waiting);
        self.oldest_due = [self.oldest_due, lane.oldest_due].into_iter().flatten().min();
        self
    }
}

impl App {
    /// Reads the lanes of an endpoint. One that has none fares well.
    pub(crate) async fn health(&self, endpoint: EndpointUid) -> Result<Health, Error> {
        let lanes: Vec<Option<LaneRow>> = stream::iter(self.deps.log.shards().all())
            .map(|shard| self.deps.lanes.get(LaneKey { shard, endpoint }))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(lanes.iter().flatten().fold(Health::default(), Health::add))
    }
}
