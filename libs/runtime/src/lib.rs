//! What every process needs around its roles: time and chance, keys, configuration, logs, tasks, start-up and shutdown.
//!
//! It knows no role and no adapter of a log or a store, and decides nothing about deliveries.
//!
//! - [`SystemClock`], [`SystemRng`], [`LocalKeys`]: the system's adapters of the ports
//! - [`TaskGroup`]: owns and joins tasks by name; one that ends early stops the group
//! - [`Signals`]: SIGTERM and SIGINT; [`DRAIN_DEADLINE`] bounds what follows
//! - [`config`]: defaults < file < environment < flags, with unknown keys as errors
//! - [`telemetry`]: logs to standard error
//! - [`metrics`]: what `/metrics` shows

mod clock;
pub mod config;
mod keys;
pub mod metrics;
mod rng;
mod shutdown;
mod span;
mod tasks;
pub mod telemetry;

pub use clock::SystemClock;
pub use keys::{KeyFileError, LocalKeys, create_private_dir, write_secret_file};
pub use rng::SystemRng;
pub use shutdown::{DRAIN_DEADLINE, Signals};
pub use span::{SpanError, format_span, parse_span};
pub use tasks::{TaskError, TaskGroup};

/// Tells tasks to stop; made by the process, passed down, cancelled once.
pub use tokio_util::sync::CancellationToken as Shutdown;
