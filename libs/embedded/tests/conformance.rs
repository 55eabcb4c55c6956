//! The embedded engine keeps the contracts of the ports.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use ports::conformance::{
    LogFixture, LogUnderTest, StoreFixture, StoreUnderTest, config_feed_suite, event_log_suite,
    observations_suite, store_suite,
};
use ports::{Clock, EventLog, Stores};
use postrider_embedded::{Embedded, InProcessFeed, InProcessObservations, Options};
use tempfile::TempDir;
use testkit::SimClock;

struct Fixture;

/// A data directory that can be opened again.
struct Engine {
    dir: TempDir,
    clock: SimClock,
    open: Embedded,
}

impl Engine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = SimClock::default();
        let open = open(&dir, &clock, None);
        Self { dir, clock, open }
    }

    async fn reopen(&mut self) {
        self.open.close().await;
        self.open = open(&self.dir, &self.clock, None);
    }
}

fn open(dir: &TempDir, clock: &SimClock, log_bytes_max: Option<u64>) -> Embedded {
    let options =
        Options { free_space_floor: 0, log_bytes_max, ..Options::new(Arc::new(clock.clone())) };
    Embedded::open(dir.path(), options).expect("open")
}

#[async_trait]
impl LogFixture for Fixture {
    async fn fresh(&self) -> Box<dyn LogUnderTest> {
        Box::new(Engine::new())
    }
}

#[async_trait]
impl LogUnderTest for Engine {
    fn log(&self) -> Arc<dyn EventLog> {
        self.open.log()
    }

    async fn restart(&mut self) {
        self.reopen().await;
    }

    async fn remove_all(&mut self) {
        self.open.close().await;
        // The hard limit is the only way to remove what was not acked.
        self.open = open(&self.dir, &self.clock, Some(1));
        let done = self.open.maintain(self.clock.now()).await;
        assert!(done.expect("maintain").records_lost > 0);
        self.reopen().await;
    }
}

#[async_trait]
impl StoreFixture for Fixture {
    async fn fresh(&self) -> Box<dyn StoreUnderTest> {
        Box::new(Engine::new())
    }
}

#[async_trait]
impl StoreUnderTest for Engine {
    fn stores(&self) -> Stores {
        Stores::of(&self.open.store())
    }

    async fn restart(&mut self) {
        self.reopen().await;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn maintain(&self) {
        let done = self.open.maintain(self.clock.now()).await;
        done.expect("maintain");
    }
}

#[tokio::test]
async fn the_embedded_log_keeps_the_contract() {
    event_log_suite(&Fixture).await;
}

#[tokio::test]
async fn the_embedded_stores_keep_their_contracts() {
    store_suite(&Fixture).await;
}

#[tokio::test]
async fn the_feed_in_the_process_keeps_the_contract() {
    config_feed_suite(&InProcessFeed::new()).await;
}

#[tokio::test]
async fn the_observations_in_the_process_keep_the_contract() {
    observations_suite(&InProcessObservations::new()).await;
}
