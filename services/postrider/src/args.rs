//! What a user may type, and which module does it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::{self, Global, SignArgs, VerifyArgs};
use crate::demo::DemoArgs;
use crate::failure::Failure;
use crate::serve::{self, DevArgs, ServeArgs, StoreArgs};
use crate::terminal::{Environment, Terminal};
use crate::{demo, terminal};

/// Delivers webhooks: signs events, sends them to every endpoint that subscribed, retries what fails, and keeps what cannot be
/// delivered.
#[derive(Debug, Parser)]
#[command(
    name = "postrider",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process for development: no authentication, loopback destinations allowed
    Dev(DevArgs),
    /// Run in production
    Serve(ServeArgs),
    /// Watch the whole job live: events published, signed, delivered, retried, dead-lettered, redriven
    Demo(DemoArgs),
    /// Make or upgrade what the store needs
    Migrate(StoreArgs),
    /// Check the deployment and say what is unsafe
    Doctor(StoreArgs),
    /// Configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(flatten)]
    Client(cli::Command),
    /// Verify a request's signature; no server needed
    Verify(VerifyArgs),
    /// Sign a body as a delivery would be signed; no server needed
    Sign(SignArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a configuration as `serve` would, and show what is in effect
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, ClapArgs)]
struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    /// Runs what was asked for.
    ///
    /// # Errors
    /// [`Failure`], to be reported.
    pub(crate) fn run(
        self,
        environment: &Environment,
        terminal: &Terminal,
    ) -> Result<ExitCode, Failure> {
        let Self { global, command } = self;
        match command {
            Command::Dev(args) => serve::dev(&args, environment, terminal),
            Command::Serve(args) => serve::serve(&args, environment, terminal),
            Command::Demo(args) => demo::run(&args, environment, terminal),
            Command::Migrate(args) => serve::migrate(&args, environment, terminal),
            Command::Doctor(args) => serve::doctor(&args, environment, terminal),
            Command::Config(ConfigCommand::Check { config }) => {
                serve::check(config.as_deref(), environment, terminal)
            }
            Command::Client(command) => {
                let client = cli::run(command, &global, terminal);
                // A client waits for one answer at a time: one thread is enough.
                serve::block_on_one_thread(client)
            }
            Command::Verify(args) => cli::verify(&args, global.output, terminal),
            Command::Sign(args) => cli::sign(&args, global.output, terminal),
            Command::Completions(args) => completions(args.shell, terminal),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

fn completions(shell: Shell, terminal: &terminal::Terminal) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "postrider", &mut script);
    let script = String::from_utf8(script).map_err(anyhow::Error::from)?;
    Ok(terminal.data(script.trim_end())?)
}

#[cfg(test)]
mod tests;
