//! The engine driven as its worker drives it: a simulated clock, a store and a log in memory, receivers by script.

mod asked;
mod breaker;
mod catching_up;
mod commands;
mod crash;
mod disabling;
mod late;
mod limits_of_lanes;
mod model;
mod ordering;
mod own_faults;
mod schedule;
mod shards;
mod store;
mod verdicts;
mod waiting;
mod world;

use super::*;
