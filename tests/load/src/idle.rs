//! A process with nothing to do.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::figures::ratio;
use crate::postrider::Postrider;

/// How long the process is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// How long it is watched doing nothing: the measurement is of this stretch of time, not of a condition.
const WATCHED: Duration = Duration::from_secs(5);

/// What an idle process takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Idle {
    /// From the start of the process to its line of readiness, on an empty directory.
    pub(crate) start_up_ms: f64,
    pub(crate) resident_mb: f64,
    /// Of one core, over five seconds.
    pub(crate) cpu_percent: f64,
}

/// Starts a process, leaves it alone, and looks.
pub(crate) async fn measure(binary: &Path) -> Result<Idle> {
    let server = Postrider::start(binary).await?;
    // Work of the start that no condition shows the end of; a process that goes on working is what is to be found out.
    tokio::time::sleep(SETTLE).await;
    let (before, began) = (server.cpu()?, Instant::now());
    // The stretch of time is the measurement.
    tokio::time::sleep(WATCHED).await;
    let used = server.cpu()?.since(before).total();
    Ok(Idle {
        start_up_ms: server.start_up().as_secs_f64() * 1e3,
        resident_mb: server.memory()?.resident as f64 / 1e6,
        cpu_percent: 100.0 * ratio(used.as_secs_f64(), began.elapsed().as_secs_f64()),
    })
}
