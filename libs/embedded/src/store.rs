//! The stores on `store.db`: one type for every store port.
//!
//! Rows are found through their keys and the indexes below, and through nothing else; a test asks SQLite for the plan of every statement.
//! Expired rows are hidden by predicates at once, as a TTL does it in a cluster, and removed by [`Store::expire`] later.

mod backlog;
mod config;
mod config_write;
mod dead_letters;
mod event_types;
mod events;
mod expiry;
mod idempotency;
mod inbox;
mod jobs;
mod lanes;
mod lines;

use std::sync::Arc;

use domain::Timestamp;
use ports::Clock;
use rusqlite::Connection;

use crate::error::Fault;
use crate::file::Kind;
use crate::open_mark::{OpenMark, SetError};
use crate::readers::Readers;
use crate::writer::{Cost, State, Writer};

/// `store.db`: rows of a few hundred bytes and bodies up to 256 KiB.
pub(crate) const KIND: Kind = Kind {
    name: "store.db",
    application_id: 0x5052_5354,
    format: 4,
    page_size: 8_192,
    schema: include_str!("store/schema.sql"),
    upgrades: &[
        include_str!("store/upgrade_2.sql"),
        include_str!("store/upgrade_3.sql"),
        include_str!("store/upgrade_4.sql"),
    ],
    vital: &["tenants", "endpoints", "subscriptions", "lanes"],
};

/// Every store port on one SQLite file.
pub struct Store {
    writer: Writer<StoreState>,
    readers: Readers,
    clock: Arc<dyn Clock>,
}

/// What the store's writer thread owns.
pub(crate) struct StoreState {
    conn: Connection,
    mark: OpenMark,
}

impl StoreState {
    pub(crate) fn new(conn: Connection, mark: OpenMark) -> Self {
        Self { conn, mark }
    }
}

impl State for StoreState {
    fn conn(&self) -> &Connection {
        &self.conn
    }

    fn close(&mut self) -> Result<(), SetError> {
        self.mark.clear(&self.conn)
    }
}

impl Store {
    pub(crate) fn new(writer: Writer<StoreState>, readers: Readers, clock: Arc<dyn Clock>) -> Self {
        Self { writer, readers, clock }
    }

    async fn write<T: Send + 'static>(
        &self,
        cost: Cost,
        run: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> ports::Result<T> {
        self.writer.write(cost, |state| run(&state.conn)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> ports::Result<T> {
        self.readers.read(run).await
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn stop(&self) {
        self.readers.stop().await;
        self.writer.stop().await;
    }

    pub(crate) async fn quick_check(&self) -> ports::Result<Option<String>> {
        self.readers.read(crate::file::quick_check).await
    }
}

/// A column that is not what its table holds.
fn odd(what: &'static str) -> Fault {
    codec::Damaged(what).into()
}

/// A limit as SQLite takes it.
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Every statement, for the test of their plans.
#[cfg(test)]
pub(crate) fn statements() -> Vec<&'static str> {
    let mut all = vec![
        backlog::APPEND,
        backlog::PAGE,
        backlog::TRIM_END,
        backlog::TRIM,
        config::TENANTS,
        config::REVISION,
        config::ENDPOINTS,
        config::SUBSCRIPTIONS,
        config_write::CREATE_TENANT,
        config_write::RAISE,
        config_write::ENDPOINT,
        config_write::ENDPOINT_BY_UID,
        config_write::PUT_ENDPOINT,
        config_write::DELETE_ENDPOINT,
        config_write::DELETE_SUBSCRIPTIONS,
        config_write::SUBSCRIPTION_REVISION,
        config_write::PUT_SUBSCRIPTION,
        config_write::DELETE_SUBSCRIPTION,
        dead_letters::RUNS,
        dead_letters::PUT,
        dead_letters::GET,
        dead_letters::LIST,
        dead_letters::TAKE,
        dead_letters::RESOLVE,
        event_types::GET,
        event_types::LIST,
        event_types::TYPE_REVISION,
        event_types::PUT,
        event_types::DELETE,
        events::PUT_EVENT,
        events::KEEP_EVENT,
        events::EVENT,
        events::NEWEST_EVENT,
        events::RECORD,
        events::DELIVERY_FACTS,
        events::EVENT_FACTS,
        events::ENDPOINT_FACTS,
        expiry::EXPIRE_FACTS,
        expiry::EXPIRE_KEYS,
        expiry::EXPIRE_INBOX,
        expiry::EXPIRE_DEAD_LETTERS,
        expiry::EXPIRE_EVENTS,
        idempotency::GET,
        idempotency::PUT,
        idempotency::FORGET,
        expiry::EXPIRE_JOBS,
        jobs::CREATE,
        jobs::GET,
        jobs::LIST,
        jobs::OPEN,
        jobs::SAVE,
        inbox::SEND,
        inbox::PENDING,
        inbox::DONE,
        lanes::SAVE,
        lanes::NEXT_SHARD,
        lanes::OF_SHARD,
        lanes::GET,
        lanes::REMOVE,
    ];
    all.extend(lines::STATEMENTS);
    all
}
