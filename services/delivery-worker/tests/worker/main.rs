//! The whole worker over in-memory ports, on a simulated clock.

mod config;
mod deliveries;
mod faults;
mod restart;
mod schedule;
mod world;
