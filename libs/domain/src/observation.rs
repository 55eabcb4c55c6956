//! What watchers see of an attempt.

use std::time::Duration;

use crate::{
    AttemptId, Disposition, EndpointId, EventRef, EventType, OutcomeKind, Timestamp, Trigger,
};

/// An attempt as watchers see it: no body, no excerpt, no URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// The event, and whose it is.
    pub event: EventRef,
    /// `resource.action`.
    pub event_type: EventType,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The request.
    pub attempt: AttemptId,
    /// When it began.
    pub time: Timestamp,
    /// 1-based within its run.
    pub number: u32,
    /// Why it was made.
    pub trigger: Trigger,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// How long it took.
    pub duration: Duration,
    /// What was decided.
    pub disposition: Disposition,
}
