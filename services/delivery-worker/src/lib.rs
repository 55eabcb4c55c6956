//! The role that delivers: it reads its shards of the log, matches events with subscriptions, and carries out what the engine decides.
//!
//! # Theory of operation
//! One loop ([`Worker::run`]) owns the engine. Tasks around it do the waiting: the *reader* takes records from the log, decodes and matches them; *attempts* sign and
//! send; the *recorder* makes rows durable, each shard in its own order, again until they are; *looks* read pages, bodies and ranges; the *tenants* task
//! keeps the cache of configuration fresh; the *inbox* task brings commands. All of them talk to the loop by bounded channels, and the loop waits for none of
//! them: what it cannot hand over at once it keeps, and the engine's own bounds hold that small.
//!
//! It deliberately decides nothing about deliveries (crate `delivery`) and knows no adapter.
//!
//! Invariants: DL-1, DL-2, OP-1 (the order of writes is the engine's, and kept by the recorder), SE-1 (signers end with their secrets), CF-1 (a record is
//! matched with the revision that it was stamped with, or a newer one).

mod attempt;
mod calls;
mod config;
mod former;
mod inbox;
mod looks;
mod notices;
mod poison;
mod progress;
mod reader;
mod recent;
mod recorder;
mod target;
mod telemetry;
mod tenants;
mod worker;

pub use config::{Config, Deps};
pub use progress::{Membership, Progress, ShardLag};
pub use telemetry::Metrics;
pub use worker::{Alarms, Worker, WorkerError};
