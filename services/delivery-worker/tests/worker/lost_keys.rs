//! Keys that are not there for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ports::{KeyError, KeyProvider};
use testkit::PlainKeys;

use crate::world::{World, secs};

/// Keys that a test may take away.
#[derive(Default)]
pub(crate) struct LosableKeys {
    keys: PlainKeys,
    pub(crate) lost: AtomicBool,
}

#[async_trait]
impl KeyProvider for LosableKeys {
    async fn seal(&self, plain: &[u8], context: &str) -> Result<Bytes, KeyError> {
        self.keys.seal(plain, context).await
    }

    async fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, KeyError> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(KeyError::MissingKey("k1".to_owned()));
        }
        self.keys.open(sealed, context).await
    }
}

#[tokio::test]
async fn what_waits_for_a_key_goes_out_once_the_key_is_restored() {
    let mut world = World::new().await;
    world.endpoint("orders", 1).await;
    world.keys.lost.store(true, Ordering::SeqCst);
    world.start().await;
    world.publish("evt_1").await;
    world.pass(secs(65)).await;
    assert_eq!(world.sent("orders").len(), 0);
    let keys = Arc::clone(&world.keys);
    keys.lost.store(false, Ordering::SeqCst);
    world.pass(secs(35)).await;
    assert_eq!(world.sent("orders").len(), 1, "no revision changed");
}
