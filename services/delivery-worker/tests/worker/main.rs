//! The whole worker over in-memory ports, on a simulated clock.

mod config;
mod deliveries;
mod faults;
mod gap;
mod handover;
mod heard;
mod hooked;
mod lost_keys;
mod progress;
mod regain;
mod repeats;
mod restart;
mod schedule;
mod slow_store;
mod world;
