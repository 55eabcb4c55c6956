//! The application over in-memory ports.

mod dead_letters;
mod deliveries;
mod endpoints;
mod event_types;
mod lists;
mod publishing;
mod secrets;
mod start;
mod watching;
mod world;
