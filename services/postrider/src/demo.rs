//! `postrider demo`: the whole job on the embedded engine, watched live. The roles are those of `dev`; nothing is simulated but
//! the receivers' illnesses.

mod audit;
mod cast;
mod ledger;
mod receiver;
mod screen;
mod tour;

use std::cell::Cell;

use anyhow::Context as _;
use clap::Args;
use runtime::{Shutdown, Signals, SystemClock};

use crate::cli::{Api, Format, Global};
use crate::failure::Failure;
use crate::serve::{self, Mode, Process};
use crate::terminal::{Environment, Terminal};
use screen::Screen;
use tour::Tour;

/// What `postrider demo` takes.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave it running at the end, to be looked at and played with
    #[arg(long)]
    keep: bool,
}

/// Runs the tour; exit code 0 only when every count agrees.
///
/// # Errors
/// What went wrong, or what disagreed.
pub(crate) fn run(
    args: &DemoArgs,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Failure> {
    serve::block_on(Box::pin(watch(args.keep, environment, terminal)))
}

async fn watch(keep: bool, environment: &Environment, terminal: &Terminal) -> Result<(), Failure> {
    let dir = tempfile::Builder::new()
        .prefix("postrider-demo-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    let flags = [
        ("listen", Some("127.0.0.1:0".to_owned()), "demo"),
        ("data_dir", Some(dir.path().display().to_string()), "demo"),
        // What the tour is about is told by the tour.
        ("logging.filter", Some(log_filter(environment)), LOG_FILTER),
    ];
    let settings = serve::settings(Mode::Dev, &Environment::new(), &flags)?;
    runtime::telemetry::init(settings.log_format, &settings.log_filter, terminal.colour)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let mut signals = Signals::listen()?;
    let shutdown = Shutdown::new();
    let process = Process::start(&settings, shutdown.clone()).await?;
    let url = process.url();
    let screen = Screen::new(*terminal, SystemClock::new());
    // What the summary said, for an end by a signal after it.
    let verdict = Cell::new(None);
    let guided = async {
        let mut tour = Tour::start(connect(&url).await?, &screen, &shutdown).await?;
        let agreed = tour.guide(&url).await?;
        verdict.set(Some(agreed));
        if keep {
            screen.keep(&url, dir.path());
            tour.watch_on().await?;
        }
        Ok(agreed)
    };
    let mut finish = std::pin::pin!(process.finish());
    let outcome = tokio::select! {
        ended = &mut finish => return Err(unexpected_end(ended)),
        agreed = guided => agreed,
        signal = signals.next() => {
            screen.say(&format!("{signal}: stopping"));
            verdict.get().ok_or(Failure::Said)
        }
    };
    screen.close();
    shutdown.cancel();
    finish.await?;
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Said),
        Err(failure) => Err(failure),
    }
}

/// Shows more of the tour's server than its errors.
const LOG_FILTER: &str = "POSTRIDER_LOGGING__FILTER";

fn log_filter(environment: &Environment) -> String {
    environment.get(LOG_FILTER).cloned().unwrap_or_else(|| "error".to_owned())
}

fn unexpected_end(ended: anyhow::Result<()>) -> Failure {
    match ended {
        Ok(()) => Failure::Other(anyhow::anyhow!("postrider ended in the middle of the tour")),
        Err(error) => Failure::Other(error),
    }
}

async fn connect(url: &str) -> Result<Api, Failure> {
    let global = Global {
        ca_file: None,
        server: url.to_owned(),
        api_key: None,
        tenant: "default".to_owned(),
        output: Format::Table,
    };
    Api::connect(&global).await
}
