//! Workers on the store of a cluster: the real role and the real adapter on a real Cassandra or ScyllaDB, with the log and the receivers in memory, so that a
//! test can suspend an owner, count statements and look at rows.
#![expect(clippy::indexing_slicing, reason = "what is missing fails the test")]

extern crate store_scylla as postrider_store_scylla;

mod drain;
mod held_log;
#[path = "../../../../libs/store-scylla/tests/cluster/keyspace.rs"]
mod keyspace;
mod receivers;
mod start;
mod takeover;
mod traffic;
mod world;
