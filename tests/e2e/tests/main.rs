//! End-to-end scenarios: the real binary, real receivers. One module an area of the specification.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "scenarios compare with the real clock, and what is missing in an answer fails them"
)]

mod answers;
mod breaker;
mod brokers;
mod changes;
mod cli;
mod cli_reads;
mod clients;
mod cloudevents;
mod doctor;
mod event_types;
mod filters;
mod grpc;
mod grpc_verbs;
mod inputs;
mod isolation;
mod jobs;
mod kill;
mod kill_redrives;
mod listen;
mod metrics;
mod network;
mod operational;
mod ordering;
mod producers;
mod publish;
mod readiness;
mod redrive;
mod redrive_waiting;
mod restart;
mod rotation;
mod signing;
mod store_faults;
mod support;
mod tolerance;
mod waiting;
mod workers;
