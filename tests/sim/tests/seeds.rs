//! A few hundred seeds, each a history of its own; some thousands with POSTRIDER_LONG=1.

use std::num::NonZeroUsize;
use std::time::Instant;

use postrider_sim::{Plan, Sabotage, play, search};

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;
/// Seeds of a long one.
const SEEDS_LONG: u64 = 3_000;
/// Seeds that are played twice.
const TWICE: u64 = 16;

#[test]
#[expect(clippy::disallowed_methods, reason = "it says how long it took, and reads POSTRIDER_LONG")]
fn every_seed_keeps_the_invariants() {
    let seeds = if std::env::var("POSTRIDER_LONG").is_ok_and(|long| long == "1") {
        SEEDS_LONG
    } else {
        SEEDS
    };
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let searched = search(0..seeds, threads, |_, _| {});
    println!(
        "{} seeds, {} requests, {:.1?} on {threads} threads",
        searched.histories,
        searched.requests,
        began.elapsed()
    );
    let reports: Vec<&str> = searched.found.iter().map(|found| found.report.as_str()).collect();
    assert!(reports.is_empty(), "{}", reports.join("\n"));
    assert!(searched.requests > seeds, "histories in which nothing is sent prove nothing");
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..TWICE {
        let plan = Plan::of(seed);
        let (one, other) = (play(&plan, Sabotage::Nothing), play(&plan, Sabotage::Nothing));
        if one.digest() != other.digest() {
            let (one, other) = (one.trace(), other.trace());
            let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            panic!("seed {seed} gives two histories, which part at {differs:#?}");
        }
    }
}

/// Plays seeds with something broken until one breaks an invariant; panics when none does.
fn breaks(sabotage: Sabotage, invariant: &str) {
    let found = (0..300).any(|seed| {
        let violations = play(&Plan::of(seed), sabotage).violations();
        violations.iter().any(|violation| violation.invariant == invariant)
    });
    assert!(found, "{sabotage:?} breaks {invariant}, and no seed shows it");
}

#[test]
fn rows_that_are_lost_break_dl_1() {
    breaks(Sabotage::RowsAreLost, "DL-1");
}

#[test]
fn acks_that_run_ahead_break_dl_2() {
    breaks(Sabotage::AcksRunAhead, "DL-2");
}

#[test]
fn a_schedule_that_is_hurried_breaks_dl_3() {
    breaks(Sabotage::SchedulesAreHurried, "DL-3");
}

#[test]
fn requests_that_are_doubled_break_dl_4() {
    breaks(Sabotage::RequestsAreDoubled, "DL-4");
}

#[test]
fn bodies_that_are_changed_break_se_1() {
    breaks(Sabotage::BodiesAreChanged, "SE-1");
}
