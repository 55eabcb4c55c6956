//! What outlives the owner of a lane.

use crate::{BacklogKey, EndpointUid, Epoch, Position, Shard, TenantId, Timestamp};

/// Names a lane: one endpoint's deliveries of one shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaneKey {
    /// The shard.
    pub shard: Shard,
    /// The endpoint.
    pub endpoint: EndpointUid,
}

/// A lane as the store holds it, written by the shard's owner alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneRow {
    /// The lane.
    pub key: LaneKey,
    /// The endpoint's tenant.
    pub tenant: TenantId,
    /// The owner that wrote it.
    pub epoch: Epoch,
    /// Every backlog row at or before this key has been handed off.
    pub cursor: BacklogKey,
    /// The breaker as this owner saw it.
    pub breaker: BreakerState,
    /// The first position that was skipped while the endpoint was disabled; catching up starts here.
    pub skip_from: Option<Position>,
    /// Rows appended and not handed off, as the owner counts them.
    pub waiting: u64,
    /// First due time of the oldest delivery that waits, as far as known.
    pub oldest_due: Option<Timestamp>,
    /// When a delivery last succeeded.
    pub last_success: Option<Timestamp>,
    /// When an attempt last failed.
    pub last_failure: Option<Timestamp>,
}

impl LaneRow {
    /// A lane that remembers nothing yet.
    #[must_use]
    pub fn new(key: LaneKey, tenant: TenantId, epoch: Epoch) -> Self {
        Self {
            key,
            tenant,
            epoch,
            cursor: BacklogKey::START,
            breaker: BreakerState::default(),
            skip_from: None,
            waiting: 0,
            oldest_due: None,
            last_success: None,
            last_failure: None,
        }
    }
}

/// An endpoint's breaker (spec §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BreakerState {
    /// Consecutive failures.
    pub failures: u32,
    /// Consecutive answers of 401, 403, 404 or 410.
    pub refusals: u32,
    /// Open or closed.
    pub phase: BreakerPhase,
}

/// Whether deliveries go out freely.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BreakerPhase {
    /// They do.
    #[default]
    Closed,
    /// One attempt at a time, not before `next`.
    Open {
        /// When it opened.
        since: Timestamp,
        /// Attempts made since it opened; chooses the step of the pace.
        probes: u32,
        /// When the next attempt may start.
        next: Timestamp,
    },
}
