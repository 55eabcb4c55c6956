//! The process under test.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::keyspace::Keyspace;
use crate::logs::Logs;
use crate::topics::Topics;
use crate::{Cli, DEADLINE, Grpc, Rest, binary};

/// What stands before the address in the line that says that a process is ready (surface §2).
const READY: &str = "postrider ready on http://";
/// Lines of the log that a failure shows.
const TAIL_LINES: usize = 40;

/// How to start a process. The default is `postrider dev` on a free port and a fresh directory.
#[derive(Clone)]
pub struct Options {
    /// A shell script in the place of the binary; for the harness's own tests.
    script: Option<PathBuf>,
    subcommand: String,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    expected_errors: Vec<String>,
    /// Where the process keeps all but its events, if not in its directory.
    keyspace: Option<Arc<Keyspace>>,
    /// Where its events lie, if not in its directory.
    topics: Option<Arc<Topics>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            script: None,
            subcommand: "dev".into(),
            args: vec![],
            envs: vec![],
            expected_errors: vec![],
            keyspace: None,
            topics: None,
        }
    }
}

impl Options {
    /// Runs another subcommand than `dev`; it must take `--listen` and `--data-dir`.
    #[must_use]
    pub fn subcommand(mut self, name: &str) -> Self {
        self.subcommand = name.into();
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable of the process's environment, which has no other `POSTRIDER_…`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Accepts ERROR lines that contain `part`; any other fails the scenario.
    #[must_use]
    pub fn expect_error(mut self, part: impl Into<String>) -> Self {
        self.expected_errors.push(part.into());
        self
    }

    /// Starts the process on a directory of its own, and waits until it is ready.
    ///
    /// # Errors
    /// When the binary is missing, ends early, or is not ready within [`DEADLINE`]; with the end of its log.
    pub async fn start(mut self) -> Result<Server> {
        let data_dir = Arc::new(TempDir::new().context("a directory for the data")?);
        if self.script.is_none() && self.keyspace.is_none() {
            self.keyspace = Keyspace::of_scenario().await?.map(Arc::new);
            self.topics = Topics::of_scenario()?.map(Arc::new);
        }
        if self.keyspace.is_some() || self.topics.is_some() {
            self.migrate(data_dir.path()).await?;
        }
        self.start_on(data_dir).await
    }

    /// Makes keyspace, tables and topics as an operator does.
    async fn migrate(&self, data_dir: &Path) -> Result<()> {
        let mut migrate = command(binary::postrider()?);
        migrate.arg("migrate").arg("--data-dir").arg(data_dir);
        let output = migrate.envs(self.variables(data_dir)).output().await;
        let output = output.context("postrider migrate")?;
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "postrider migrate: {out}{err}");
        Ok(())
    }

    /// The whole environment of a process of the scenario.
    fn variables(&self, data_dir: &Path) -> Vec<(String, String)> {
        let keyspace = self.keyspace.iter().flat_map(|keyspace| keyspace.variables());
        let topics = self.topics.iter().flat_map(|topics| topics.variables(data_dir));
        let cluster = keyspace.chain(topics).map(|(name, value)| (name.to_owned(), value));
        cluster.chain(self.envs.iter().cloned()).collect()
    }

    /// Uses a keyspace on this node (`host:port`), whatever store the scenarios run on.
    #[must_use]
    pub fn store_on(mut self, node: impl Into<String>) -> Self {
        self.keyspace = Some(Arc::new(Keyspace::on(node.into())));
        self
    }

    async fn start_on(self, data_dir: Arc<TempDir>) -> Result<Server> {
        let logs = Logs::new();
        let mut process = match &self.script {
            None => command(binary::postrider()?),
            Some(_) => command("sh"),
        };
        let mut child = process
            .args(&self.script)
            .arg(&self.subcommand)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir.path())
            .args(&self.args)
            .envs(self.variables(data_dir.path()))
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
        Ok(Server { child, address, data_dir, logs, readers, options: self })
    }
}

/// Makes a command whose environment holds nothing of ours but what the scenario sets: the variables of the test run
/// (`POSTRIDER_LONG`, …) are no configuration.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTRIDER_") {
            command.env_remove(&name);
        }
    }
    command.env("NO_COLOR", "1").kill_on_drop(true);
    command
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

/// A running process. Dropping it kills it, and panics if it had logged an ERROR that was not expected.
pub struct Server {
    child: Child,
    address: SocketAddr,
    data_dir: Arc<TempDir>,
    logs: Logs,
    readers: [JoinHandle<()>; 2],
    options: Options,
}

