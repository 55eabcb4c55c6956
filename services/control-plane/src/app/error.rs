//! Why a call could not be done.

use std::fmt;

use domain::{DeliveryState, JobState, limits};

/// A field that is wrong. `field` is a path in the names of the API, such as `events[3].type`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    pub(crate) field: String,
    pub(crate) description: String,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)
    }
}

/// Why a call could not be done. One enum for all calls, since one place turns it into what the wire says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Fields are wrong; at least one.
    #[error("{}", summary(.0))]
    Invalid(Vec<Violation>),
    /// Events do not conform to the schemas of their types; at least one.
    #[error("{}", summary(.0))]
    SchemaViolation(Vec<Violation>),
    /// What the call names is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The id is taken.
    #[error("{0} exists already: choose another id, or change it with an update")]
    AlreadyExists(String),
    /// What is there is not the revision that the caller read.
    #[error("{0} has changed since its etag was read: read it again")]
    EtagMismatch(String),
    /// Others changed it at the same time, again and again.
    #[error("{0} is being changed by others at this moment: try again")]
    Contended(String),
    /// The same request id came with another request.
    #[error("request_id: it was used within the last 24 hours for another request; use a new UUID")]
    RequestIdReused,
    /// The same idempotency key came with another body.
    #[error("{field}: key {key:?} was used within the last 24 hours for another event")]
    IdempotencyKeyReused {
        /// The field that holds the key.
        field: String,
        /// The key.
        key: String,
    },
    /// The state of the endpoint forbids it.
    #[error("{name} is disabled ({reason}): resume it first")]
    EndpointDisabled {
        /// The endpoint.
        name: String,
        /// Why it is disabled.
        reason: String,
    },
    /// As many secrets as may be are live.
    #[error(
        "{0} has {max} live secrets already: wait until one ends, or rotate with a grace period of 0",
        max = limits::LIVE_SECRETS_MAX
    )]
    TooManySecrets(String),
    /// There are as many of something as may be.
    #[error("{what} has {max} {of} already, which is the most: delete some first")]
    QuotaExceeded {
        /// Whose quota.
        what: String,
        /// The most there may be.
        max: usize,
        /// Of what.
        of: &'static str,
    },
    /// As many calls watch as may.
    #[error("{0} calls watch already, which is the most: end one, or try again later")]
    TooManyWatchers(usize),
    /// Nothing of the delivery is pending.
    #[error("{name} is {} already: only a pending delivery can be cancelled", state_text(*.state))]
    NotPending {
        /// The delivery.
        name: String,
        /// Where it stands.
        state: DeliveryState,
    },
    /// The job has ended.
    #[error("{name} is {} already: only a job that is queued or running can be cancelled", job_text(*.state))]
    JobEnded {
        /// The job.
        name: String,
        /// Where it stands.
        state: JobState,
    },
    /// Another redrive of the dead letter is on its way.
    #[error("a redrive of {0} is under way already: wait for its end")]
    RedriveInProgress(String),
    /// A port could not do its part.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Key(#[from] ports::KeyError),
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}

/// The first fault, and how many more there are.
fn summary(violations: &[Violation]) -> String {
    match violations {
        [] => "the request is not valid".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// The state as the API writes it.
fn state_text(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "PENDING",
        DeliveryState::Succeeded => "SUCCEEDED",
        DeliveryState::DeadLettered => "DEAD_LETTERED",
        DeliveryState::Cancelled => "CANCELLED",
    }
}

/// The state as the API writes it.
fn job_text(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "QUEUED",
        JobState::Running => "RUNNING",
        JobState::Succeeded => "SUCCEEDED",
        JobState::Failed => "FAILED",
        JobState::Cancelled => "CANCELLED",
    }
}

/// Gathers faults, so that a caller sees all of them at once; the first 20.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Vec<Violation>);

/// Most faults in one answer.
pub(crate) const FAULTS_MAX: usize = 20;

impl Faults {
    pub(crate) fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(Violation::new(field, description));
        }
    }

    /// Takes the value, or notes the fault.
    pub(crate) fn check<T, E: fmt::Display>(
        &mut self,
        field: impl Into<String>,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error.to_string());
                None
            }
        }
    }

    pub(crate) fn take<T>(&mut self, result: Result<T, Violation>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(violation) => {
                self.add(violation.field, violation.description);
                None
            }
        }
    }

    /// The value, without which there is no going on; when it is missing, all faults so far.
    pub(crate) fn need<T>(&mut self, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| Error::Invalid(std::mem::take(&mut self.0)))
    }

    /// All faults so far.
    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= FAULTS_MAX
    }

    /// `Ok` when there are none.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(self.0))
    }

    /// The value, when there are no faults; it is missing only where one was noted.
    pub(crate) fn finish_with<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(Error::Invalid(self.0)),
        }
    }
}
