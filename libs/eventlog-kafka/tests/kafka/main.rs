//! The event log on a real Apache Kafka, which the test runner starts (`POSTRIDER_TEST_KAFKA`).

mod broker;
mod conformance;
mod group;
mod rights;
mod setup;
mod sources;
