//! `postrider`: every role in one process or apart, and the client of the API.
//!
//! This crate alone names adapters. [`args`] says what a user may type, [`serve`] starts roles, [`cli`] calls the API of a
//! running server, [`demo`] is the tour. Data goes to standard output, everything else to standard error; exit code 0, 1
//! (failed) or 2 (usage).

mod args;
mod cli;
mod demo;
mod failure;
mod serve;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::terminal::Terminal;

/// What one thread takes another gives back, for every record and body: glibc's allocator makes them wait for each other (ADR 0022).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = serve::environment();
    let terminal = Terminal::detect(&environment);
    let args = Args::parse();
    match args.run(&environment, &terminal) {
        Ok(code) => code,
        Err(failure) => failure.report(&terminal),
    }
}
