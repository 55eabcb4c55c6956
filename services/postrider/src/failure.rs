//! How a command fails, what people are told, and the exit code.

use std::io;
use std::process::ExitCode;

use tonic::{Code, Status};
use wire::status::Details;

use crate::terminal::{Terminal, Tone};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed cannot be right: exit code 2.
    Usage(String),
    /// The server answered with an error.
    Api(Box<Status>),
    /// No server answered.
    Unreachable {
        /// Where.
        server: String,
        /// What went wrong.
        cause: String,
    },
    /// Anything else, with what to do when it is known.
    Other(anyhow::Error),
    /// Nobody reads our output any more: not a failure to report.
    Unread,
    /// All was said already.
    Said,
}

impl Failure {
    /// Tells people on standard error and returns the exit code.
    pub(crate) fn report(&self, terminal: &Terminal) -> ExitCode {
        let error = terminal.err(Tone::Bad, "error:");
        match self {
            Self::Usage(message) => {
                terminal.note(format!("{error} {message}"));
                return ExitCode::from(2);
            }
            Self::Api(status) => {
                terminal.note(format!("{error} {}", status.message()));
                for line in details(status) {
                    terminal.note(format!("  {line}"));
                }
            }
            Self::Unreachable { server, cause } => {
                terminal.note(format!("{error} no server at {server}: {cause}"));
            }
            Self::Other(other) => terminal.note(format!("{error} {other:#}")),
            Self::Unread => return ExitCode::SUCCESS,
            Self::Said => return ExitCode::FAILURE,
        }
        if let Some(hint) = self.hint() {
            terminal.note(format!("{} {hint}", terminal.err(Tone::Warn, "hint:")));
        }
        ExitCode::FAILURE
    }

    /// The next thing to try.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Api(status) => api_hint(status).map(str::to_owned),
            Self::Unreachable { .. } => Some(
                "start one with `postrider dev`, or name another with --server or POSTRIDER_SERVER"
                    .to_owned(),
            ),
            Self::Usage(_) | Self::Other(_) | Self::Unread | Self::Said => None,
        }
    }
}

/// The reason for programs, then one line for each field that was wrong.
fn details(status: &Status) -> Vec<String> {
    let details = Details::of(status);
    let reason = details.info.map_or_else(|| format!("{:?}", status.code()), |info| info.reason);
    let fields = details.bad_request.map(|bad| bad.field_violations);
    let fields = fields
        .into_iter()
        .flatten()
        .filter(|violation| !status.message().contains(&violation.description))
        .map(|violation| format!("{}: {}", violation.field, violation.description));
    let retry = details
        .retry
        .and_then(|retry| retry.retry_delay)
        .map(|delay| format!("try again in {} s", delay.seconds.max(1)));
    std::iter::once(format!("reason: {reason}")).chain(fields).chain(retry).collect()
}

fn api_hint(status: &Status) -> Option<&'static str> {
    match wire::status::reason(status).as_deref() {
        Some("IDEMPOTENCY_KEY_REUSED") => {
            return Some("another event needs another --id or --idempotency-key");
        }
        Some("TOO_MANY_SECRETS") => {
            return Some("wait until one ends, or revoke the old ones with --grace-period 0");
        }
        Some("SCHEMA_VIOLATION") => {
            return Some("`postrider event-type get TYPE` shows the schemas");
        }
        _ => {}
    }
    match status.code() {
        Code::Unauthenticated => Some("give a key with --api-key or POSTRIDER_API_KEY"),
        Code::PermissionDenied => Some("this key may not do that; use one that may"),
        Code::NotFound => {
            Some("`postrider endpoint list` and `postrider event list` show what there is")
        }
        Code::AlreadyExists => Some("choose another --id, or change what is there with `update`"),
        Code::Aborted => Some("something else is changing it: look at it again, then repeat"),
        Code::FailedPrecondition => {
            Some("`postrider endpoint get ID` shows its state; `resume` makes it active")
        }
        Code::Unavailable | Code::ResourceExhausted => Some("repeat the command; it is safe"),
        Code::DeadlineExceeded => {
            Some("the server did not answer in time: `postrider doctor` looks for the cause")
        }
        Code::Unimplemented => {
            Some("this server is older than this program: use the same version of both")
        }
        Code::Internal | Code::Unknown | Code::DataLoss => {
            Some("the server's log says more; this is worth a bug report")
        }
        Code::Ok | Code::Cancelled | Code::InvalidArgument | Code::OutOfRange => None,
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Api(Box::new(status))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::Other(error.into())
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_told_with_what_is_allowed() {
        let status = Details::reason("INVALID_FIELD")
            .with_field("endpoint.url", "must be https")
            .with_field("subscriptions[0].event_types", "must not be empty")
            .status(Code::InvalidArgument, "2 fields are wrong");
        assert_eq!(
            details(&status),
            [
                "reason: INVALID_FIELD",
                "endpoint.url: must be https",
                "subscriptions[0].event_types: must not be empty"
            ]
        );
    }

    #[test]
    fn an_unreachable_server_says_how_to_start_one() {
        let failure = Failure::Unreachable {
            server: "http://127.0.0.1:7070".to_owned(),
            cause: "connection refused".to_owned(),
        };
        assert!(failure.hint().is_some_and(|hint| hint.contains("postrider dev")));
    }
}
