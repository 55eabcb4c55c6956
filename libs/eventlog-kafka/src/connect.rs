//! Opening the log of a cluster.

use std::sync::{Arc, Mutex};

use ports::Clock;
use rdkafka::consumer::Consumer as _;

use crate::client::CALL_TIMEOUT;
use crate::error::OpenError;
use crate::feed::KafkaFeed;
use crate::log::KafkaLog;
use crate::observations::KafkaObservations;
use crate::producer::Producer;
use crate::reader::Readers;
use crate::settings::{Settings, Source};
use crate::sources::Sources;
use crate::topics::{self, Admin, Topic};

/// A cluster of brokers whose topics are as they have to be.
pub struct Kafka {
    log: Arc<KafkaLog>,
    feed: Arc<KafkaFeed>,
    observations: Arc<KafkaObservations>,
    id: String,
}

impl Kafka {
    /// Looks at the topics, and opens the ports on them.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub async fn connect(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let found = describe(settings).await?;
        check(settings, &found).await?;
        let partitions = found.iter().map(|(_, topic)| topic.partitions);
        let sources = Arc::new(Sources::new(settings, partitions));
        let topic = settings.events();
        let refused = |error: rdkafka::error::KafkaError| OpenError::of_settings(&error);
        let producer = Producer::new(settings, sources.clone(), clock.clone()).map_err(refused)?;
        let observations = KafkaObservations::new(settings).map_err(refused)?;
        let readers = Readers::new(settings.clone(), sources.clone(), clock.clone());
        let asked = topic.clone();
        let cluster = readers
            .with(move |client| {
                // Brings the id along; it is waited for otherwise.
                client.fetch_metadata(Some(&asked), CALL_TIMEOUT)?;
                Ok(client.client().fetch_cluster_id(CALL_TIMEOUT))
            })
            .await
            .map_err(|error| OpenError::Call {
                what: "name its cluster".to_owned(),
                reason: error.to_string(),
            })?;
        let feed = blocking({
            let settings = settings.clone();
            move || {
                KafkaFeed::open(&settings).map_err(|error| {
                    let topic = settings.hints();
                    OpenError::of_topic("read", &topic, settings.brokers(), &error, None)
                })
            }
        });
        let feed = feed.await?;
        let id = format!("kafka {}/{topic}", cluster.unwrap_or_default());
        let log = KafkaLog {
            settings: settings.clone(),
            shards: sources.shards(),
            sources,
            producer,
            readers,
            clock,
            members: Mutex::default(),
        };
        Ok(Self {
            log: Arc::new(log),
            feed: Arc::new(feed),
            observations: Arc::new(observations),
            id,
        })
    }

    /// The event log.
    #[must_use]
    pub fn log(&self) -> Arc<KafkaLog> {
        self.log.clone()
    }

    /// The hints.
    #[must_use]
    pub fn feed(&self) -> Arc<KafkaFeed> {
        self.feed.clone()
    }

    /// Attempts as they happen.
    #[must_use]
    pub fn observations(&self) -> Arc<KafkaObservations> {
        self.observations.clone()
    }

    /// Names the log among others: its cluster and its topic.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether the brokers answer.
    ///
    /// # Errors
    /// When they do not.
    pub async fn ping(&self) -> ports::Result<()> {
        let topic = self.log.settings.events();
        let asked = self
            .log
            .readers
            .with(move |client| client.fetch_metadata(Some(&topic), CALL_TIMEOUT).map(drop));
        asked.await
    }

    /// How many records of this process the brokers did not confirm since the last one that they did, and why the last of them was not confirmed; none when
    /// nobody has written for half a minute.
    #[must_use]
    pub fn unconfirmed(&self) -> Option<(u64, String)> {
        self.log.producer.told_unconfirmed()
    }

    /// How many members a group has; only those of the classic protocol are seen.
    ///
    /// # Errors
    /// When the brokers do not say.
    pub async fn members(&self, group: &str) -> ports::Result<usize> {
        let group = group.to_owned();
        let asked = self.log.readers.with(move |client| {
            let found = client.fetch_group_list(Some(&group), CALL_TIMEOUT)?;
            Ok(found.groups().iter().map(|group| group.members().len()).sum())
        });
        asked.await
    }

    /// Waits until the members that were dropped have left their groups, so that others need not wait for their silence.
    pub async fn close(&self) {
        let log = self.log.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || log.wait_for_members()).await {
            tracing::error!(%error, "closing the event log panicked");
        }
    }
}

/// Looks at all topics; answers for those that events are read from, in their order.
async fn describe(settings: &Settings) -> Result<Vec<(Source, Topic)>, OpenError> {
    let settings = settings.clone();
    blocking(move || {
        let mut sources = Vec::new();
        for source in settings.sources() {
            let topic = topics::describe(&settings, &source.topic)?;
            sources.push((source, topic));
        }
        for beside in &topics::wanted(&settings)[1..] {
            topics::describe(&settings, &beside.name)?;
        }
        Ok(sources)
    })
    .await
}

/// What would lose events.
async fn check(settings: &Settings, sources: &[(Source, Topic)]) -> Result<(), OpenError> {
    let admin = Admin::new(settings)?;
    for (source, found) in sources {
        check_source(settings, &admin, &source.topic, found).await?;
    }
    Ok(())
}

async fn check_source(
    settings: &Settings,
    admin: &Admin,
    topic: &str,
    found: &Topic,
) -> Result<(), OpenError> {
    // Where settings may not be seen, doctor says so; that alone is no reason to stand still.
    let setting = async |name: &str| {
        let reason = match admin.setting(topic, name).await {
            Ok(Some(value)) => return Some(value),
            // What the brokers say to a user without the right to see it.
            Ok(None) => "it is not shown to this user".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            reason,
            topic,
            name,
            "a topic's setting cannot be read, and is taken to be safe: grant DESCRIBE_CONFIGS on the topic"
        );
        None
    };
    let topic = || topic.to_owned();
    if let Some(policy) = setting("cleanup.policy").await
        && policy.contains("compact")
    {
        return Err(OpenError::Compacted { topic: topic(), policy });
    }
    let in_sync = setting("min.insync.replicas").await;
    let in_sync = in_sync.and_then(|value| value.parse().ok());
    let too_few = found.replicas < 3 || in_sync.is_some_and(|in_sync: usize| in_sync < 2);
    if too_few && !settings.allow_few_replicas {
        let replicas = found.replicas;
        return Err(OpenError::FewReplicas {
            topic: topic(),
            replicas,
            in_sync: in_sync.unwrap_or(1),
        });
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| {
        Err(OpenError::Call { what: "answer".to_owned(), reason: error.to_string() })
    })
}
