//! The command line.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use crate::{DEADLINE, server};

/// Runs `postrider …` against one server.
#[derive(Clone, Debug)]
pub struct Cli {
    binary: PathBuf,
    server: String,
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; −1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Returns the standard output of a command that ended with 0.
    ///
    /// # Errors
    /// For any other code, with what it said.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}: {}{}", self.code, self.stderr, self.stdout);
        Ok(self.stdout)
    }

    /// Returns the standard output of a command that ended with 0, as JSON.
    ///
    /// # Errors
    /// As [`Output::ok`], and when the output is not JSON.
    pub fn json(self) -> Result<Value> {
        let stdout = self.ok()?;
        serde_json::from_str(&stdout).with_context(|| format!("not JSON: {stdout}"))
    }
}

/// A command that goes on until it is interrupted. Dropping it kills it.
pub struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Running {
    /// Returns its next line of standard output.
    ///
    /// # Errors
    /// When none comes within [`DEADLINE`], or it has ended.
    pub async fn line(&mut self) -> Result<String> {
        let line = timeout(DEADLINE, self.out.next_line()).await;
        let line = line.map_err(|_| anyhow!("no line within {} s", DEADLINE.as_secs()))??;
        line.context("the command closed its standard output")
    }

    /// Waits for a line of standard error that contains `part`, and returns it.
    ///
    /// # Errors
    /// As [`Running::line`].
    pub async fn said(&mut self, part: &str) -> Result<String> {
        let mut all = Vec::new();
        let found = async {
            while let Some(line) = self.err.next_line().await? {
                if line.contains(part) {
                    return Ok(line);
                }
                all.push(line);
            }
            Err(anyhow!("the command ended"))
        };
        let found = timeout(DEADLINE, found).await;
        let found = found.unwrap_or_else(|_| Err(anyhow!("not within {} s", DEADLINE.as_secs())));
        found.with_context(|| format!("waiting for {part:?}; it said {all:?}"))
    }

    /// Interrupts it as Ctrl-C does, and returns its exit code.
    ///
    /// # Errors
    /// When it does not end within [`DEADLINE`].
    pub async fn interrupt(mut self) -> Result<i32> {
        let id = self.child.id().context("the command has ended")?;
        let sent = Command::new("sh").args(["-c", &format!("kill -INT {id}")]).status().await?;
        ensure!(sent.success(), "kill -INT {id}: {sent}");
        let ended = timeout(DEADLINE, self.child.wait()).await;
        let status = ended.map_err(|_| anyhow!("it did not end after SIGINT"))??;
        Ok(status.code().unwrap_or(-1))
    }
}

impl Cli {
    pub(crate) fn new(binary: PathBuf, server: String) -> Self {
        Self { binary, server }
    }

    /// Runs a command without standard input.
    ///
    /// # Errors
    /// When it cannot be started, or does not end within [`DEADLINE`]; a code is none of the errors.
    pub async fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_with_input(args, b"").await
    }

    /// Starts a command that goes on until it is interrupted.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&self, args: &[&str]) -> Result<Running> {
        let mut child = server::command(&self.binary)
            .args(args)
            .env("POSTRIDER_SERVER", &self.server)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting postrider {}", args.join(" ")))?;
        let out = child.stdout.take().context("its standard output")?;
        let err = child.stderr.take().context("its standard error")?;
        let (out, err) = (BufReader::new(out).lines(), BufReader::new(err).lines());
        Ok(Running { child, out, err })
    }

    /// Runs a command that reads `input`.
    ///
    /// # Errors
    /// As [`Cli::run`].
    pub async fn run_with_input(&self, args: &[&str], input: &[u8]) -> Result<Output> {
        let mut child = server::command(&self.binary)
            .args(args)
            .env("POSTRIDER_SERVER", &self.server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting postrider {}", args.join(" ")))?;
        let mut stdin = child.stdin.take().context("its standard input")?;
        // A command that does not read its input may end before it is written.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let output = timeout(DEADLINE, child.wait_with_output())
            .await
            .map_err(|_| {
                anyhow!("postrider {} did not end within {} s", args.join(" "), DEADLINE.as_secs())
            })?
            .context("waiting for the command")?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
