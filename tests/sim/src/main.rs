//! Plays many seeds, or shows one.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for a terminal, which says how long it took"
)]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use postrider_sim::{Plan, Sabotage, play, search};

/// Simulated histories of delivery.
#[derive(Parser)]
struct Options {
    /// How many seeds to play.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play this one alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print all that happens under the one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Threads; as many as there are cores, unless given.
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.seed {
        Some(seed) => show(seed, options.trace),
        None => many(&options),
    }
}

fn show(seed: u64, trace: bool) -> ExitCode {
    let history = play(&Plan::of(seed), Sabotage::Nothing);
    if trace {
        println!("{}", history.trace());
    }
    let (flavour, requests) = (history.flavour(), history.requests_sent());
    println!("seed {seed}: {flavour:?}, {requests} requests, digest {:016x}", history.digest());
    let violations = history.violations();
    for violation in &violations {
        println!("{}: {}", violation.invariant, violation.what);
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(options: &Options) -> ExitCode {
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = options.threads.unwrap_or(cores);
    let end = options.from.saturating_add(options.seeds);
    let step = (options.seeds / 20).max(100);
    let searched = search(options.from..end, threads, |done, found| {
        if let Some(found) = found {
            println!("{}", found.report);
        }
        if done.is_multiple_of(step) {
            eprintln!("{done} of {} seeds, {:.0?}", options.seeds, began.elapsed());
        }
    });
    println!(
        "{} seeds from {}: {} requests, {} simulated days, {:.1?} on {threads} threads, {} failed",
        searched.histories,
        options.from,
        searched.requests,
        searched.lasted.as_secs() / 86_400,
        began.elapsed(),
        searched.found.len()
    );
    if searched.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
