//! The stores: one type for every store port. Each file holds one table group with its statements; every statement is a constant.

mod attempts;
mod backlog;
mod config;
mod config_write;
mod dead_letter_lists;
mod dead_letter_runs;
mod dead_letters;
mod event_types;
mod events;
mod idempotency;
mod inbox;
mod installation;
mod jobs;
mod lane_buckets;
mod lanes;
mod lines;
mod newest_first;
mod registry;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{LogPosition, Timestamp};
use ports::Clock;
use scylla::value::CqlTimestamp;

use crate::cql::{Cql, Traffic};
use crate::error::OpenError;

/// Every store port on one cluster.
pub struct Store {
    cql: Cql,
    clock: Arc<dyn Clock>,
    events: events::Statements,
    attempts: attempts::Statements,
    backlog: backlog::Statements,
    lanes: lanes::Statements,
    lines: lines::Statements,
    inbox: inbox::Statements,
    dead_letters: dead_letters::Statements,
    runs: dead_letter_runs::Statements,
    config: config::Statements,
    idempotency: idempotency::Statements,
    installation: installation::Statements,
    jobs: jobs::Statements,
}

impl Store {
    pub(crate) async fn prepare(cql: Cql, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(Self {
            events: events::Statements::prepare(&cql).await?,
            attempts: attempts::Statements::prepare(&cql).await?,
            backlog: backlog::Statements::prepare(&cql).await?,
            lanes: lanes::Statements::prepare(&cql).await?,
            lines: lines::Statements::prepare(&cql).await?,
            inbox: inbox::Statements::prepare(&cql).await?,
            dead_letters: dead_letters::Statements::prepare(&cql).await?,
            runs: dead_letter_runs::Statements::prepare(&cql).await?,
            config: config::Statements::prepare(&cql).await?,
            idempotency: idempotency::Statements::prepare(&cql).await?,
            installation: installation::Statements::prepare(&cql).await?,
            jobs: jobs::Statements::prepare(&cql).await?,
            cql,
            clock,
        })
    }

    /// What went to and came from each table since the connection was made.
    #[must_use]
    pub fn traffic(&self) -> BTreeMap<&'static str, Traffic> {
        self.cql.traffic()
    }

    /// Reads one small row at the consistency of every read: whether enough replicas answer.
    ///
    /// # Errors
    /// When they do not, within the timeout of a request.
    pub async fn ping(&self) -> ports::Result<()> {
        self.installation.ping(&self.cql).await
    }

    pub(crate) fn keyspace(&self) -> &str {
        self.cql.keyspace()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn time(time: Timestamp) -> CqlTimestamp {
    CqlTimestamp(time.as_millis())
}

fn time_of(column: CqlTimestamp) -> Timestamp {
    Timestamp::from_millis(column.0)
}

/// A limit as CQL takes it.
fn cql_limit(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// A column that is not what its table holds.
fn odd(table: &'static str) -> ports::Error {
    crate::error::damaged(table, codec::Damaged("key"))
}

/// A body that does not decode.
fn undecodable(table: &'static str) -> impl Fn(codec::Damaged) -> ports::Error {
    move |damaged| crate::error::damaged(table, damaged)
}

fn place(position: i64) -> LogPosition {
    LogPosition::from_packed(position)
}
