//! End-to-end scenarios: the real binary, real receivers. One module an area of the specification.
#![expect(
    clippy::disallowed_methods,
    reason = "scenarios compare with the real clock and run real processes"
)]

mod answers;
mod breaker;
mod cli;
mod clients;
mod grpc;
mod inputs;
mod isolation;
mod kill;
mod publish;
mod redrive;
mod restart;
mod rotation;
mod signing;
mod support;
