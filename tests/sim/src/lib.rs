//! Simulated histories of delivery: the real engine and worker, everything around them in memory, on a clock that is moved by hand, under a seed.
//!
//! # How a history is made
//! A seed gives a [`Plan`] (`plan/draw.rs`): endpoints with their policies and the behaviour of their receivers, and what happens in order: events are published,
//! through the API or by plain producers; people pause, disable, resume, delete, redrive, cancel, resend; receivers fail, hang, ask to wait, flap, heal; workers are
//! killed, stopped, started and take over; calls to the store and the log fail, hang, take long, and land after their caller has gone; hints are lost.
//! [`play`] plays it on a runtime of one thread without timers: whoever waits waits on the `Clock` port, and when nobody can go on, the clock jumps to the next who
//! may. At the end everything heals, simulated hours or days go by until nothing is left to do, and [`History::violations`] says which invariants of
//! `architecture.md` §9 do not hold (`check`, one module each). What was to be delivered is the model's word (`model.rs`), which knows nothing of the engine.
//!
//! # What is checked
//! DL-1, DL-2, DL-3, DL-4, DL-5, DL-7, DL-8, SE-1 and OP-2, and that nothing is said at level ERROR. DL-4 is exact also under crashes: a delivery that was taken may
//! be sent again only if its shard changed hands before the success was durable. DL-5, and that no attempt is made twice, are asked of calm histories alone ([`Flavour`]).
//!
//! # Replay
//! The same seed gives the same history, entry for entry: [`History::digest`] is compared in a test. A seed that fails prints the command that replays it:
//! `cargo run --profile ci -p postrider-sim -- --seed N --trace`.
//!
//! # What it deliberately does not do
//! It knows no adapter: what Kafka, a store of a cluster, or a disk may do beyond the ports' contracts is for `libs/ports`' conformance suites and `tests/e2e`. The API's
//! part in publishing is written out in `publisher.rs`, as far as a worker depends on it.

mod chance;
mod check;
mod faults;
mod heard;
mod history;
mod journal;
mod log;
mod model;
mod people;
mod plan;
mod publisher;
mod receivers;
mod run;
mod sabotage;
mod search;
mod store;
mod trace;
mod world;

pub use check::Violation;
pub use history::History;
pub use plan::{Flavour, Plan};
pub use run::play;
pub use sabotage::Sabotage;
pub use search::{Found, Searched, search};
