//! The process under test, or the processes.

mod operate;
mod process;
mod stopped;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::keyspace::Keyspace;
use crate::topics::{self, Topics};
use crate::{Cli, DEADLINE, Grpc, Output, Rest, binary};
use process::{Process, TAIL_LINES};

pub use stopped::Stopped;

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
    is_log_embedded: bool,
    are_roles_apart: bool,
    /// Shards of a further topic.
    more_shards: usize,
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
            is_log_embedded: false,
            are_roles_apart: roles_apart(),
            more_shards: 0,
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
        if self.script.is_none() && self.keyspace.is_none() && self.topics.is_none() {
            self.keyspace = Keyspace::of_scenario().await?.map(Arc::new);
            if !self.is_log_embedded {
                self.topics = Topics::of_scenario()?.map(Arc::new);
            }
        }
        if self.keyspace.is_some() || self.topics.is_some() {
            self.migrate(data_dir.path()).await?;
        }
        self.start_on(data_dir).await
    }

    /// Makes keyspace, tables and topics as an operator does.
    async fn migrate(&self, data_dir: &Path) -> Result<()> {
        self.operate("migrate", data_dir, &[]).await?.ok().map(drop).context("postrider migrate")
    }

    /// The whole environment of a process of the scenario.
    fn variables(&self, data_dir: &Path) -> Vec<(String, String)> {
        let keyspace = self.keyspace.iter().flat_map(|keyspace| keyspace.variables());
        let topics = self.topics.iter().flat_map(|topics| topics.variables(data_dir));
        let cluster = keyspace.chain(topics).map(|(name, value)| (name.to_owned(), value));
        cluster.chain(self.envs.iter().cloned()).collect()
    }

    /// Runs two processes with the API and three workers, on the broker and the node that the test runner started; none, and a line that says so, where
    /// there are none.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "a scenario says that it is left out")]
    pub fn on_a_cluster() -> Option<Self> {
        let (Some(topics), Some(keyspace)) = (Topics::of_runner(), Keyspace::of_runner()) else {
            eprintln!("left out: the runner names no broker or no node (make test starts both)");
            return None;
        };
        let (topics, keyspace) = (Some(Arc::new(topics)), Some(Arc::new(keyspace)));
        Some(Self { topics, keyspace, are_roles_apart: true, ..Self::default() })
    }

    /// Runs on these brokers (`host:port,…`): roles apart where the runner named a node for the store, else one process that keeps all but its events itself.
    #[must_use]
    pub fn on_brokers(brokers: String) -> Self {
        let keyspace = Keyspace::of_runner().map(Arc::new);
        let topics = Some(Arc::new(Topics::on_brokers(brokers)));
        Self { topics, keyspace, are_roles_apart: true, ..Self::default() }
    }

    /// The broker and the topic of events, where it runs on a cluster.
    #[must_use]
    pub fn events(&self) -> Option<(String, String)> {
        self.topics.as_ref().map(|topics| topics.events())
    }

    /// Reads events from a further topic of so many partitions, given as `kafka.topics` wants it.
    #[must_use]
    pub fn also_reads(mut self, topic: impl Into<String>, partitions: usize) -> Self {
        self.more_shards = partitions;
        self.env("POSTRIDER_KAFKA__TOPICS", topic)
    }

    /// Keeps events in the scenario's directory, whatever log the scenarios run on: for what is about the files there.
    #[must_use]
    pub fn embedded_log(mut self) -> Self {
        self.is_log_embedded = true;
        self
    }

    /// Uses a keyspace on this node (`host:port`), whatever store the scenarios run on.
    #[must_use]
    pub fn store_on(mut self, node: impl Into<String>) -> Self {
        self.keyspace = Some(Arc::new(Keyspace::on(node.into())));
        self
    }

    async fn start_on(self, data_dir: Arc<TempDir>) -> Result<Server> {
        let front = self.start_one(data_dir.path(), self.front_roles());
        let others = self.other_roles().iter();
        let others = others.map(|roles| self.start_one(data_dir.path(), Some(roles)));
        let (front, others) =
            futures::future::try_join(front, futures::future::try_join_all(others)).await?;
        let server = Server { front, others, data_dir, options: self };
        server.until_shards_are_shared_out().await?;
        Ok(server)
    }

    /// Whether the roles run in processes of their own: only a log and a store of a cluster can be shared by them.
    fn is_apart(&self) -> bool {
        self.topics.is_some() && self.keyspace.is_some() && self.are_roles_apart
    }

    /// The roles of the process that scenarios talk to; all, unless they are apart.
    fn front_roles(&self) -> Option<&'static str> {
        self.is_apart().then_some("control-plane")
    }

    /// The processes beside it.
    fn other_roles(&self) -> &'static [&'static str] {
        if self.is_apart() { &["control-plane", WORKER, WORKER, WORKER] } else { &[] }
    }

    async fn start_one(&self, data_dir: &Path, roles: Option<&str>) -> Result<Process> {
        let mut process = match &self.script {
            None => command(binary::postrider()?),
            Some(_) => command("sh"),
        };
        process
            .args(&self.script)
            .arg(&self.subcommand)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(&self.args)
            .envs(roles.map(|roles| ("POSTRIDER_ROLES", roles)))
            .envs(self.variables(data_dir));
        Process::start(process).await
    }
}

/// The role of a worker.
const WORKER: &str = "delivery-worker";
/// Processes with an API, where roles are apart.
const API_PROCESSES: usize = 2;

