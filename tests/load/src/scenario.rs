//! One run: a fresh process, its endpoints, load, and what came of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use wire::api::v1::endpoint_service_client::EndpointServiceClient;
use wire::api::v1::{CreateEndpointRequest, Endpoint, Subscription};

use crate::figures::{Latency, micros_each};
use crate::generator::{Generator, Load, Pace, event_type};
use crate::options::{Death, Rate};
use crate::place::{Log, Place};
use crate::postrider::Postrider;
use crate::sink::{Sink, Tally};
use crate::usage::Cpu;

/// Until connections are open, windows have grown and caches are warm.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// Without a delivery for so long nothing more is on its way.
const QUIET: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a run is made of.
#[derive(Clone)]
pub(crate) struct Setup<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) log: Log<'a>,
    /// The process of the broker, whose CPU time is told apart.
    pub(crate) broker_process: Option<u32>,
    pub(crate) load: Load,
    pub(crate) endpoints: u16,
    pub(crate) fan_out: u16,
    pub(crate) rate: Rate,
    pub(crate) undelivered_max: u64,
    pub(crate) time: Duration,
    /// The first so many endpoints are dead.
    pub(crate) dead: u16,
    pub(crate) dead_how: Death,
    /// So many after them are slow.
    pub(crate) slow: u16,
    /// Latencies of the first so many endpoints are left out, sick or not.
    pub(crate) unwatched: u16,
}

/// What a run measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) events_per_second: f64,
    /// Answered with a 2xx by the sink.
    pub(crate) deliveries_per_second: f64,
    /// User and system time of the whole process, microseconds a delivery.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    /// The same of the broker, where the log is on one.
    pub(crate) broker_us: Option<f64>,
    /// From the scheduled time of the publish call to the end of the request at the receiver.
    pub(crate) latency: Latency,
    /// From the scheduled time of the publish call to its answer.
    pub(crate) ack: Latency,
    pub(crate) peak_mb: f64,
    /// Events that were refused, and the first reason.
    pub(crate) refused: u64,
    pub(crate) first_refusal: Option<String>,
    /// Deliveries to healthy endpoints that had not come when nothing moved any more.
    pub(crate) missing: i64,
}

impl Setup<'_> {
    fn groups(&self) -> u16 {
        self.endpoints / self.fan_out
    }

    fn pace(&self, tally: &std::sync::Arc<Tally>) -> Pace {
        let batch = u64::from(self.load.batch);
        match self.rate {
            Rate::Fixed(events) => Pace::fixed(events / batch as f64),
            Rate::Max => Pace::max(
                std::sync::Arc::clone(tally),
                batch * u64::from(self.fan_out),
                self.undelivered_max,
            ),
        }
    }
}

/// Runs it once.
pub(crate) async fn run(setup: &Setup<'_>, sink: &Sink) -> Result<Run> {
    let place = Place::new(setup.binary, setup.log).await?;
    let server = Postrider::start(setup.binary, &place).await?;
    create_endpoints(setup, &server, sink).await?;
    let tally = sink.tally();
    let answered_before = tally.answered();
    let generator = Generator::start(&setup.load, setup.pace(tally), &server).await?;
    // Until caches and connections are warm no condition tells; time is what a run is made of.
    tokio::time::sleep_until((Instant::now() + WARM_UP).into()).await;

    let progress = generator.progress();
    tally.record();
    progress.record();
    let broker = || setup.broker_process.map(Cpu::of_process).transpose();
    let (began, cpu_before, broker_before) = (Instant::now(), server.cpu()?, broker()?);
    let (accepted, answered) = (progress.accepted(), tally.answered());
    tokio::time::sleep_until((began + setup.time).into()).await;
    let (cpu, seconds) = (server.cpu()?.since(cpu_before), began.elapsed().as_secs_f64());
    let broker = broker()?.zip(broker_before).map(|(now, before)| now.since(before).total());
    let (accepted, answered) = (progress.accepted() - accepted, tally.answered() - answered);
    let latency = Latency::of(tally.recorded(setup.unwatched));
    let ack = Latency::of(progress.recorded());

    let progress = generator.stop().await?;
    let expected = progress.accepted() * u64::from(setup.fan_out);
    let came = drain(tally, answered_before, expected).await;
    let (refused, first_refusal) = progress.refused();
    let sick = u64::from(setup.dead + setup.slow);
    let healthy = expected.saturating_sub(expected * sick / u64::from(setup.endpoints));
    Ok(Run {
        events_per_second: accepted as f64 / seconds,
        deliveries_per_second: answered as f64 / seconds,
        cpu_us: micros_each(cpu.total(), answered),
        user_us: micros_each(cpu.user, answered),
        broker_us: broker.map(|cpu| micros_each(cpu, answered)),
        latency,
        ack,
        peak_mb: server.memory()?.peak as f64 / 1e6,
        refused,
        first_refusal,
        // With sick endpoints their share is known only to a turn of the groups.
        missing: if sick > 0 && came.abs_diff(healthy) <= u64::from(setup.endpoints) {
            0
        } else {
            i64::try_from(healthy)? - i64::try_from(came)?
        },
    })
}

/// Waits until all has come, or nothing comes any more; returns how many came.
pub(crate) async fn drain(tally: &Tally, before: u64, expected: u64) -> u64 {
    let (mut last, mut since) = (tally.answered(), Instant::now());
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    while last - before < expected && since.elapsed() < QUIET {
        looks.tick().await;
        let now = tally.answered();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    tally.answered() - before
}

pub(crate) async fn create_endpoints(
    setup: &Setup<'_>,
    server: &Postrider,
    sink: &Sink,
) -> Result<()> {
    let mut client = EndpointServiceClient::new(server.connect().await?);
    for index in 0..setup.endpoints {
        let url = if index < setup.dead {
            sink.dead_url(index, setup.dead_how)
        } else if index < setup.dead + setup.slow {
            sink.slow_url(index)
        } else {
            sink.url(index)
        };
        let request = CreateEndpointRequest {
            parent: "tenants/default".into(),
            endpoint_id: format!("load-{index}"),
            endpoint: Some(Endpoint { url, ..Endpoint::default() }),
            subscriptions: vec![Subscription {
                event_types: vec![event_type(u64::from(index % setup.groups()))],
                ..Subscription::default()
            }],
            ..CreateEndpointRequest::default()
        };
        client.create_endpoint(request).await.context("creating an endpoint")?;
    }
    Ok(())
}
