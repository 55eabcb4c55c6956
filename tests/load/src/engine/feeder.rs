//! Appends records from a thread of its own, so that none of it is counted as the worker's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use domain::record::{Record, encode};
use domain::{ApiVersion, ContentType, Event, EventId, EventType, TenantId, Timestamp};
use ports::EventLog as _;
use testkit::MemoryLog;

use super::Setup;
use crate::generator::event_type;
use crate::sink::Tally;

/// Most records of one append: what a reader of the log takes at once.
const BATCH_MAX: u64 = 500;
/// How long it waits before it looks again whether deliveries have caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A feeder at work.
pub(super) struct Feeder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Feeder {
    /// Appends on and on, while less than `undelivered_max` deliveries are under way.
    pub(super) fn start(setup: &Setup, log: MemoryLog, tally: Arc<Tally>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let fan_out = u64::from(setup.fan_out);
        let records = Records {
            groups: u64::from(setup.endpoints / setup.fan_out),
            // One piece of memory for all: the log keeps every record, and the worker only reads it.
            data: setup.epoch.data(Instant::now(), setup.size),
        };
        let undelivered_max = setup.undelivered_max;
        let batch = (undelivered_max / fan_out / 2).clamp(1, BATCH_MAX);
        let thread = thread::Builder::new().name("feeder".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let before = tally.answered();
                let mut appended = 0;
                let mut looks = tokio::time::interval(LOOK_AGAIN);
                while !stopped.load(Ordering::Relaxed) {
                    let under_way = (appended * fan_out).saturating_sub(tally.answered() - before);
                    if under_way + batch * fan_out > undelivered_max.max(batch * fan_out) {
                        // Looks again rather than be woken: a wake-up per delivery would be part of the sink's work.
                        looks.tick().await;
                        continue;
                    }
                    let batch = records.make(appended..appended + batch)?;
                    appended += append(&log, batch).await?;
                }
                Ok(appended)
            })
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it; returns how many records it appended.
    pub(super) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the feeder panicked"))?
    }
}

async fn append(log: &MemoryLog, records: Vec<Record>) -> Result<u64> {
    let count = u64::try_from(records.len())?;
    let answers = log.append(records).await;
    let failed = answers.into_iter().find_map(Result::err);
    ensure!(failed.is_none(), "a record was not taken: {failed:?}");
    Ok(count)
}

struct Records {
    groups: u64,
    data: Bytes,
}

impl Records {
    fn make(&self, numbers: std::ops::Range<u64>) -> Result<Vec<Record>> {
        numbers.map(|number| self.record(number)).collect()
    }

    fn record(&self, number: u64) -> Result<Record> {
        let event_type = event_type(number % self.groups);
        Ok(encode(&Event {
            tenant: TenantId::default_tenant(),
            id: EventId::parse(&format!("load-{number}")).context("an id")?,
            event_type: EventType::parse(&event_type).context("a type")?,
            created_at: Timestamp::from_millis(1_700_000_000_000),
            api_version: ApiVersion::parse("2026-01-01").context("a version")?,
            content_type: ContentType::json(),
            data: self.data.clone(),
            ordering_key: None,
            idempotency_key: None,
            channels: Vec::new(),
            deliver_at: None,
            revision: None,
            traceparent: None,
        }))
    }
}
