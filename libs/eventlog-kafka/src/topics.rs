//! Making topics, and looking at them.

mod refusal;

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use crate::client::{self, CALL_TIMEOUT, Context};
use crate::error::OpenError;
use crate::settings::Settings;
use crate::sources::PARTITIONS_MAX;

/// What [`migrate`] did about a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// Its name.
    pub topic: String,
    /// Its partitions.
    pub partitions: u16,
    /// Whether it was made now; otherwise it was there.
    pub is_new: bool,
}

/// Most partitions of the quarantine and of the outcomes, whose records need no order among each other.
const SIDE_PARTITIONS_MAX: u16 = 6;
const HOUR: Duration = Duration::from_secs(3_600);

/// A topic as it should be.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) partitions: u16,
    pub(crate) retention: Duration,
}

/// The topics of an installation, the events' first.
pub(crate) fn wanted(settings: &Settings) -> [Wanted; 4] {
    let topic = |name, partitions, retention| Wanted { name, partitions, retention };
    let side = settings.partitions.min(SIDE_PARTITIONS_MAX);
    [
        topic(settings.events(), settings.partitions, settings.retention),
        // As long as a person may need to look at what came in wrong.
        topic(settings.quarantine(), side, settings.retention.max(HOUR * 24 * 14)),
        topic(settings.hints(), 1, HOUR),
        topic(settings.outcomes(), side, HOUR * 24),
    ]
}

/// Makes the topics that are missing. Safe to run twice and from two processes; topics that exist are left as they are.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn migrate(settings: &Settings) -> Result<Vec<Made>, OpenError> {
    let admin = Admin::new(settings)?;
    let mut made = Vec::new();
    for wanted in wanted(settings) {
        made.push(admin.make(&wanted).await?);
    }
    for topic in made.iter().filter(|made| made.is_new) {
        until_known(settings, &topic.topic).await?;
    }
    Ok(made)
}

/// Brokers answer for a topic a moment before all of them know it.
async fn until_known(settings: &Settings, topic: &str) -> Result<(), OpenError> {
    const LOOKS_MAX: usize = 50;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..LOOKS_MAX {
        match look(settings, topic).await {
            Err(OpenError::NoTopic { .. }) => tokio::time::sleep(PAUSE).await,
            found => return found.map(drop),
        }
    }
    Err(OpenError::NoTopic { topic: topic.to_owned() })
}