impl Server {
    /// Starts `postrider dev`; see [`Options`] for other ways.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start() -> Result<Self> {
        Options::default().start().await
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the directory of its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Returns the id of the process, for what reads its memory or CPU time.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns a client of REST/JSON.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest::new(self.address)
    }

    /// Returns clients of gRPC, which connect at the first call.
    ///
    /// # Errors
    /// When the address is not one that a channel takes.
    pub fn grpc(&self) -> Result<Grpc> {
        Grpc::new(&self.url())
    }

    /// Returns a runner of the CLI against this server.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn cli(&self) -> Result<Cli> {
        Ok(Cli::new(binary::postrider()?, self.url()))
    }

    /// Returns all that the process printed so far.
    #[must_use]
    pub fn logs(&self) -> String {
        self.logs.text()
    }

    /// Waits for a line of output that contains `part`.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn wait_for_log(&self, part: &str) -> Result<String> {
        let line = self.logs.wait_for(|line| line.contains(part).then(|| line.to_owned()));
        timeout(DEADLINE, line).await.map_err(|_| anyhow!("no line of output with `{part}`"))
    }

    /// Kills it as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed, or had logged an unexpected ERROR.
    pub async fn kill(mut self) -> Result<Stopped> {
        self.child.kill().await.context("killing postrider")?;
        self.stopped().await
    }

    /// Asks it to end (SIGTERM), and waits until it has drained.
    ///
    /// # Errors
    /// When it does not end within [`DEADLINE`], ends with another code than 0, or had logged an unexpected ERROR.
    pub async fn terminate(self) -> Result<Stopped> {
        self.end_with("TERM").await
    }

    /// As [`Server::terminate`], with another signal that asks for a clean end.
    ///
    /// # Errors
    /// As [`Server::terminate`].
    pub async fn end_with(mut self, signal: &str) -> Result<Stopped> {
        let status = self.end_by_signal(signal).await?;
        ensure!(
            status.success(),
            "postrider ended with {status} after SIG{signal}:\n{}",
            self.logs.tail(TAIL_LINES)
        );
        self.stopped().await
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, …).
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("postrider has ended")?;
        // `kill` of the shell: no unsafe code, and no program that a small machine may lack.
        let status =
            Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().await?;
        ensure!(status.success(), "kill -{name} {id}: {status}");
        Ok(())
    }

    async fn end_by_signal(&mut self, name: &str) -> Result<ExitStatus> {
        self.signal(name).await?;
        timeout(DEADLINE, self.child.wait())
            .await
            .map_err(|_| {
                anyhow!("postrider did not end after SIG{name}:\n{}", self.logs.tail(TAIL_LINES))
            })?
            .context("waiting for postrider")
    }

    async fn stopped(mut self) -> Result<Stopped> {
        read_to_the_end(&mut self.readers).await?;
        let errors = self.logs.errors(&self.options.expected_errors);
        ensure!(errors.is_empty(), "unexpected errors in the log:\n{}", errors.join("\n"));
        Ok(Stopped {
            data_dir: Arc::clone(&self.data_dir),
            logs: self.logs.text(),
            options: self.options.clone(),
        })
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed scenario shows what the process said")]
    fn drop(&mut self) {
        // A scenario that fails by an `Err` is not panicking here; libtest shows this for failed ones alone.
        eprintln!("the end of postrider's output:\n{}", self.logs.tail(TAIL_LINES));
        if thread::panicking() {
            return;
        }
        let errors = self.logs.errors(&self.options.expected_errors);
        assert!(errors.is_empty(), "unexpected errors in the log:\n{}", errors.join("\n"));
    }
}

/// A process that has ended; its data is kept until this is dropped.
pub struct Stopped {
    data_dir: Arc<TempDir>,
    logs: String,
    options: Options,
}

impl Stopped {
    /// Starts it again, in the same way on the same data, on another port.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start(self) -> Result<Server> {
        self.options.start_on(self.data_dir).await
    }

    /// Starts it again on the same data, in another way.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start_with(self, mut options: Options) -> Result<Server> {
        options.keyspace.clone_from(&self.options.keyspace);
        options.topics.clone_from(&self.options.topics);
        options.start_on(self.data_dir).await
    }

    /// Tries to start it again on its data, in another way.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn try_with(&self, mut options: Options) -> Result<Server> {
        options.keyspace.clone_from(&self.options.keyspace);
        options.topics.clone_from(&self.options.topics);
        options.start_on(Arc::clone(&self.data_dir)).await
    }

    /// Tries to start it again on its data, which has to fail, and returns what it said.
    ///
    /// # Errors
    /// When it starts.
    pub async fn refuses(&self) -> Result<String> {
        match self.options.clone().start_on(Arc::clone(&self.data_dir)).await {
            Ok(server) => Err(anyhow!("it started on {}", server.data_dir().display())),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Returns the directory of its data, to be looked at or damaged.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Returns all that it printed.
    #[must_use]
    pub fn logs(&self) -> &str {
        &self.logs
    }
}

#[cfg(test)]
mod tests;
