//! The stores on a real Cassandra or ScyllaDB, which the test runner starts (`POSTRIDER_TEST_CQL`).

mod buckets;
mod conformance;
mod dead_letters;
mod keyspace;
mod lists;
mod migrating;
mod opening;
mod queue;
