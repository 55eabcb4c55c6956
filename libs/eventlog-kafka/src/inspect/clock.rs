//! The brokers' clock.

use domain::Timestamp;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaError;
use rdkafka::message::Timestamp as Stamp;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::client::{self, CALL_TIMEOUT, Context};
use crate::error::OpenError;
use crate::settings::Settings;

/// Says what time it is for the brokers, by a hint that says nothing.
///
/// # Errors
/// When the topic of hints takes no record, or keeps the producers' times.
pub async fn broker_time(settings: &Settings) -> Result<Timestamp, OpenError> {
    let hints = settings.hints();
    let failed =
        |reason: String| OpenError::Call { what: format!("stamp a record of {hints}"), reason };
    match stamp(settings, &hints).await.map_err(|error| failed(error.to_string()))? {
        Stamp::LogAppendTime(ms) => Ok(Timestamp::from_millis(ms)),
        Stamp::CreateTime(_) | Stamp::NotAvailable => Err(failed(
            "it keeps the producers' times; set message.timestamp.type=LogAppendTime on it"
                .to_owned(),
        )),
    }
}

async fn stamp(settings: &Settings, hints: &str) -> Result<Stamp, KafkaError> {
    let config = client::careless_producer(settings);
    let producer: FutureProducer<Context> =
        FutureProducer::from_config_and_context(&config, Context::default())?;
    // Readers of hints pass over what they do not know.
    let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(hints).partition(0).payload(b"{}");
    let taken = producer.send(record, CALL_TIMEOUT).await.map_err(|(error, _)| error)?;
    Ok(taken.timestamp)
}
