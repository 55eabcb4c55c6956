//! One process with its output.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::DEADLINE;
use crate::logs::Logs;

/// What stands before the address in the line that says that a process is ready (surface §2).
const READY: &str = "postrider ready on http://";
/// Lines of the log that a failure shows.
pub(super) const TAIL_LINES: usize = 40;

pub(super) struct Process {
    pub(super) child: Child,
    pub(super) address: SocketAddr,
    pub(super) logs: Logs,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts it, and waits until it says that it is ready.
    pub(super) async fn start(mut command: Command) -> Result<Self> {
        let logs = Logs::new();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting postrider")?;
        let mut readers = [
            logs.collect(child.stdout.take().context("its standard output")?),
            logs.collect(child.stderr.take().context("its standard error")?),
        ];
        let address = ready(&mut child, &logs, &mut readers).await?;
        Ok(Self { child, address, logs, readers })
    }

    /// Sends a signal by name.
    pub(super) async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("postrider has ended")?;
        // `kill` of the shell: no unsafe code, and no program that a small machine may lack.
        let status =
            Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await?;
        ensure!(status.success(), "kill -{name} {id}: {status}");
        Ok(())
    }

    /// Waits for its end, which has to be a clean one.
    pub(super) async fn ended_after(&mut self, signal: &str) -> Result<()> {
        let ended = timeout(DEADLINE, self.child.wait()).await;
        let tail = || self.logs.tail(TAIL_LINES);
        let status = ended
            .map_err(|_| anyhow!("postrider did not end after SIG{signal}:\n{}", tail()))?
            .context("waiting for postrider")?;
        ensure!(status.success(), "postrider ended with {status} after SIG{signal}:\n{}", tail());
        Ok(())
    }

    /// How many shards its worker owns, as its log tells.
    pub(super) fn shards(&self) -> usize {
        let text = self.logs.text();
        let (took, gave) = ("took a shard over", "gave a shard up");
        text.matches(took).count().saturating_sub(text.matches(gave).count())
    }

    pub(super) async fn read_to_the_end(&mut self) -> Result<()> {
        read_to_the_end(&mut self.readers).await
    }
}

async fn ready(
    child: &mut Child,
    logs: &Logs,
    readers: &mut [JoinHandle<()>; 2],
) -> Result<SocketAddr> {
    let line = logs.wait_for(|line| line.split_once(READY).map(|(_, rest)| rest.trim().to_owned()));
    let address = tokio::select! {
        address = timeout(DEADLINE, line) => address
            .map_err(|_| anyhow!("postrider was not ready within {} s:\n{}", DEADLINE.as_secs(), logs.tail(TAIL_LINES)))?,
        status = child.wait() => {
            let status = status.context("waiting for postrider")?;
            // Its last words may still be on their way.
            read_to_the_end(readers).await?;
            return Err(anyhow!("postrider ended before it was ready ({status}):\n{}", logs.tail(TAIL_LINES)));
        }
    };
    address.parse().with_context(|| format!("`{address}` in the line of readiness"))
}

async fn read_to_the_end(readers: &mut [JoinHandle<()>; 2]) -> Result<()> {
    for reader in readers {
        timeout(DEADLINE, reader)
            .await
            .context("the end of its output")?
            .context("reading its output")?;
    }
    Ok(())
}
