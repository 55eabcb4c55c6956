//! The embedded engine: event log and store on two SQLite files in one data directory.
//!
//! [`Embedded::open`] locks the directory and gives the adapters: [`Log`] for `EventLog`, [`Store`] for every store port, [`InProcessFeed`] for
//! `ConfigFeed`. A write is answered after its COMMIT with `synchronous=FULL`, so what was acknowledged survives a kill at any point (OP-1).
//!
//! # Theory of operation
//! Each file has one writer thread and a few reader threads; no SQLite call is ever made on an async thread. The writer drains its bounded channel
//! without waiting, applies what it drained in one transaction and answers all callers after the COMMIT (group commit): under load a COMMIT costs as
//! much for a thousand rows as for one. Readers have read-only connections and short transactions, so that they do not hold the WAL back.
//! The log wakes its consumers through a watch after each COMMIT; nothing polls.
//!
//! The two files never commit together, as Kafka and ScyllaDB cannot: the pipeline above must not rely on it.
//!
//! It deliberately does not decide what to keep or when to clean: [`Embedded::maintain`] is called by the runtime, works in slices and takes its time
//! from the caller.

mod engine;
mod error;
mod feed;
mod file;
mod head;
mod lock;
mod log;
mod observations;
mod open_mark;
#[cfg(test)]
mod plans;
mod readers;
mod store;
mod wal;
mod writer;

pub use engine::{Embedded, Maintained, Options};
pub use error::{Health, OpenError};
pub use feed::InProcessFeed;
pub use log::{Log, RECORD_BYTES_MAX};
pub use observations::InProcessObservations;
pub use store::Store;
