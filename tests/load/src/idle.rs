//! A process with nothing to do.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::figures::ratio;
use crate::place::{Log, Place};
use crate::postrider::Postrider;

/// The start is over after a look in which the process did nothing.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// One that works on and on is watched all the same after so many: that it does is what is to be found out.
const LOOKS_MAX: usize = 20;
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
    let place = Place::new(binary, Log::Embedded).await?;
    let server = Postrider::start(binary, &place).await?;
    settle(&server).await?;
    let (before, began) = (server.cpu()?, Instant::now());
    // The stretch of time is the measurement.
    tokio::time::sleep_until((began + WATCHED).into()).await;
    let used = server.cpu()?.since(before).total();
    Ok(Idle {
        start_up_ms: server.start_up().as_secs_f64() * 1e3,
        resident_mb: server.memory()?.resident as f64 / 1e6,
        cpu_percent: 100.0 * ratio(used.as_secs_f64(), began.elapsed().as_secs_f64()),
    })
}

/// Waits until the work of the start is done.
pub(crate) async fn settle(server: &Postrider) -> Result<()> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    // The first one comes at once.
    looks.tick().await;
    for _ in 0..LOOKS_MAX {
        let before = server.cpu()?;
        looks.tick().await;
        if server.cpu()?.since(before).total().is_zero() {
            break;
        }
    }
    Ok(())
}
