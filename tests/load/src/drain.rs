//! A log full of events and a worker that begins: what delivering alone costs, without the API.
//!
//! The records are written through the log's own port before the process starts, the same ones on every log. From its start on the process does
//! nothing else than read, match, sign, send and record them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::record::{Record, encode};
use domain::{ApiVersion, ContentType, Event, EventId, EventType, TenantId, Timestamp};
use serde::Serialize;

use crate::figures::{micros_each, ratio};
use crate::generator::event_type;
use crate::place::Place;
use crate::postrider::Postrider;
use crate::scenario::{Setup, create_endpoints};
use crate::sink::Sink;

/// Records of one append.
const BATCH: u64 = 500;
/// Without a delivery for so long nothing more is on its way: longer than a group takes to share out its shards.
const QUIET: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a run measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Drained {
    /// From the first delivery to the last.
    pub(crate) deliveries_per_second: f64,
    /// User and system time of the process, its start included, microseconds a delivery.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) peak_mb: f64,
    /// Deliveries that had not come when nothing moved any more.
    pub(crate) missing: u64,
}

/// Fills a log with `events`, and lets a process deliver them.
pub(crate) async fn run(setup: &Setup<'_>, sink: &Sink, events: u64) -> Result<Drained> {
    let place = Place::new(setup.binary, setup.log).await?;
    let server = Postrider::start(setup.binary, &place).await?;
    create_endpoints(setup, &server, sink).await?;
    server.stop().await?;
    fill(&place, setup, events).await?;

    let tally = sink.tally();
    let before = tally.answered();
    let expected = events * u64::from(setup.fan_out);
    let server = Postrider::start(setup.binary, &place).await?;
    let (mut first, mut last, mut came) = (None, Instant::now(), 0);
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    while came < expected && last.elapsed() < QUIET {
        looks.tick().await;
        let now = tally.answered() - before;
        if now != came {
            first.get_or_insert((Instant::now(), now));
            (came, last) = (now, Instant::now());
        }
    }
    let cpu = server.cpu()?;
    let (began, seen) = first.context("nothing was delivered")?;
    Ok(Drained {
        deliveries_per_second: ratio((came - seen) as f64, (last - began).as_secs_f64()),
        cpu_us: micros_each(cpu.total(), came),
        user_us: micros_each(cpu.user, came),
        peak_mb: server.memory()?.peak as f64 / 1e6,
        missing: expected.saturating_sub(came),
    })
}

async fn fill(place: &Place, setup: &Setup<'_>, events: u64) -> Result<()> {
    place
        .with_log(async |log| {
            for first in (0..events).step_by(usize::try_from(BATCH)?) {
                let numbers = first..events.min(first + BATCH);
                let records = numbers.map(|number| record(setup, number)).collect::<Result<_>>()?;
                let answers = log.append(records).await;
                let failed = answers.into_iter().find_map(Result::err);
                ensure!(failed.is_none(), "a record was not taken: {failed:?}");
            }
            Ok(())
        })
        .await
}

/// The record of an event as the API writes it, without a key: so each log spreads them over its shards.
fn record(setup: &Setup<'_>, number: u64) -> Result<Record> {
    let group = number % u64::from(setup.load.groups);
    Ok(encode(&Event {
        tenant: TenantId::default_tenant(),
        id: EventId::parse(&format!("load-{number}"))?,
        event_type: EventType::parse(&event_type(group))?,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        api_version: ApiVersion::parse("2026-01-01")?,
        content_type: ContentType::json(),
        data: setup.load.epoch.data(Instant::now(), setup.load.size),
        ordering_key: None,
        idempotency_key: None,
        channels: Vec::new(),
        deliver_at: None,
        revision: None,
        traceparent: None,
    }))
}
