//! Hints between processes: a topic that each reads from its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::{Revision, Shard, TenantId};
use ports::{ConfigFeed, Error, ErrorKind, Hint};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::client::{self, Context};
use crate::settings::Settings;
use crate::tail::Tail;

/// Hints that a listener may be behind before it is told to read everything again.
const QUEUE: usize = 1_024;

/// A hint as JSON: `{"tenant":"acme","revision":7}` or `{"inbox":3}`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Tenant { tenant: String, revision: u64 },
    Inbox { inbox: u16 },
}

impl Wire {
    fn from_hint(hint: &Hint) -> Self {
        match hint {
            Hint::Tenant(tenant, revision) => {
                Self::Tenant { tenant: tenant.as_str().to_owned(), revision: revision.0 }
            }
            Hint::Inbox(shard) => Self::Inbox { inbox: shard.0 },
        }
    }

    fn hint(self) -> Option<Hint> {
        match self {
            Self::Tenant { tenant, revision } => {
                Some(Hint::Tenant(TenantId::parse(&tenant).ok()?, Revision(revision)))
            }
            Self::Inbox { inbox } => Some(Hint::Inbox(Shard(inbox))),
        }
    }
}

/// The `ConfigFeed` of a cluster.
pub struct KafkaFeed {
    topic: String,
    producer: ThreadedProducer<Context>,
    hints: broadcast::Sender<Hint>,
    stopped: Arc<AtomicBool>,
}

impl KafkaFeed {
    /// Begins to listen at the topic's end. Blocks.
    pub(crate) fn open(settings: &Settings) -> KafkaResult<Self> {
        let topic = settings.hints();
        let config = client::careless_producer(settings);
        let producer = ThreadedProducer::from_config_and_context(&config, Context::default())?;
        let tail = Tail::of(settings, &topic)?;
        let (hints, _) = broadcast::channel(QUEUE);
        let stopped = Arc::new(AtomicBool::new(false));
        let (tell, stop) = (hints.clone(), stopped.clone());
        tail.read(
            "kafka-hints",
            move || !stop.load(Ordering::Acquire),
            move |value| {
                // What a later version says, or another program, is no hint for us.
                let wire = serde_json::from_slice::<Wire>(value).ok();
                if let Some(hint) = wire.and_then(Wire::hint) {
                    // Nobody listens yet: nobody needs to be told.
                    let _ = tell.send(hint);
                }
            },
        )?;
        Ok(Self { topic, producer, hints, stopped })
    }
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

#[async_trait]
impl ConfigFeed for KafkaFeed {
    async fn hint(&self, hint: Hint) -> ports::Result<()> {
        let value = serde_json::to_vec(&Wire::from_hint(&hint)).map_err(|error| {
            Error::new(ErrorKind::Bug, "a hint could not be written").with_source(error)
        })?;
        // One partition, so that hints keep their order.
        let record: BaseRecord<'_, (), [u8]> =
            BaseRecord::to(&self.topic).partition(0).payload(&value);
        self.producer.send(record).map_err(|(error, _)| crate::error::not_appended(error))
    }

    fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}
