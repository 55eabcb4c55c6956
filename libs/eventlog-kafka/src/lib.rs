//! The event log, and the feeds beside it, on Apache Kafka.
//!
//! [`Kafka::connect`] gives the ports; [`migrate`] makes the topics, [`inspect`] says what is unsafe about them.
//!
//! # Theory of operation
//! A shard is a partition of `<prefix>.events` or of a further topic (`sources`), a position its offset. Each member of a group has one thread that owns librdkafka's consumer (`member`): it
//! takes part in rebalances, fetches into one bounded queue a partition, and commits. The port's side only takes items from it, so a worker that is slow never
//! keeps the group waiting.
//!
//! An **epoch** has no counterpart in Kafka that clients can see, so it lies in the metadata of the committed offset (`claim`): whoever is assigned a
//! partition commits the same offset with a larger epoch before it says `Assigned`. The brokers refuse commits of former members, so claims are ordered.
//!
//! A **lease** holds for a session timeout after a commit was sent that the brokers took: by then the group counted us among its members, and cannot give our
//! partitions away before that time has passed without asking us. Commits are repeated for that reason even when no position has moved.
//!
//! It deliberately knows no event: records in, records out. There are no transactions and no pausing of partitions.
//!
//! Invariants: DL-2 (only what is asked is committed, never backwards, never for a shard that was lost), OP-1 (`append` answers when all in-sync replicas have
//! the record).

mod claim;
mod client;
mod connect;
mod consumer;
mod error;
mod feed;
mod inspect;
mod log;
mod member;
mod observations;
mod outcome;
mod producer;
mod reader;
mod record;
mod settings;
mod sources;
mod tail;
mod topics;

pub use connect::Kafka;
pub use error::OpenError;
pub use feed::KafkaFeed;
pub use inspect::{Finding, Severity, broker_time, inspect, inspect_group};
pub use log::KafkaLog;
pub use observations::KafkaObservations;
pub use producer::RECORD_BYTES_MAX;
pub use settings::{GroupProtocol, Settings, Source};
pub use topics::{Made, migrate};
