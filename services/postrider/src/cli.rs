//! The client of the API: one module for each noun, and what they share.

mod answer;
mod attempt;
mod connection;
mod dead_letter;
mod delivery;
mod endpoint;
mod event;
mod event_type;
mod job;
mod json;
mod listen;
mod names;
mod paging;
mod policy;
mod signature;
mod source;
mod stream;
mod subscription;
mod values;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) use connection::Api;
pub(crate) use signature::{SignArgs, VerifyArgs};

/// What every command of the client takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client options")]
pub(crate) struct Global {
    /// Address of the server
    #[arg(
        long,
        global = true,
        env = "POSTRIDER_SERVER",
        default_value = "http://127.0.0.1:7070",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) server: String,
    /// Certificates (PEM) that an https server is trusted by, instead of the public ones
    #[arg(
        long,
        global = true,
        env = "POSTRIDER_CA_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// API key
    #[arg(
        long,
        global = true,
        env = "POSTRIDER_API_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Option<String>,
    /// Tenant
    #[arg(
        long,
        global = true,
        env = "POSTRIDER_TENANT",
        default_value = "default",
        value_name = "ID",
        hide_env_values = true
    )]
    pub(crate) tenant: String,
    /// How to show the answer; json and yaml are the answers of the REST API
    #[arg(long, short, global = true, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// How answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For both
    Yaml,
}

/// Commands that call the API.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Receivers of webhooks: create, change, pause, test, rotate their secrets
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Which events an endpoint gets
    #[command(subcommand)]
    Subscription(subscription::Command),
    /// Publish events, look at them, send them again
    #[command(subcommand)]
    Event(event::Command),
    /// What events there are, what their data looks like, and whether it is checked
    #[command(subcommand)]
    EventType(event_type::Command),
    /// One event for one endpoint, over all its attempts
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Requests that were made, and what came of them
    #[command(subcommand)]
    Attempt(attempt::Command),
    /// Deliveries that were given up: look at them, send them again
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Deliver events of the log to an endpoint again, or to a new one
    Replay(job::ReplayArgs),
    /// Long work: replays, and redrives and purges of many dead letters
    #[command(subcommand)]
    Job(job::Command),
    /// Send events on to a server near by as they are published; needs no endpoint and no public address
    Listen(listen::ListenArgs),
}

/// Runs a command against the server.
///
/// # Errors
/// [`Failure`]; nothing was written to standard output then.
pub(crate) async fn run(
    command: Command,
    global: &Global,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let api = Api::connect(global).await?;
    let answer = match command {
        Command::Endpoint(command) => endpoint::run(command, &api, terminal).await?,
        Command::Subscription(command) => subscription::run(command, &api).await?,
        Command::Event(command) => event::run(command, &api).await?,
        Command::EventType(command) => event_type::run(command, &api).await?,
        Command::Delivery(command) => {
            match delivery::run(command, &api, global.output, terminal).await? {
                Some(answer) => answer,
                None => return Ok(()),
            }
        }
        Command::Attempt(command) => attempt::run(command, &api).await?,
        Command::DeadLetter(command) => dead_letter::run(command, &api, terminal).await?,
        Command::Replay(args) => job::replay(args, &api, terminal).await?,
        Command::Job(command) => job::run(command, &api, terminal).await?,
        Command::Listen(args) => return listen::run(args, &api, global.output, terminal).await,
    };
    answer.show(global.output, terminal)
}

/// Signs a body as a delivery would be signed.
///
/// # Errors
/// [`Failure`] when the secret or the body cannot be read.
pub(crate) fn sign(args: &SignArgs, format: Format, terminal: &Terminal) -> Result<(), Failure> {
    signature::sign(args)?.show(format, terminal)
}

/// Verifies a request's signature.
///
/// # Errors
/// [`Failure`] when it does not verify.
pub(crate) fn verify(
    args: &VerifyArgs,
    format: Format,
    terminal: &Terminal,
) -> Result<(), Failure> {
    signature::verify(args)?.show(format, terminal)
}
