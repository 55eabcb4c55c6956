//! An attempt as it lies in the topic of outcomes: JSON, which producers may read (`docs/operations/kafka.md`).

use std::borrow::Cow;
use std::time::Duration;

use domain::{
    AttemptId, DeadLetterReason, Disposition, EndpointId, ErrorClass, EventId, EventRef, EventType,
    LogPosition, Observation, OutcomeKind, Position, Shard, TenantId, Timestamp, Trigger,
};
use serde::{Deserialize, Serialize};

/// One attempt. Times are RFC 3339; fields that say nothing are left out.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire<'a> {
    tenant: Cow<'a, str>,
    endpoint: Cow<'a, str>,
    event: Cow<'a, str>,
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    shard: u16,
    position: u64,
    attempt: Cow<'a, str>,
    time: Cow<'a, str>,
    number: u32,
    trigger: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
    duration_ms: f64,
    disposition: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_time: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
}

impl<'a> Wire<'a> {
    pub(crate) fn of(observation: &'a Observation) -> serde_json::Result<Vec<u8>> {
        let (status, error) = match observation.outcome {
            OutcomeKind::Answered(status) => (Some(status), None),
            OutcomeKind::Failed(class) => (None, Some(class.as_str().into())),
        };
        let (disposition, next, reason) = match observation.disposition {
            Disposition::Delivered => ("delivered", None, None),
            Disposition::Retry { next } => ("retry", Some(next.to_rfc3339().into()), None),
            Disposition::DeadLettered(reason) => {
                ("dead_lettered", None, Some(reason.as_str().into()))
            }
        };
        serde_json::to_vec(&Wire {
            tenant: observation.event.tenant.as_str().into(),
            endpoint: observation.endpoint.as_str().into(),
            event: observation.event.id.as_str().into(),
            event_type: observation.event_type.as_str().into(),
            shard: observation.event.at.shard.0,
            position: observation.event.at.position.0,
            attempt: observation.attempt.to_string().into(),
            time: observation.time.to_rfc3339().into(),
            number: observation.number,
            trigger: observation.trigger.as_str().into(),
            status,
            error,
            duration_ms: (observation.duration.as_secs_f64() * 1e6).round() / 1e3,
            disposition: disposition.into(),
            next_attempt_time: next,
            reason,
        })
    }

    /// `None` for what is no observation of this version.
    pub(crate) fn read(value: &'a [u8]) -> Option<Observation> {
        let wire: Self = serde_json::from_slice(value).ok()?;
        Some(Observation {
            event: EventRef {
                tenant: TenantId::parse(&wire.tenant).ok()?,
                id: EventId::parse(&wire.event).ok()?,
                at: LogPosition { shard: Shard(wire.shard), position: Position(wire.position) },
            },
            event_type: EventType::parse(&wire.event_type).ok()?,
            endpoint: EndpointId::parse(&wire.endpoint).ok()?,
            attempt: AttemptId::parse(&wire.attempt)?,
            time: Timestamp::parse_rfc3339(&wire.time)?,
            number: wire.number,
            trigger: Trigger::parse(&wire.trigger)?,
            outcome: match (wire.status, wire.error) {
                (Some(status), _) => OutcomeKind::Answered(status),
                (None, Some(class)) => OutcomeKind::Failed(ErrorClass::parse(&class)?),
                (None, None) => return None,
            },
            duration: Duration::try_from_secs_f64(wire.duration_ms / 1e3).ok()?,
            disposition: match &*wire.disposition {
                "delivered" => Disposition::Delivered,
                "retry" => {
                    Disposition::Retry { next: Timestamp::parse_rfc3339(&wire.next_attempt_time?)? }
                }
                "dead_lettered" => {
                    Disposition::DeadLettered(DeadLetterReason::parse(&wire.reason?)?)
                }
                _ => return None,
            },
        })
    }
}
