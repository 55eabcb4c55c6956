//! The process that is measured.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::place::Place;
use crate::usage::{Cpu, Io, Memory, Switches};

/// What stands before the address in the line of readiness (surface §2).
const READY: &str = "postrider ready on http://";
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long an orderly end may take: above the drain's own deadline.
const END_DEADLINE: Duration = Duration::from_secs(60);
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// A running `postrider dev`; killed when dropped.
pub(crate) struct Postrider {
    child: Child,
    /// Kept open, so that a later line does not end the process by SIGPIPE.
    _stdout: BufReader<ChildStdout>,
    id: u32,
    authority: String,
    start_up: Duration,
}

impl Postrider {
    /// Starts the process and waits until it is ready. Its log goes to this program's standard error, warnings and worse.
    pub(crate) async fn start(binary: &Path, place: &Place) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(binary)
            .args(["dev", "--log-filter", "warn", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(place.dir())
            .envs(place.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let id = child.id().context("postrider ended at once")?;
        let mut stdout = BufReader::new(child.stdout.take().context("its standard output")?);
        let authority = timeout(READY_DEADLINE, address(&mut stdout))
            .await
            .context("postrider did not say that it is ready")??;
        let start_up = started.elapsed();
        Ok(Self { child, _stdout: stdout, id, authority, start_up })
    }

    /// Asks it to end, and waits until it has saved everything.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let status =
            Command::new("sh").args(["-c", &format!("kill -TERM {}", self.id)]).status().await?;
        ensure!(status.success(), "asking postrider to end: {status}");
        let ended = timeout(END_DEADLINE, self.child.wait()).await;
        let status = ended.context("postrider did not end")??;
        ensure!(status.success(), "postrider ended with {status}");
        Ok(())
    }

    /// From starting the process to its line of readiness.
    pub(crate) fn start_up(&self) -> Duration {
        self.start_up
    }

    /// Its `host:port`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A connection for gRPC.
    pub(crate) async fn connect(&self) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.authority))?;
        let endpoint = endpoint.timeout(CALL_DEADLINE).tcp_nodelay(true);
        endpoint.connect().await.with_context(|| format!("connecting to {}", self.authority))
    }

    pub(crate) fn cpu(&self) -> Result<Cpu> {
        Cpu::of_process(self.id)
    }

    pub(crate) fn io(&self) -> Result<Io> {
        Io::of_process(self.id)
    }

    pub(crate) fn switches(&self) -> Result<Switches> {
        Switches::of_process(self.id)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of_process(self.id)
    }
}

async fn address(stdout: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut line = String::new();
    loop {
        line.clear();
        if stdout.read_line(&mut line).await? == 0 {
            bail!("postrider ended before it was ready; its log is above");
        }
        if let Some((_, address)) = line.split_once(READY) {
            return Ok(address.trim().to_owned());
        }
    }
}

/// Finds the binary to measure.
pub(crate) fn binary(asked: Option<&Path>) -> Result<PathBuf> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("postrider"),
    };
    ensure!(
        path.exists(),
        "{} is missing: build it with `cargo build --release --bin postrider`, or name one with --postrider",
        path.display()
    );
    Ok(path)
}