/// The settings of a topic when it is made.
fn configs(settings: &Settings, wanted: &Wanted) -> [(&'static str, String); 5] {
    let in_sync = if settings.replication_factor >= 3 { "2" } else { "1" };
    [
        ("cleanup.policy", "delete".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("min.insync.replicas", in_sync.to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("retention.ms", wanted.retention.as_millis().to_string()),
    ]
}

/// Looks at a topic.
pub(crate) async fn look(settings: &Settings, name: &str) -> Result<Topic, OpenError> {
    let asked = (settings.clone(), name.to_owned());
    let found = tokio::task::spawn_blocking(move || describe(&asked.0, &asked.1)).await;
    found
        .map_err(|error| OpenError::Call { what: "answer".to_owned(), reason: error.to_string() })?
}

/// What an administrator's client can do.
pub(crate) struct Admin {
    client: AdminClient<Context>,
    context: Context,
    settings: Settings,
}

impl Admin {
    pub(crate) fn new(settings: &Settings) -> Result<Self, OpenError> {
        let context = Context::default();
        let config = client::asker(settings);
        let client = AdminClient::from_config_and_context(&config, context.clone())
            .map_err(|error| OpenError::of_settings(&error))?;
        Ok(Self { client, context, settings: settings.clone() })
    }

    async fn make(&self, wanted: &Wanted) -> Result<Made, OpenError> {
        let replication = TopicReplication::Fixed(i32::from(self.settings.replication_factor));
        let topic = NewTopic::new(&wanted.name, i32::from(wanted.partitions), replication);
        let configs = configs(&self.settings, wanted);
        let topic = configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let options = AdminOptions::new().request_timeout(Some(CALL_TIMEOUT * 2));
        let made = self.client.create_topics([&topic], &options).await;
        let made = made.map_err(|error| self.failed("make", &wanted.name, &error))?;
        let is_new = match made.into_iter().next() {
            Some(Ok(_)) | None => true,
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => false,
            // Who may not make topics may find them made.
            Some(Err((_, code))) => match look(&self.settings, &wanted.name).await {
                Ok(_) => false,
                Err(_) => return Err(refusal::meaning(&self.settings, wanted, code)),
            },
        };
        Ok(Made { topic: wanted.name.clone(), partitions: wanted.partitions, is_new })
    }

    /// One setting of a topic; `None` when it may not be seen.
    pub(crate) async fn setting(&self, topic: &str, name: &str) -> KafkaResult<Option<String>> {
        self.setting_of(ResourceSpecifier::Topic(topic), name).await
    }

    /// One setting of a broker; `None` when it may not be seen.
    pub(crate) async fn broker_setting(
        &self,
        broker: i32,
        name: &str,
    ) -> KafkaResult<Option<String>> {
        self.setting_of(ResourceSpecifier::Broker(broker), name).await
    }

    /// The numbers of the brokers.
    pub(crate) async fn brokers(&self) -> KafkaResult<Vec<i32>> {
        let settings = self.settings.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let client: BaseConsumer<Context> = BaseConsumer::from_config_and_context(
                &client::asker(&settings),
                Context::default(),
            )?;
            let cluster = client.fetch_metadata(Some(&settings.events()), CALL_TIMEOUT)?;
            Ok(cluster.brokers().iter().map(|broker| broker.id()).collect())
        });
        asked.await.map_err(|error| KafkaError::ClientCreation(error.to_string()))?
    }

    async fn setting_of(
        &self,
        resource: ResourceSpecifier<'_>,
        name: &str,
    ) -> KafkaResult<Option<String>> {
        let options = AdminOptions::new().request_timeout(Some(CALL_TIMEOUT));
        let asked = [resource];
        let found = self.client.describe_configs(&asked, &options).await?;
        let Some(Ok(resource)) = found.into_iter().next() else { return Ok(None) };
        Ok(resource.get(name).and_then(|entry| entry.value.clone()))
    }

    fn failed(&self, what: &str, topic: &str, error: &rdkafka::error::KafkaError) -> OpenError {
        let trouble = self.context.take_trouble();
        OpenError::of_topic(what, topic, self.settings.brokers(), error, trouble)
    }
}

/// A topic as it is.
pub(crate) struct Topic {
    pub(crate) partitions: u16,
    /// The fewest replicas of a partition.
    pub(crate) replicas: usize,
    /// The fewest in-sync replicas now.
    pub(crate) in_sync: usize,
}

/// The reason of connection trouble comes by the client's queue, which somebody has to serve, and a moment after the call has failed.
fn hear_trouble(consumer: &BaseConsumer<Context>) {
    const LOOKS_MAX: usize = 10;
    const LOOK: Duration = Duration::from_millis(100);
    for _ in 0..LOOKS_MAX {
        if consumer.context().has_trouble() {
            return;
        }
        let _ = consumer.poll(LOOK);
    }
}

/// Looks at a topic. Blocks.
pub(crate) fn describe(settings: &Settings, name: &str) -> Result<Topic, OpenError> {
    let context = Context::default();
    let config = client::asker(settings);
    let consumer: BaseConsumer<Context> =
        BaseConsumer::from_config_and_context(&config, context.clone())
            .map_err(|error| OpenError::of_settings(&error))?;
    let failed = |error: &rdkafka::error::KafkaError| {
        let trouble = context.take_trouble();
        OpenError::of_topic("read", name, settings.brokers(), error, trouble)
    };
    let metadata = match consumer.fetch_metadata(Some(name), CALL_TIMEOUT) {
        Ok(metadata) => metadata,
        Err(error) => {
            hear_trouble(&consumer);
            return Err(failed(&error));
        }
    };
    let found = metadata.topics().iter().find(|topic| topic.name() == name);
    let Some(found) = found else {
        return Err(OpenError::NoTopic { topic: name.to_owned() });
    };
    if let Some(code) = found.error() {
        let error = rdkafka::error::KafkaError::MetadataFetch(code.into());
        return Err(failed(&error));
    }
    let partitions = found.partitions();
    if partitions.is_empty() {
        return Err(OpenError::NoTopic { topic: name.to_owned() });
    }
    let max = usize::from(PARTITIONS_MAX);
    if partitions.len() > max {
        let partitions = partitions.len();
        return Err(OpenError::TooManyPartitions { topic: name.to_owned(), partitions, max });
    }
    let fewest = |of: fn(&rdkafka::metadata::MetadataPartition) -> usize| {
        partitions.iter().map(of).min().unwrap_or_default()
    };
    Ok(Topic {
        partitions: u16::try_from(partitions.len()).unwrap_or(u16::MAX),
        replicas: fewest(|partition| partition.replicas().len()),
        in_sync: fewest(|partition| partition.isr().len()),
    })
}
