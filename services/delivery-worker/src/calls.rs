//! Calls into ports: each ends by a deadline, and is repeated for as long as that can help.

use std::error::Error as _;
use std::time::Duration;

use ports::{Clock, Error, ErrorKind};

/// Longest that a call may take; a store's own timeouts are shorter.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait before a call that failed in a way that passes.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Wait before a call that needs a person first.
const WAIT_FOR_PERSON: Duration = Duration::from_secs(30);

/// Waits for a call, but not for ever. One that did not end may have happened.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    call: impl Future<Output = ports::Result<T>>,
) -> ports::Result<T> {
    tokio::select! {
        biased;
        answer = call => answer,
        () = clock.sleep(DEADLINE) => {
            Err(Error::new(ErrorKind::Unknown, format!("no answer within {DEADLINE:?}")))
        }
    }
}

/// How long to wait before the same call again.
pub(crate) fn next_wait(error: &Error, wait: Duration) -> Duration {
    if error.is_retryable() { wait.min(WAIT_MAX) } else { WAIT_FOR_PERSON }
}

/// The cause of an error, where it has one.
pub(crate) fn cause(error: &Error) -> Option<String> {
    error.source().map(ToString::to_string)
}

/// What a person has to do about an error that does not pass by itself.
pub(crate) fn remedy(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::TooLarge => {
            "the store refuses its size: raise the store's limit, or lower the limit of events' bodies"
        }
        ErrorKind::Corrupt => {
            "the store gives what cannot be read: repair or restore that part of it"
        }
        ErrorKind::Fenced => {
            "the store says that another owner took over: see that no two processes share an identity, then restart this one"
        }
        ErrorKind::Bug => "a bug: report it with this line",
        ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full => "it is tried again",
    }
}
