//! Attempts, told between processes: a topic that is written by all workers, and read from its end while somebody watches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::Observation;
use ports::{Error, ErrorKind, Observations};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use tokio::sync::broadcast;

use crate::client::{self, Context};
use crate::outcome::Wire;
use crate::settings::Settings;
use crate::tail::Tail;

/// Observations that a watcher may be behind before it loses the oldest: about 1 MB while somebody watches.
const QUEUE: usize = 4_096;

/// The `Observations` of a cluster.
pub struct KafkaObservations {
    settings: Settings,
    topic: String,
    producer: ThreadedProducer<Context>,
    watched: Arc<Watched>,
    /// One begins to read at a time.
    beginning: tokio::sync::Mutex<()>,
}

struct Watched {
    watchers: broadcast::Sender<Arc<Observation>>,
    /// Whether a thread reads the topic for them.
    is_read: Mutex<bool>,
    closed: AtomicBool,
}

impl Watched {
    /// Whether the thread that reads goes on; it has ended when this is false.
    fn goes_on(&self) -> bool {
        if self.watchers.receiver_count() > 0 && !self.closed.load(Ordering::Acquire) {
            return true;
        }
        let mut is_read = self.is_read();
        // Somebody may have come meanwhile: who comes looks under this lock.
        *is_read = self.watchers.receiver_count() > 0 && !self.closed.load(Ordering::Acquire);
        *is_read
    }

    fn is_read(&self) -> std::sync::MutexGuard<'_, bool> {
        self.is_read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KafkaObservations {
    pub(crate) fn new(settings: &Settings) -> KafkaResult<Self> {
        let config = client::outcomes_producer(settings);
        Ok(Self {
            settings: settings.clone(),
            topic: settings.outcomes(),
            producer: ThreadedProducer::from_config_and_context(&config, Context::default())?,
            watched: Arc::new(Watched {
                watchers: broadcast::Sender::new(QUEUE),
                is_read: Mutex::new(false),
                closed: AtomicBool::new(false),
            }),
            beginning: tokio::sync::Mutex::new(()),
        })
    }

    /// Begins to read for the watchers, unless that goes on already.
    async fn read(&self) -> ports::Result<()> {
        let _one = self.beginning.lock().await;
        if *self.watched.is_read() {
            return Ok(());
        }
        let (settings, topic) = (self.settings.clone(), self.topic.clone());
        let opened = tokio::task::spawn_blocking(move || Tail::of(&settings, &topic)).await;
        let opened = opened.map_err(|error| {
            Error::new(ErrorKind::Bug, "opening the topic of outcomes panicked").with_source(error)
        })?;
        let tail = opened.map_err(crate::error::not_read)?;
        *self.watched.is_read() = true;
        let (watched, watchers) = (self.watched.clone(), self.watched.watchers.clone());
        let began = tail.read(
            "kafka-outcomes",
            move || watched.goes_on(),
            move |value| {
                // What a later version says, or another program, is no observation for us.
                if let Some(observation) = Wire::read(value) {
                    // The last watcher may have left.
                    let _ = watchers.send(Arc::new(observation));
                }
            },
        );
        began.map_err(|error| {
            *self.watched.is_read() = false;
            crate::error::not_read(error)
        })
    }
}

impl Drop for KafkaObservations {
    fn drop(&mut self) {
        self.watched.closed.store(true, Ordering::Release);
    }
}

#[async_trait]
impl Observations for KafkaObservations {
    fn tell(&self, observation: Observation) {
        let value = match Wire::of(&observation) {
            Ok(value) => value,
            Err(error) => {
                return tracing::error!(%error, "an observation could not be written: a bug");
            }
        };
        // Those of one endpoint keep their order.
        let key = format!("{}/{}", observation.event.tenant, observation.endpoint);
        let record: BaseRecord<'_, str, [u8]> =
            BaseRecord::to(&self.topic).key(key.as_str()).payload(&value);
        if let Err((error, _)) = self.producer.send(record) {
            tracing::debug!(%error, "an observation is dropped");
        }
    }

    async fn watch(&self) -> ports::Result<broadcast::Receiver<Arc<Observation>>> {
        // Before it is looked whether anybody reads: that one goes on then.
        let watcher = self.watched.watchers.subscribe();
        self.read().await?;
        Ok(watcher)
    }
}
