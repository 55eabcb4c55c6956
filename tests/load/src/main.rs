//! The reproducible benchmark behind `make bench`: what one process of Postrider delivers, and at what cost.
//!
//! *Dramatis personae.* The real `postrider` binary runs as a child process on a fresh directory; only its CPU time and memory
//! are reported. The generator ([`generator`]) publishes over keep-alive connections, the receivers ([`sink`]) live in a thread
//! of their own. W0 ([`limit`]) is a bare HTTP client that sends the same signed body to the same sink: what no sender
//! built on the same HTTP library can beat, so each figure is also given relative to it (`reference/performance.md` §6). The engine alone ([`engine`]) runs in
//! this process, on a thread of its own (ADR 26). What is to be reached, and whether it is, stands at the end of the report ([`targets`]).
//!
//! Deliberately absent: assertions. A shared machine makes wall-clock limits lie; the table says what was measured and under
//! which load, and a person judges. Linux only: CPU time and memory are read from `/proc`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark drives real processes in real time and prints its table"
)]

mod drain;
mod engine;
mod figures;
mod generator;
mod idle;
mod kafka;
mod limit;
mod machine;
mod options;
mod payload;
mod pending;
mod place;
mod plan;
mod postrider;
mod report;
mod scenario;
mod sink;
mod targets;
mod usage;
mod waiting;

use std::process::ExitCode;

use clap::Parser as _;

/// The product's (ADR 22): its engine runs in this process too, beside W0 (ADR 26).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = options::Options::parse();
    match plan::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postrider-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
