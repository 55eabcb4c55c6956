//! Logs, to standard error: standard output is for data.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text, coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is not a log format: use auto, text or json")),
        }
    }
}

/// Logs that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error(
        "log filter {filter:?} does not parse ({reason}): write a level (error, warn, info, debug, trace) or target=level, separated by commas"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// Why not.
        reason: String,
    },
    /// Something else logs already.
    #[error("logs were set up twice")]
    Twice,
}

/// A driver reports every connection, and errors each second while a node is away. What matters of that is said once, by whoever handles it.
const DRIVERS: &str = "scylla=off";

/// Sends logs to standard error from now on.
///
/// `filter` is a level or `target=level` pairs, as in `RUST_LOG`. `colour` is what `NO_COLOR` leaves.
///
/// # Errors
/// [`TelemetryError`] when the filter does not parse, or logs go somewhere already.
pub fn init(format: LogFormat, filter: &str, colour: bool) -> Result<(), TelemetryError> {
    // What a driver says of its own matters when it is asked for: a filter that names it wins.
    let parsed = EnvFilter::try_new(format!("{DRIVERS},{filter}")).map_err(|error| {
        TelemetryError::Filter { filter: filter.to_owned(), reason: error.to_string() }
    })?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(colour && terminal).try_init()
    }
    .map_err(|_| TelemetryError::Twice)
}
