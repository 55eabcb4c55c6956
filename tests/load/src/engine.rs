//! What the engine and the HTTP client cost alone: the real delivery worker and the real egress client on the in-memory log and store.
//!
//! The product's code runs in this process, on one thread with a runtime of its own, fresh for each run, so the thread's CPU time is the worker's and nobody
//! else's: the same way in which W0 is measured. A feeder on another thread appends records while few enough deliveries are under way; the receivers are the
//! sink, as ever. The in-memory ports are made for tests (one mutex, clones): what they take is measured too ([`memory`]) and told beside the sum, which it is
//! part of.

mod feeder;
mod memory;
mod world;

use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use delivery_worker::Worker;
use runtime::Shutdown;
use serde::Serialize;
use tokio::task::JoinSet;

use self::feeder::Feeder;
use self::world::World;
use crate::figures::{median, micros_each, ratio};
use crate::payload::Epoch;
use crate::sink::{Sink, Tally};
use crate::usage::Cpu;

/// Until connections are open and windows have grown; it is a stretch of time, not a condition.
const WARM_UP: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Without a delivery for so long nothing more is on its way.
const QUIET: Duration = Duration::from_secs(3);

/// What a run is made of.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) endpoints: u16,
    /// Endpoints that get each event; divides `endpoints`.
    pub(crate) fan_out: u16,
    pub(crate) size: usize,
    pub(crate) epoch: Epoch,
    /// Most deliveries under way.
    pub(crate) undelivered_max: u64,
    pub(crate) time: Duration,
    pub(crate) urls: Vec<String>,
}

/// What a run measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) deliveries_per_second: f64,
    /// User and system time of the worker's thread, microseconds a delivery.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    /// What the in-memory log and store take alone, which is part of it.
    pub(crate) ports_us: f64,
    /// Attempts that were recorded, of all deliveries of the run.
    pub(crate) recorded: u64,
    /// Deliveries that had not come when nothing moved any more.
    pub(crate) missing: u64,
}

/// The runs with one fan-out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) fan_out: u16,
    pub(crate) runs: Vec<Run>,
}

/// Delivers for `setup.time` from a thread of its own.
pub(crate) fn measure(setup: Setup, sink: &Sink) -> Result<Run> {
    let tally = Arc::clone(sink.tally());
    let thread = thread::Builder::new().name("engine".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(Box::pin(deliver(setup, tally)))
    })?;
    thread.join().map_err(|_| anyhow!("the engine panicked"))?
}

async fn deliver(setup: Setup, tally: Arc<Tally>) -> Result<Run> {
    let world = World::new(&setup).await?;
    let shutdown = Shutdown::new();
    let mut tasks = JoinSet::new();
    let worker = Worker::new(delivery_worker::Config::default(), world.deps()?);
    tasks.spawn(Box::pin(worker.run(shutdown.clone())));
    let answered_at_start = tally.answered();
    let feeder = Feeder::start(&setup, world.log.clone(), Arc::clone(&tally))?;

    tokio::time::sleep_until((Instant::now() + WARM_UP).into()).await;
    let (began, cpu, answered) = (Instant::now(), Cpu::of_this_thread()?, tally.answered());
    tokio::time::sleep_until((began + setup.time).into()).await;
    let cpu = Cpu::of_this_thread()?.since(cpu);
    let (seconds, answered) = (began.elapsed().as_secs_f64(), tally.answered() - answered);

    let (records, fan_out) = (feeder.stop()?, u64::from(setup.fan_out));
    let expected = records * fan_out;
    let came = settle(&tally, answered_at_start, expected).await;
    shutdown.cancel();
    tasks.join_next().await.context("the worker's task")?.context("the worker panicked")??;
    let alone = memory::alone(&world, records, fan_out).await?;
    Ok(Run {
        deliveries_per_second: answered as f64 / seconds,
        cpu_us: micros_each(cpu.total(), answered),
        user_us: micros_each(cpu.user, answered),
        ports_us: alone.micros,
        recorded: alone.recorded,
        missing: expected.saturating_sub(came),
    })
}

/// Waits until all has come, or nothing comes any more; returns how many came.
async fn settle(tally: &Tally, before: u64, expected: u64) -> u64 {
    let (mut came, mut since) = (tally.answered() - before, Instant::now());
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    while came < expected && since.elapsed() < QUIET {
        looks.tick().await;
        let now = tally.answered() - before;
        if now != came {
            (came, since) = (now, Instant::now());
        }
    }
    came
}

impl Row {
    /// CPU a delivery, microseconds: the median of the runs.
    pub(crate) fn cpu_us(&self) -> f64 {
        median(&self.runs, |run| run.cpu_us)
    }
}

/// Writes a table of `rows` beside W0's `limit_us` a request.
pub(crate) fn describe(rows: &[Row], endpoints: u16, limit_us: f64, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "Engine and HTTP client alone: {endpoints} healthy endpoints, worker on one thread, log and store in memory. These are made for tests, so their share is told apart; it is part of the CPU time before it.\n"
    );
    out.push_str("| fan-out | deliveries/s | CPU µs/delivery (user) | × W0 | of it log and store in memory (alone) | recorded | missing |\n");
    out.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows {
        let ports_us = median(&row.runs, |run| run.ports_us);
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.1} ({:.1}) | {:.2} | {ports_us:.1} µs, {:.2} × W0 | {} | {} |",
            row.fan_out,
            median(&row.runs, |run| run.deliveries_per_second),
            row.cpu_us(),
            median(&row.runs, |run| run.user_us),
            ratio(row.cpu_us(), limit_us),
            ratio(ports_us, limit_us),
            row.runs.iter().map(|run| run.recorded).sum::<u64>(),
            row.runs.iter().map(|run| run.missing).sum::<u64>(),
        );
    }
    out.push('\n');
}
