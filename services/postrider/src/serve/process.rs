//! One process with its roles: started in order, supervised, drained.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use control_plane::JobRunner;
use control_plane::server::{Open, Readiness, Server, ServerOptions, StaticToken};
use delivery_worker::Worker;
use runtime::metrics::Registry;
use runtime::{Shutdown, Signals, TaskGroup};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tonic::service::Routes;

use super::config::{Mode, Role, Settings};
use super::engine::Engine;
use super::{identity, metrics};
use crate::failure::Failure;
use crate::terminal::{Terminal, Tone};

/// What tasks get beyond the drain deadline, which they keep themselves, before they are aborted.
const DRAIN_SLACK: Duration = Duration::from_secs(5);

/// Connections that the system keeps for us until we accept them.
const CONNECTIONS_WAITING: u32 = 1_024;

/// Roles that run in this process.
pub(crate) struct Process {
    address: SocketAddr,
    engine: Engine,
    tasks: TaskGroup,
    drain: Duration,
    notes: Vec<String>,
}

impl Process {
    /// Opens the engine, which may wait for its store, listens, and starts the roles. Calls are answered when this returns.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub(crate) async fn start(settings: &Settings, shutdown: Shutdown) -> Result<Self> {
        let token = identity::token(settings)?;
        let socket = bind(settings.listen)?;
        let address = socket.local_addr().context("the listener has no address")?;
        let mut policy = settings.egress.clone();
        // SE-2: no tenant reaches our own API through a delivery.
        policy.denied.push(address);
        let engine = Engine::open(settings, policy).await?;

        let mut tasks = TaskGroup::new(shutdown);
        let registry = metrics::of_process();
        let worker = settings.roles.contains(&Role::DeliveryWorker).then(|| {
            let (config, deps) = engine.delivery_worker(settings);
            let counted = deps.metrics.clone();
            let worker = Worker::new(config, deps);
            counted.register(&registry, &worker.alarms());
            worker
        });
        let readiness = engine.keep(&mut tasks, worker.as_ref().map(Worker::alarms));
        let stop = tasks.shutdown().clone();
        let listen = || socket.listen(CONNECTIONS_WAITING).map_err(|error| taken(address, error));
        if settings.roles.contains(&Role::ControlPlane) {
            let secret = token.as_ref().map(|token| token.secret.as_str());
            let options = options(settings, secret, registry)?;
            let (server, jobs) = control_plane(settings, &engine, readiness, options).await?;
            tasks.spawn("control-plane", server.serve(listen()?, stop.clone()));
            tasks.spawn("jobs", jobs.run(stop));
        } else {
            // Whoever watches the process asks it all the same; there is nothing else to ask.
            let options = options(settings, None, registry)?;
            let server = Server::new(Routes::default(), readiness, options)?;
            tasks.spawn("health", server.serve(listen()?, stop));
        }
        if let Some(worker) = worker {
            let stop = tasks.shutdown().clone();
            tasks.spawn("delivery-worker", Box::pin(worker.run(stop)));
        }
        let notes = notes(settings, token.and_then(|token| token.file).as_deref());
        tracing::info!(%address, data_dir = %settings.data_dir.display(), roles = ?settings.roles, "started");
        Ok(Self { address, engine, tasks, drain: settings.drain_deadline, notes })
    }

    /// `http://ADDRESS:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs until the shutdown is cancelled or a task ends early, then drains and closes.
    ///
    /// # Errors
    /// The task that ended early, or those that were overdue.
    pub(crate) async fn finish(self) -> Result<()> {
        let ended = self.tasks.run(self.drain + DRAIN_SLACK).await;
        self.engine.close().await;
        tracing::info!("stopped");
        Ok(ended?)
    }
}

/// What the operator of a first start has to know.
fn notes(settings: &Settings, token: Option<&Path>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(file) = token {
        let file = file.display();
        notes.push(format!("callers send the token in {file} as `Authorization: Bearer …`"));
    }
    if settings.mode == Mode::Serve {
        let file = identity::key_file(settings);
        let file = file.display();
        notes.push(format!("the keys in {file} seal all secrets: keep a copy of them elsewhere"));
    }
    notes
}

/// Takes the address. Connections are refused until somebody serves them: a start may have to wait, and what watches it must not take it for one that is up.
fn bind(address: SocketAddr) -> Result<TcpSocket> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of the last process may linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|error| taken(address, error))
}

fn taken(address: SocketAddr, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!(
        "cannot listen on {address}: stop what does, or choose another with --listen"
    ))
}

async fn control_plane(
    settings: &Settings,
    engine: &Engine,
    readiness: watch::Receiver<Readiness>,
    options: ServerOptions,
) -> Result<(Server, JobRunner)> {
    let (config, deps) = engine.control_plane(settings);
    control_plane::ensure_default_tenant(&deps).await?;
    deps.metrics.register(&options.metrics);
    let (routes, jobs) = control_plane::build(config, deps);
    Ok((Server::new(routes, readiness, options)?, jobs))
}

fn options(settings: &Settings, token: Option<&str>, metrics: Registry) -> Result<ServerOptions> {
    let mut options = ServerOptions::default();
    options.metrics = metrics;
    options.drain_timeout = settings.drain_deadline;
    options.auth = match token {
        Some(token) => Arc::new(StaticToken::new(token).context("auth.token")?),
        None => Arc::new(Open),
    };
    Ok(options)
}

/// Runs a process until a signal ends it.
///
/// # Errors
/// What kept it from starting, or ended it early.
pub(crate) async fn run(settings: Settings, terminal: &Terminal) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let shutdown = Shutdown::new();
    // The start may wait for the store: a signal ends that at once, since nothing is on its way yet.
    let process = tokio::select! {
        started = Process::start(&settings, shutdown.clone()) => started?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it had started");
            return Ok(());
        }
    };
    for note in &process.notes {
        terminal.note(terminal.err(Tone::Faint, note));
    }
    terminal.data(format_args!("postrider ready on {}", process.url()))?;
    let mut finish = pin!(process.finish());
    tokio::select! {
        ended = &mut finish => return Ok(ended?),
        signal = signals.next() => {
            tracing::info!(signal, deadline = ?settings.drain_deadline, "draining; a second signal ends at once");
            shutdown.cancel();
        }
    }
    tokio::select! {
        ended = &mut finish => Ok(ended?),
        signal = signals.next() => Err(Failure::Other(anyhow::anyhow!(
            "ended at once by {signal}: what was in flight is delivered again at the next start"
        ))),
    }
}
