//! Pure types and rules of webhook delivery.
//!
//! What a tenant, an event, an endpoint, a subscription, an attempt and a dead letter *are*, which texts are valid for them, which events match, and
//! what bytes go out for an event. Nothing here does I/O, reads a clock or draws a random number: times and ids come in from outside.
//!
//! It deliberately does not decide when anything is sent (crate `delivery`), and knows neither protobuf nor SQL.

mod attempt;
mod backlog;
mod command;
mod dead_letter;
mod delivery_state;
pub mod egress_policy;
mod endpoint;
mod event;
mod event_type;
mod filter;
mod header_rules;
mod held;
mod idempotency;
mod ids;
mod job;
mod lane;
pub mod limits;
mod matching;
mod murmur2;
mod observation;
mod outcome;
mod payload;
mod policy;
mod position;
pub mod record;
mod subscription;
mod time;

pub use attempt::{Attempt, Disposition, Fact, FactKind, LastKnown, RunEnd, RunState, Trigger};
pub use backlog::{BacklogKey, BacklogRow, Seq, WaitReason};
pub use command::{Command, CommandId, CommandKind};
pub use dead_letter::{DeadLetter, DeadLetterId, DeadLetterReason, Resolution};
pub use delivery_state::{DeliveryState, DeliverySummary};
pub use endpoint::{DisableReason, Endpoint, EndpointState, SealedSecret};
pub use event::{ApiVersion, ContentType, Event, EventRef, is_channel};
pub use event_type::{RegisteredType, Schemas, TypeEntry};
pub use filter::{Filter, FilterError, FilterInput};
pub use header_rules::{HeaderError, check_custom_header};
pub use held::{HeldRow, Line, LineRow};
pub use idempotency::Content;
pub use ids::{
    AttemptId, EndpointId, EndpointUid, EventId, EventType, IdError, RunId, SubscriptionId,
    TenantId,
};
pub use job::{Job, JobCounts, JobCursor, JobId, JobKind, JobLease, JobState, LetterFilter};
pub use lane::{BreakerPhase, BreakerState, LaneKey, LaneRow};
pub use matching::Matcher;
pub use murmur2::{murmur2, shard_of_key};
pub use observation::Observation;
pub use outcome::{ErrorClass, Outcome, OutcomeKind, RetryAfter};
pub use payload::{Payload, payload};
pub use policy::{
    DeliveryPolicy, Ordering, PayloadFormat, PolicyError, RateLimit, RetrySchedule, SignatureScheme,
};
pub use position::{Epoch, LogPosition, Position, Revision, Shard};
pub use subscription::{EventPattern, PatternError, Subscription};
pub use time::Timestamp;
