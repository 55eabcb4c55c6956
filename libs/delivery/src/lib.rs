//! The delivery engine: a pure state machine of lanes, retries, breakers and verdicts.
//!
//! # Theory of operation
//! A worker owns shards of the log. Every record that it reads becomes one *delivery* per endpoint that matches; a delivery lives in the *lane* of its
//! shard and endpoint: in a bounded memory queue while all is well, else in the lane's durable *backlog*, which is read from a *cursor* in the order of
//! due times. [`Engine`] decides what is attempted when, what a receiver's answer means, what is written before what, and how far the shard's acked
//! position may move. It has no I/O, clock, randomness or store: inputs (`handle_*`) carry the time, effects are [`Effect`]s that the caller carries out
//! and whose results it feeds back. The same history gives the same effects.
//!
//! # Invariants
//! DL-1 (nothing is lost), DL-2 (an acked position never passes what is not handed off), DL-3 (attempts follow the schedule), DL-4 (no duplicate without a
//! fault), DL-5 (no lane delays another), DL-6 (events of one ordering key in order): `architecture.md` §9.
//!
//! It deliberately knows no secret and no header, and a URL only to name it in dead letters: what is sent is the caller's.

mod backlog;
mod breaker;
mod bucket;
mod effect;
mod egress;
mod endpoint;
mod engine;
mod lane;
mod order;
mod schedule;
mod timers;
mod tracker;
mod verdict;
mod window;

pub use effect::{
    AttemptReport, AttemptStart, AttemptToken, Effect, Forgotten, LoadToken, Write, WriteToken,
};
pub use endpoint::EndpointSpec;
pub use engine::{Engine, EngineConfig, Jitter, LoadedDelivery};
pub use schedule::retry_delay;
pub use verdict::{Health, Verdict, verdict};
