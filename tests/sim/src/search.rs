//! Many seeds, on all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::{Flavour, Plan, Sabotage, play};

/// Failing seeds that are kept: more say nothing new.
const FOUND_MAX: usize = 10;

/// A seed whose history breaks an invariant.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// Its misfortunes.
    pub flavour: Flavour,
    /// The invariant that is broken first.
    pub invariant: &'static str,
    /// What is to be shown: the violations, a piece of the trace, the command that replays it.
    pub report: String,
}

/// What became of a range of seeds.
#[derive(Debug, Default)]
pub struct Searched {
    /// Histories that were played.
    pub histories: u64,
    /// Requests in them.
    pub requests: u64,
    /// Simulated time in them.
    pub lasted: Duration,
    /// Failing seeds, at most ten, in order.
    pub found: Vec<Found>,
}

/// Plays the seeds of a range on so many threads. `told` hears after each history how many there were, and what it breaks; it may print.
///
/// # Panics
/// When a thread cannot be started, or a history panics outside of its worker.
#[must_use]
pub fn search(
    seeds: Range<u64>,
    threads: usize,
    told: impl Fn(u64, Option<&Found>) + Sync,
) -> Searched {
    let next = AtomicU64::new(seeds.start);
    let failing = AtomicUsize::new(0);
    let searched = Mutex::new(Searched::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while failing.load(Ordering::Relaxed) < FOUND_MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (found, requests, lasted) = try_seed(seed);
                    let mut searched = searched.lock().expect("no thread panics with it");
                    searched.histories += 1;
                    searched.requests += requests;
                    searched.lasted += lasted;
                    told(searched.histories, found.as_ref());
                    failing.fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
                    searched.found.extend(found);
                }
            });
        }
    });
    let mut searched = searched.into_inner().expect("no thread panics with it");
    searched.found.sort_by_key(|found| found.seed);
    searched
}

fn try_seed(seed: u64) -> (Option<Found>, u64, Duration) {
    let history = play(&Plan::of(seed), Sabotage::Nothing);
    let requests = u64::try_from(history.requests_sent()).unwrap_or(u64::MAX);
    let violations = history.violations();
    let found = violations.first().map(|first| {
        let mut report = format!("seed {seed} ({:?}) breaks:\n", history.flavour());
        for violation in violations.iter().take(FOUND_MAX) {
            report.push_str(&format!("  {}: {}\n", violation.invariant, violation.what));
        }
        report.push_str(&format!("what belongs to the first one:\n{}\n", history.piece(first)));
        report.push_str(&format!(
            "replay: cargo run --profile ci -p postrider-sim -- --seed {seed} --trace\n"
        ));
        Found { seed, flavour: history.flavour(), invariant: first.invariant, report }
    });
    (found, requests, history.lasted())
}
