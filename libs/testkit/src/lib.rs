//! In-memory ports, a simulated clock and scripted receivers, for tests.
//!
//! [`MemoryLog`], [`MemoryStore`], [`MemoryFeed`] and [`MemoryObservations`] pass the same conformance suites as the real adapters, and can be told to fail
//! ([`Faults`]). [`SimClock`] moves only when it is told to. Nothing here is fit for production.

mod clock;
mod faults;
mod keys;
mod memory_log;
mod memory_store;
mod observations;
mod rng;
mod sender;

pub use clock::SimClock;
pub use faults::{Fault, Faults};
pub use keys::PlainKeys;
pub use memory_log::MemoryLog;
pub use memory_store::{MemoryFeed, MemoryStore};
pub use observations::MemoryObservations;
pub use rng::SeededRng;
pub use sender::{Reply, ScriptedSender, Sent};
