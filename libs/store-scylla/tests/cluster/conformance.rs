//! The cluster's stores keep the contracts of the ports, on a real Cassandra or ScyllaDB.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use ports::conformance::{StoreFixture, StoreUnderTest, store_suite};
use ports::{Clock as _, Stores};
use testkit::SimClock;

use crate::keyspace::{self, Keyspace};

struct Fixture {
    node: String,
}

struct OneStore {
    keyspace: Keyspace,
    clock: SimClock,
    stores: Option<Stores>,
}

impl OneStore {
    async fn connect(&mut self) {
        self.stores =
            Some(Stores::of(&self.keyspace.connect(Arc::new(self.clock.clone())).await.store()));
    }
}

#[async_trait]
impl StoreFixture for Fixture {
    async fn fresh(&self) -> Box<dyn StoreUnderTest> {
        let keyspace = Keyspace::make(&self.node).await;
        let mut store = OneStore { keyspace, clock: SimClock::default(), stores: None };
        store.connect().await;
        Box::new(store)
    }
}

#[async_trait]
impl StoreUnderTest for OneStore {
    fn stores(&self) -> Stores {
        self.stores.clone().expect("connected")
    }

    async fn restart(&mut self) {
        self.stores = None;
        self.connect().await;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn maintain(&self) {
        // Expiry is the tables'; what readers hide is what the contract asks for.
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stores_of_a_cluster_keep_their_contracts() {
    let Some(node) = keyspace::node() else { return };
    store_suite(&Fixture { node }).await;
}
