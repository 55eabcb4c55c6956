//! The harness of the end-to-end scenarios: the real binary in its own process, real HTTP receivers, loopback only.
//!
//! - [`Server`]: a `postrider` process on a port of its own and a directory of its own, killed or terminated at will
//! - [`Rest`], [`Grpc`], [`Cli`]: the three ways to talk to it
//! - [`Cassandra`], [`Brokers`]: a node and three brokers of a scenario's own, killed, frozen and started again
//! - [`Receiver`]: an HTTP server that answers by a script and keeps every request
//! - [`hmac`]: the checks of a ten-line receiver, written without `libs/signing`
//! - [`until`]: waits for a condition that only the API shows
//! - [`clients`]: client libraries of other languages, and whether to run the long forms
//!
//! Deliberately absent: mocks of our own crates, timed assertions, waits for luck. Every wait has a condition and the
//! one [`DEADLINE`], which says what was waited for.
#![expect(
    clippy::disallowed_methods,
    reason = "the harness drives real processes and sockets in real time"
)]

mod binary;
mod brokers;
mod cassandra;
mod cli;
pub mod clients;
mod grpc;
pub mod hmac;
mod keyspace;
mod logs;
mod receiver;
mod rest;
mod server;
mod topics;
mod wait;

pub use brokers::Brokers;
pub use cassandra::Cassandra;
pub use cli::{Cli, Output, Running};
pub use grpc::Grpc;
pub use receiver::{Receiver, Reply, Request};
pub use rest::{Answer, Rest};
pub use server::{Options, Server, Stopped};
pub use wait::{DEADLINE, until};