/// Whether the runner asks for one process a role.
fn roles_apart() -> bool {
    std::env::var_os("POSTRIDER_E2E_ROLES").is_some_and(|value| value == "apart")
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

/// A running Postrider: one process, or one a role. Dropping it kills all of it, and panics if it had logged an ERROR that was not expected.
pub struct Server {
    /// The one that scenarios talk to.
    front: Process,
    others: Vec<Process>,
    data_dir: Arc<TempDir>,
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

    /// Waits until every worker has its shards: what scenarios say of one endpoint's health holds while no shard moves.
    async fn until_shards_are_shared_out(&self) -> Result<()> {
        let workers: Vec<&Process> = self.others.iter().skip(API_PROCESSES - 1).collect();
        if workers.is_empty() {
            return Ok(());
        }
        let shared_out = || {
            let owned = workers.iter().map(|worker| worker.shards());
            let all = owned.clone().sum::<usize>() == topics::PARTITIONS + self.options.more_shards;
            all && owned.clone().all(|owned| owned > 0)
        };
        let looked = crate::wait::until("every worker to have its shards", async || {
            Ok(shared_out().then_some(()))
        });
        looked.await
    }

    /// Returns the broker and the topic of its events, where they lie on Kafka.
    #[must_use]
    pub fn events(&self) -> Option<(String, String)> {
        self.options.topics.as_ref().map(|topics| topics.events())
    }

    /// Starts another worker.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn add_worker(&mut self) -> Result<()> {
        let worker = self.options.start_one(self.data_dir.path(), Some(WORKER)).await?;
        self.others.push(worker);
        Ok(())
    }

    /// Tries to start another process with all roles, with these variables on top, which has to fail, and returns what it said.
    ///
    /// # Errors
    /// When it starts.
    pub async fn refuses_beside(&self, changes: &[(&str, &str)]) -> Result<String> {
        let mut options = self.options.clone();
        options.envs.extend(changes.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        match options.start_one(self.data_dir.path(), None).await {
            Ok(_) => Err(anyhow!("it started beside the others")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Asks a worker to end, and waits until it has drained. The workers after it move up.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub async fn end_worker(&mut self, number: usize) -> Result<()> {
        let mut worker = self.others.remove(API_PROCESSES - 1 + number);
        worker.signal("TERM").await?;
        worker.ended_after("TERM").await
    }

    /// Kills a worker as a power cut would. The workers after it move up.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_worker(&mut self, number: usize) -> Result<()> {
        let mut worker = self.others.remove(API_PROCESSES - 1 + number);
        worker.child.kill().await.context("killing a worker")
    }

    /// Sends a worker a signal by name.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn signal_worker(&self, number: usize, name: &str) -> Result<()> {
        let worker = self.others.get(API_PROCESSES - 1 + number);
        worker.context("no such worker")?.signal(name).await
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.front.address
    }

    /// Runs `postrider doctor` with the configuration of its processes, but for these variables.
    ///
    /// # Errors
    /// When it cannot be started; a code is none of the errors.
    pub async fn doctor(&self, changes: &[(&str, &str)]) -> Result<Output> {
        self.options.operate("doctor", self.data_dir.path(), changes).await
    }

    /// Returns where each of its processes listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.all().map(|process| process.address).collect()
    }

    /// Returns `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the directory of its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Returns the id of the process, for what reads its memory or CPU time.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.front.child.id()
    }

    /// Returns a client of REST/JSON.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest::new(self.address())
    }

    /// Returns clients of gRPC, which connect at the first call: to the last process with an API, where there are several.
    ///
    /// # Errors
    /// When the address is not one that a channel takes.
    pub fn grpc(&self) -> Result<Grpc> {
        let api = self.others.first().unwrap_or(&self.front);
        Grpc::new(&format!("http://{}", api.address))
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
        self.all().map(|process| process.logs.text()).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.front).chain(&self.others)
    }

    /// Waits for a line of output that contains `part`.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn wait_for_log(&self, part: &str) -> Result<String> {
        let lines = self.all().map(|process| {
            let found = |line: &str| line.contains(part).then(|| line.to_owned());
            Box::pin(process.logs.wait_for(found))
        });
        let line = futures::future::select_all(lines);
        let (line, ..) = timeout(DEADLINE, line)
            .await
            .map_err(|_| anyhow!("no line of output with `{part}`"))?;
        Ok(line)
    }

    /// Kills it as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed, or had logged an unexpected ERROR.
    pub async fn kill(mut self) -> Result<Stopped> {
        for process in std::iter::once(&mut self.front).chain(&mut self.others) {
            process.child.kill().await.context("killing postrider")?;
        }
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
        self.signal(signal).await?;
        for process in std::iter::once(&mut self.front).chain(&mut self.others) {
            process.ended_after(signal).await?;
        }
        self.stopped().await
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, …).
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn signal(&self, name: &str) -> Result<()> {
        for process in self.all() {
            process.signal(name).await?;
        }
        Ok(())
    }

    async fn stopped(mut self) -> Result<Stopped> {
        let mut logs = String::new();
        for process in std::iter::once(&mut self.front).chain(&mut self.others) {
            process.read_to_the_end().await?;
            let errors = process.logs.errors(&self.options.expected_errors);
            ensure!(errors.is_empty(), "unexpected errors in the log:\n{}", errors.join("\n"));
            logs.push_str(&process.logs.text());
        }
        Ok(Stopped { data_dir: Arc::clone(&self.data_dir), logs, options: self.options.clone() })
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a failed scenario shows what the process said")]
    fn drop(&mut self) {
        for process in self.all() {
            // A scenario that fails by an `Err` is not panicking here; libtest shows this for failed ones alone.
            eprintln!("the end of postrider's output:\n{}", process.logs.tail(TAIL_LINES));
        }
        if thread::panicking() {
            return;
        }
        for process in self.all() {
            let errors = process.logs.errors(&self.options.expected_errors);
            assert!(errors.is_empty(), "unexpected errors in the log:\n{}", errors.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests;
