//! What an error is on the wire: the one place that knows. Reasons are append-only.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use ports::{ErrorKind, KeyError};
use tonic::{Code, Status};
use wire::rpc;
use wire::status::Details;

use crate::app::{Error, PublishFailure, Violation};

/// After which callers try again when a dependency was away.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// After which callers try again when there was no room.
const RETRY_LATER: Duration = Duration::from_secs(60);
/// What callers see of our own bugs; the rest is in the log.
const BUG_TEXT: &str = "internal error: it is in the server's log";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(violations) => fields(Details::reason("INVALID_FIELD"), violations)
                .status(Code::InvalidArgument, message),
            Error::SchemaViolation(violations) => {
                fields(Details::reason("SCHEMA_VIOLATION"), violations)
                    .status(Code::InvalidArgument, message)
            }
            Error::NotFound(_) => Details::reason("NOT_FOUND").status(Code::NotFound, message),
            Error::AlreadyExists(_) => {
                Details::reason("ALREADY_EXISTS").status(Code::AlreadyExists, message)
            }
            Error::EtagMismatch(_) => {
                Details::reason("ETAG_MISMATCH").status(Code::Aborted, message)
            }
            Error::Contended(_) => Details::reason("CONTENDED")
                .with_retry_after(RETRY_SOON)
                .status(Code::Aborted, message),
            Error::RequestIdReused => Details::reason("REQUEST_ID_REUSED")
                .with_field("request_id", bare(&message))
                .status(Code::InvalidArgument, message),
            Error::IdempotencyKeyReused { field, key } => Details::reason("IDEMPOTENCY_KEY_REUSED")
                .with_metadata("key", key)
                .with_field(field, bare(&message))
                .status(Code::AlreadyExists, message),
            Error::EndpointDisabled { .. } => {
                Details::reason("ENDPOINT_DISABLED").status(Code::FailedPrecondition, message)
            }
            Error::TooManySecrets(_) => {
                Details::reason("TOO_MANY_SECRETS").status(Code::FailedPrecondition, message)
            }
            Error::QuotaExceeded { .. } => Details::reason("QUOTA_EXCEEDED")
                .with_retry_after(RETRY_LATER)
                .status(Code::ResourceExhausted, message),
            Error::TooManyWatchers(_) => Details::reason("TOO_MANY_WATCHERS")
                .with_retry_after(RETRY_LATER)
                .status(Code::ResourceExhausted, message),
            Error::NotPending { .. } => {
                Details::reason("DELIVERY_NOT_PENDING").status(Code::FailedPrecondition, message)
            }
            Error::JobEnded { .. } => {
                Details::reason("JOB_ENDED").status(Code::FailedPrecondition, message)
            }
            Error::RedriveInProgress(_) => {
                Details::reason("REDRIVE_IN_PROGRESS").status(Code::Aborted, message)
            }
            Error::Port(error) => of_port(error),
            Error::Key(error) => of_key(&error),
        }
    }
}

impl From<Violation> for Status {
    fn from(violation: Violation) -> Self {
        Error::from(violation).into()
    }
}

/// A message without the field that it begins with: details name the field apart.
fn bare(message: &str) -> &str {
    message.split_once(": ").map_or(message, |(_, rest)| rest)
}

fn fields(details: Details, violations: Vec<Violation>) -> Details {
    violations.into_iter().fold(details, |details, violation| {
        details.with_field(violation.field, violation.description)
    })
}

fn of_port(error: ports::Error) -> Status {
    let (code, details, message) = of_kind(error.kind(), error.to_string());
    let mut status = details.status(code, message);
    match error.kind() {
        ErrorKind::Bug | ErrorKind::Corrupt => {
            let source = error.source().map(ToString::to_string);
            tracing::error!(%error, source, "a call failed by a fault of ours");
        }
        // Callers do not see it; `outage` logs it.
        ErrorKind::Unavailable
        | ErrorKind::Unknown
        | ErrorKind::Fenced
        | ErrorKind::TooLarge
        | ErrorKind::Full => {
            status.set_source(Arc::new(error));
        }
    }
    status
}

/// The dependency's error behind an answer: `of_port` leaves it there.
pub(super) fn fault<B>(answer: &http::Response<B>) -> Option<&ports::Error> {
    answer.extensions().get::<Status>()?.source()?.downcast_ref()
}

/// A fault of ours outside of any handler. The text is fixed; what happened goes to the log.
pub(crate) fn bug(error: &dyn std::fmt::Display) -> Status {
    tracing::error!(%error, "a call failed by a fault of ours");
    let (code, details, message) = of_kind(ErrorKind::Bug, String::new());
    details.status(code, message)
}

/// A call took longer than the server, or its caller, allows.
pub(crate) fn late(limit: Duration) -> Status {
    let message = format!("the call took longer than {limit:?}; it may have happened");
    Details::reason("DEADLINE_EXCEEDED").status(Code::DeadlineExceeded, message)
}

/// The server ends while an answer is under way.
pub(crate) fn shutting_down() -> Status {
    Details::reason("SHUTTING_DOWN")
        .with_retry_after(RETRY_SOON)
        .status(Code::Unavailable, "the server is shutting down")
}

/// A request that no gRPC frame holds.
pub(crate) fn too_large() -> Status {
    Details::reason("TOO_LARGE").status(Code::InvalidArgument, "the request is too large")
}

