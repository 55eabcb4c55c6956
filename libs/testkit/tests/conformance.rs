//! The in-memory ports keep the contracts of the real ones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use ports::conformance::{
    LogFixture, LogUnderTest, StoreFixture, StoreUnderTest, config_feed_suite, event_log_suite,
    observations_suite, store_suite,
};
use ports::{Clock, EventLog, Stores};
use postrider_testkit::{MemoryFeed, MemoryLog, MemoryObservations, MemoryStore, SimClock};

struct Memory;

#[async_trait]
impl LogFixture for Memory {
    async fn fresh(&self) -> Box<dyn LogUnderTest> {
        Box::new(Log(MemoryLog::new(4, Arc::new(SimClock::default()))))
    }
}

struct Log(MemoryLog);

#[async_trait]
impl LogUnderTest for Log {
    fn log(&self) -> Arc<dyn EventLog> {
        Arc::new(self.0.clone())
    }

    async fn restart(&mut self) {
        self.0.restart();
    }

    async fn remove_all(&mut self) {
        self.0.remove_all();
    }
}

#[async_trait]
impl StoreFixture for Memory {
    async fn fresh(&self) -> Box<dyn StoreUnderTest> {
        let clock = SimClock::default();
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Box::new(Store { clock, store })
    }
}

struct Store {
    clock: SimClock,
    store: Arc<MemoryStore>,
}

#[async_trait]
impl StoreUnderTest for Store {
    fn stores(&self) -> Stores {
        Stores::of(&self.store)
    }

    async fn restart(&mut self) {}

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn maintain(&self) {
        self.store.maintain();
    }
}

#[tokio::test]
async fn the_memory_log_keeps_the_contract() {
    event_log_suite(&Memory).await;
}

#[tokio::test]
async fn the_memory_stores_keep_their_contracts() {
    store_suite(&Memory).await;
}

#[tokio::test]
async fn the_memory_feed_keeps_the_contract() {
    config_feed_suite(&MemoryFeed::new()).await;
}

#[tokio::test]
async fn the_memory_observations_keep_the_contract() {
    observations_suite(&MemoryObservations::default()).await;
}
