//! The API role: gRPC and REST over one set of services.
//!
//! `app` does the work over the ports, in the domain's words; `api` turns protobuf into them and back. The role never touches a lane: what a
//! caller asks of deliveries becomes commands in the inbox of a shard (architecture §7).
//!
//! Deliberately absent: matching and sending (the worker's), adapters (the binary's), authentication (a layer around the services).
//!
//! Main items: [`Config`], [`Deps`], [`build`], [`ensure_default_tenant`]. Invariants: CF-1, DL-7, SE-3, TE-1.

mod api;
mod app;
pub mod rest;
pub mod server;
mod telemetry;

pub use api::build;
pub use app::{Config, Deps, JobRunner, ensure_default_tenant};
pub use telemetry::Metrics;
