//! The store ports on ScyllaDB, or on Apache Cassandra: the store of a cluster.
//!
//! [`Scylla::connect`] gives one type, [`Store`], for every store port; [`migrate`] makes the tables (`src/schema/*.cql`, which say what each row is, how it
//! is read and what bounds its partition).
//!
//! # Theory of operation
//! Every row of the delivery path is immutable and its key is its meaning, so a write may be repeated until it is known to be durable: a timeout is
//! [`ports::ErrorKind::Unknown`], and the same row again changes nothing. There is no DELETE, counter, index or light-weight transaction on that path. What
//! would be an update elsewhere is a row of its own: a lane's row carries its owner's epoch in the key, so that a former owner writes beside and never over
//! its successor's. Compare-and-set (LWT) decides three things: a tenant's configuration, an endpoint's state, and who redrives a dead letter.
//!
//! Partitions are bounded by time buckets that become narrower where many rows fall (`bucket`). Expiry is each table's; readers also hide what is older
//! than its retention by the port's clock, so a row is gone at the moment the contract says.
//!
//! It deliberately does not retry what may not be repeated, decide anything about deliveries, or use what only one of the two databases has.
//!
//! Invariants: OP-1 (a write is durable at the configured consistency when it returns), SE-3 (secrets come sealed), TE-1 (every key of a tenant's data
//! starts with the tenant, or with an endpoint's uid that belongs to it).

mod bucket;
mod connect;
mod cql;
mod error;
mod schema;
mod settings;
mod store;
pub mod testing;
mod turns;

pub use connect::Scylla;
pub use cql::Traffic;
pub use error::OpenError;
pub use schema::{Migrated, SCHEMA_VERSION, migrate};
pub use settings::{Consistency, Settings};
pub use store::Store;
