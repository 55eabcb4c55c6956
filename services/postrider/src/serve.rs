//! Starting roles: `dev`, `serve`, and what checks a deployment.

mod check;
mod cluster;
mod config;
mod doctor;
mod engine;
mod health;
mod identity;
mod metrics;
mod process;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::terminal::{Environment, Terminal, Tone};

pub(crate) use check::{check, migrate};
pub(crate) use config::{Mode, Settings};
pub(crate) use doctor::doctor;
pub(crate) use process::Process;

/// What `postrider dev` takes.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to keep data; made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// What `postrider serve` takes.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file; without one the embedded engine is used
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Roles to run, separated by commas: control-plane, delivery-worker (default: all)
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where to keep data; made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keys that seal secrets (default: `keys` in the data directory, made at the first start)
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// How logs look.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Log lines: auto (text on a terminal, else json), text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log level, or target=level pairs
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

/// What `postrider doctor` and `postrider migrate` take.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the data is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Flags over the environment over the file, each with its name for errors.
type Flags = Vec<(&'static str, Option<String>, &'static str)>;

fn flag_path(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

impl LogArgs {
    fn flags(&self) -> Flags {
        vec![
            ("logging.format", self.log_format.clone(), "--log-format"),
            ("logging.filter", self.log_filter.clone(), "--log-filter"),
        ]
    }
}

impl DevArgs {
    fn flags(&self) -> Flags {
        let mut flags = self.log.flags();
        flags.extend([
            ("listen", self.listen.map(|address| address.to_string()), "--listen"),
            ("data_dir", flag_path(self.data_dir.as_deref()), "--data-dir"),
        ]);
        flags
    }
}

impl ServeArgs {
    fn flags(&self) -> Flags {
        let mut flags = self.log.flags();
        flags.extend([
            ("roles", self.roles.clone(), "--roles"),
            ("listen", self.listen.map(|address| address.to_string()), "--listen"),
            ("data_dir", flag_path(self.data_dir.as_deref()), "--data-dir"),
            ("secrets.key_file", flag_path(self.key_file.as_deref()), "--key-file"),
        ]);
        flags
    }
}

/// Reads the environment, once for the whole process. Variables that are not UTF-8 are none of ours.
pub(crate) fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// `postrider dev`
pub(crate) fn dev(
    args: &DevArgs,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = config::load(Mode::Dev, None, environment, &args.flags())?;
    init_logs(&settings, terminal)?;
    terminal.note(terminal.err(
        Tone::Warn,
        "postrider dev: no authentication, and deliveries may go to this machine (loopback). Not for production: use `postrider serve`.",
    ));
    run(settings, terminal)
}

/// `postrider serve`
pub(crate) fn serve(
    args: &ServeArgs,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = config::load(Mode::Serve, args.config.as_deref(), environment, &args.flags())?;
    init_logs(&settings, terminal)?;
    run(settings, terminal)
}

/// Settings without a file, for what runs a process of its own.
pub(crate) fn settings(
    mode: Mode,
    environment: &Environment,
    flags: &[(&'static str, Option<String>, &'static str)],
) -> Result<Settings, Failure> {
    config::load(mode, None, environment, flags)
}

fn init_logs(settings: &Settings, terminal: &Terminal) -> Result<(), Failure> {
    runtime::telemetry::init(settings.log_format, &settings.log_filter, terminal.colour)
        .map_err(|error| Failure::Usage(error.to_string()))
}

fn run(settings: Settings, terminal: &Terminal) -> Result<(), Failure> {
    block_on(process::run(settings, terminal))
}

/// Runs a server's future to its end. What is still running then, such as a stuck DNS lookup, is left behind.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("postrider")
        .build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// Runs a client's future to its end on this thread.
pub(crate) fn block_on_one_thread<T>(
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}