/// What a port's error is on the wire.
fn of_kind(kind: ErrorKind, message: String) -> (Code, Details, String) {
    let unavailable = |reason: &str| Details::reason(reason).with_retry_after(RETRY_SOON);
    match kind {
        ErrorKind::Unavailable => (Code::Unavailable, unavailable("UNAVAILABLE"), message),
        ErrorKind::Unknown => {
            let message = format!("{message}; it may have happened: repeat the same call");
            (Code::Unavailable, unavailable("OUTCOME_UNKNOWN"), message)
        }
        ErrorKind::Fenced => (Code::Unavailable, unavailable("FENCED"), message),
        ErrorKind::TooLarge => (Code::InvalidArgument, Details::reason("TOO_LARGE"), message),
        ErrorKind::Full => {
            let details = Details::reason("STORAGE_FULL").with_retry_after(RETRY_LATER);
            (Code::ResourceExhausted, details, message)
        }
        ErrorKind::Corrupt => (Code::DataLoss, Details::reason("DATA_CORRUPT"), message),
        ErrorKind::Bug => (Code::Internal, Details::reason("INTERNAL"), BUG_TEXT.to_owned()),
    }
}

fn of_key(error: &KeyError) -> Status {
    tracing::error!(%error, "a secret could not be sealed or opened");
    match error {
        KeyError::MissingKey(_) => Details::reason("KEY_UNAVAILABLE")
            .with_retry_after(RETRY_LATER)
            .status(Code::Unavailable, "the key that seals secrets is not available"),
        KeyError::Damaged => Details::reason("SECRET_DAMAGED")
            .status(Code::DataLoss, "the stored secret cannot be opened: rotate it"),
    }
}

/// What the failure of one event of a batch is on the wire; `field` is the event, such as `events[3]`.
pub(crate) fn of_failure(failure: PublishFailure, field: &str) -> rpc::Status {
    let is_too_large = failure.kind == ErrorKind::TooLarge;
    let (code, details, message) = of_kind(failure.kind, failure.message);
    if !is_too_large {
        return details.to_rpc(code, message);
    }
    details.with_field(field, message.as_str()).to_rpc(code, format!("{field}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_faults_name_every_field_and_nothing_is_unknown() {
        let status = Status::from(Error::Invalid(vec![
            Violation::new("events[3].type", "required"),
            Violation::new("events[4].id", "too long"),
        ]));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "events[3].type: required (and 1 more)");
        let details = Details::of(&status);
        let fields = details.bad_request.expect("details").field_violations;
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[0].field, "events[3].type");
    }

    #[test]
    fn every_kind_of_port_error_says_what_to_do() {
        for (kind, code, retry) in [
            (ErrorKind::Unavailable, Code::Unavailable, true),
            (ErrorKind::Unknown, Code::Unavailable, true),
            (ErrorKind::Fenced, Code::Unavailable, true),
            (ErrorKind::TooLarge, Code::InvalidArgument, false),
            (ErrorKind::Full, Code::ResourceExhausted, true),
            (ErrorKind::Corrupt, Code::DataLoss, false),
            (ErrorKind::Bug, Code::Internal, false),
        ] {
            let status = Status::from(Error::Port(ports::Error::new(kind, "secret detail")));
            assert_eq!(status.code(), code, "{kind:?}");
            assert_eq!(Details::of(&status).retry.is_some(), retry, "{kind:?}");
            if kind == ErrorKind::Bug {
                assert!(!status.message().contains("secret detail"));
            }
        }
    }

    #[test]
    fn errors_outside_of_handlers_have_reasons_too() {
        for (status, code, reason) in [
            (bug(&"secret detail"), Code::Internal, "INTERNAL"),
            (late(Duration::from_secs(1)), Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (shutting_down(), Code::Unavailable, "SHUTTING_DOWN"),
            (too_large(), Code::InvalidArgument, "TOO_LARGE"),
        ] {
            assert_eq!(status.code(), code);
            assert_eq!(wire::status::reason(&status).as_deref(), Some(reason));
            assert!(!status.message().contains("secret detail"));
        }
    }

    #[test]
    fn an_event_that_is_too_large_is_named() {
        let failure = PublishFailure { kind: ErrorKind::TooLarge, message: "1 MB".to_owned() };
        let status = of_failure(failure, "events[2]");
        let fields = Details::of_rpc(&status).bad_request.expect("details").field_violations;
        assert_eq!(fields[0].field, "events[2]");
        assert_eq!(status.message, "events[2]: 1 MB");
    }

    #[test]
    fn a_reused_key_names_its_field() {
        let status = Status::from(Error::IdempotencyKeyReused {
            field: "events[0].id".to_owned(),
            key: "k".to_owned(),
        });
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(wire::status::reason(&status).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
        let details = Details::of(&status);
        assert_eq!(details.bad_request.expect("details").field_violations[0].field, "events[0].id");
    }

    #[test]
    fn a_fault_of_a_dependency_is_found_behind_the_answer_and_nothing_else_is_one() {
        let answer = |error: Error| Status::from(error).into_http::<String>();
        let of_port = |kind| answer(Error::Port(ports::Error::new(kind, "away")));
        let found = of_port(ErrorKind::Unavailable);
        assert_eq!(fault(&found).map(ports::Error::kind), Some(ErrorKind::Unavailable));
        assert!(fault(&of_port(ErrorKind::Bug)).is_none(), "that is said at once, always");
        assert!(fault(&answer(Error::NotFound("x".to_owned()))).is_none());
        assert!(fault(&http::Response::new(())).is_none());
    }
}
