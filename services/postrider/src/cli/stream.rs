//! Streams that the server ends from time to time, and servers that come back.

use std::time::Duration;

use ports::Clock as _;
use runtime::SystemClock;
use tonic::{Code, Response, Status, Streaming};

use crate::failure::Failure;
use crate::terminal::{Terminal, Tone};

/// Between two tries to reach a server that was lost.
const AGAIN: Duration = Duration::from_secs(1);

type Opened<M> = Result<Response<Streaming<M>>, Status>;

/// Follows a stream until something fails that waiting does not mend, or the caller is interrupted (Ctrl-C): that is no failure.
///
/// `open` is called again with what `take` made of the last message: where to go on. `begun` is called once, when the server has answered first.
///
/// # Errors
/// When the stream cannot be opened at first, or `take` fails.
pub(crate) async fn follow<M>(
    terminal: &Terminal,
    open: impl AsyncFn(String) -> Opened<M>,
    begun: impl FnOnce(),
    take: impl AsyncFnMut(M) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let first = open(String::new()).await?.into_inner();
    begun();
    tokio::select! {
        ended = go_on(terminal, first, open, take) => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn go_on<M>(
    terminal: &Terminal,
    mut stream: Streaming<M>,
    open: impl AsyncFn(String) -> Opened<M>,
    mut take: impl AsyncFnMut(M) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let mut token = String::new();
    loop {
        let ended = loop {
            match stream.message().await {
                Ok(Some(message)) => token = take(message).await?,
                Ok(None) => break None,
                Err(status) => break Some(status),
            }
        };
        let mut lost = false;
        if let Some(status) = ended {
            lost = say_lost(terminal, status, lost)?;
            clock.sleep(AGAIN).await;
        }
        stream = loop {
            match open(token.clone()).await {
                Ok(opened) => break opened.into_inner(),
                Err(status) => lost = say_lost(terminal, status, lost)?,
            }
            clock.sleep(AGAIN).await;
        };
        if lost {
            terminal.note(terminal.err(Tone::Faint, "the server is there again"));
        }
    }
}

/// Says once that the server was lost; always true.
fn say_lost(terminal: &Terminal, status: Status, was_said: bool) -> Result<bool, Failure> {
    if !passes(status.code()) {
        return Err(status.into());
    }
    if !was_said {
        let message = format!("lost the server ({}); trying again", status.message());
        terminal.note(terminal.err(Tone::Warn, message));
    }
    Ok(true)
}

/// Whether waiting may mend it: broken connections are `Unknown`, `Internal` or `Cancelled`.
fn passes(code: Code) -> bool {
    match code {
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Cancelled
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::ResourceExhausted => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
