//! Signals that end the process.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a process may take to finish what is in flight after the first signal: the default timeout of an attempt and a
/// little.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(35);

/// SIGTERM and SIGINT, from the moment it is made: neither ends the process by itself any more.
///
/// The first one asks to drain; a second one means at once, and it is for the caller to obey.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen. Needs a runtime.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and returns its name. Cancel safe: no signal is lost.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
