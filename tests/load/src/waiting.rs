//! Deliveries behind an open breaker: what waiting costs, and how fast they go out once the receiver has healed.
//!
//! One endpoint, one process, in this order: the process idle; the endpoint healthy, events published as fast as they are delivered; the endpoint refusing
//! (500), its breaker open, `count` events published; the process waiting; the endpoint healed and a probe asked for by a changed header; the drain. Bodies are
//! short ([`SIZE`]), so that a million fit on a disk. The retry schedule has steps of five minutes, the breaker's longest pace, so that no probe falls
//! into the measurement; the few deliveries whose attempts failed before the breaker opened wait for their own retry and are not part of the drain.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use wire::api::v1::endpoint_service_client::EndpointServiceClient;
use wire::api::v1::{
    CreateEndpointRequest, DeliveryPolicy, Endpoint, Subscription, UpdateEndpointRequest,
};

use crate::figures::ratio;
use crate::generator::{Event, Generator, Pace, event_type, publish};
use crate::idle::settle;
use crate::place::Place;
use crate::postrider::Postrider;
use crate::report::note;
use crate::scenario::{Setup, WARM_UP, drain};
use crate::sink::{Sink, Tally};
use crate::usage::{Cpu, Io, Switches};

/// Bytes of each event's data.
pub(crate) const SIZE: usize = 64;
/// Events of one publish call while the breaker is open.
const BATCH: u64 = 1_000;
/// How long the process is watched: the measurement is of this stretch of time, not of a condition.
const WATCHED: Duration = Duration::from_secs(10);
/// And how long it is left alone before: lanes are saved, and connections closed, seconds after the work that led to it.
const REST: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Without a delivery for so long nothing more is on its way: longer than a probe that was asked for takes to go out.
const QUIET: Duration = Duration::from_secs(10);
/// The breaker's longest pace (spec §3).
const RETRY_AFTER: Duration = Duration::from_secs(300);
const RETRIES: usize = 3;

/// What a process did while it was watched.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Quiet {
    /// Sent to the disk (`write_bytes` of `/proc/PID/io`).
    pub(crate) written_bytes: u64,
    /// Given to write calls, sockets and signals between threads among them.
    pub(crate) write_call_bytes: u64,
    pub(crate) cpu_ms: f64,
    /// How often a thread of it went to sleep: voluntary context switches.
    pub(crate) wake_ups: u64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Waiting {
    pub(crate) deliveries: u64,
    pub(crate) healthy_per_second: f64,
    pub(crate) published_per_second: f64,
    pub(crate) idle: Quiet,
    pub(crate) waiting: Quiet,
    /// From the first delivery after the probe to the last.
    pub(crate) drained_per_second: f64,
    /// From the change that asks for the probe to its success.
    pub(crate) probed_after_ms: f64,
    pub(crate) resident_mb: f64,
    pub(crate) peak_mb: f64,
    /// Attempts that failed before the breaker opened, and probes: so many wait for their own retry.
    pub(crate) failed: u64,
    /// Others that had not come when nothing moved any more.
    pub(crate) missing: u64,
}

/// Measures with `count` deliveries that wait; `setup` has one endpoint and [`SIZE`].
pub(crate) async fn measure(setup: &Setup<'_>, sink: &Sink, count: u64) -> Result<Waiting> {
    let place = Place::new(setup.binary, setup.log).await?;
    let server = Postrider::start(setup.binary, &place).await?;
    create_endpoint(&server, sink).await?;
    let idle = watch(&server).await?;
    let healthy_per_second = healthy(setup, &server, sink.tally()).await?;
    note(&format!("  healthy: {healthy_per_second:.0} deliveries/s"));

    let tally = sink.tally();
    sink.refuse(true);
    let (refused, began) = (tally.refused(), Instant::now());
    let (epoch, size) = (setup.load.epoch, setup.load.size);
    publish(&server, count, BATCH, move |_| Event {
        group: 0,
        data: epoch.data(Instant::now(), size),
        deliver_time: None,
    })
    .await
    .context("publishing what is to wait")?;
    let published_per_second = count as f64 / began.elapsed().as_secs_f64();
    note(&format!("  {count} wait; published {published_per_second:.0}/s"));
    let waiting = watch(&server).await?;
    let resident_mb = server.memory()?.resident as f64 / 1e6;

    let failed = tally.refused() - refused;
    let expected = count.saturating_sub(failed);
    let answered = tally.answered();
    sink.refuse(false);
    let healed = Instant::now();
    ask_for_probe(&server).await?;
    let drained = watch_drain(tally, answered, expected).await;
    let (first, _) = drained.first.context("nothing went out when the receiver had healed")?;
    Ok(Waiting {
        deliveries: count,
        healthy_per_second,
        published_per_second,
        idle,
        waiting,
        drained_per_second: drained.per_second(),
        probed_after_ms: (first - healed).as_secs_f64() * 1e3,
        resident_mb,
        peak_mb: server.memory()?.peak as f64 / 1e6,
        failed,
        missing: expected.saturating_sub(drained.came),
    })
}

/// The endpoint: healthy until it is told to refuse.
async fn create_endpoint(server: &Postrider, sink: &Sink) -> Result<()> {
    let retry_schedule = vec![RETRY_AFTER.try_into()?; RETRIES];
    let delivery = DeliveryPolicy { retry_schedule, ..DeliveryPolicy::default() };
    let request = CreateEndpointRequest {
        parent: "tenants/default".into(),
        endpoint_id: "load-0".into(),
        endpoint: Some(Endpoint {
            url: sink.moody_url(0),
            delivery: Some(delivery),
            ..Endpoint::default()
        }),
        subscriptions: vec![Subscription {
            event_types: vec![event_type(0)],
            ..Subscription::default()
        }],
        ..CreateEndpointRequest::default()
    };
    let mut client = EndpointServiceClient::new(server.connect().await?);
    client.create_endpoint(request).await.context("creating an endpoint")?;
    Ok(())
}

/// A change of headers allows a probe at once (spec §3).
async fn ask_for_probe(server: &Postrider) -> Result<()> {
    let endpoint = Endpoint {
        name: "tenants/default/endpoints/load-0".into(),
        headers: [("healed".to_owned(), "yes".to_owned())].into(),
        ..Endpoint::default()
    };
    let request =
        UpdateEndpointRequest { endpoint: Some(endpoint), ..UpdateEndpointRequest::default() };
    let mut client = EndpointServiceClient::new(server.connect().await?);
    client.update_endpoint(request).await.context("changing the endpoint")?;
    Ok(())
}

/// Deliveries a second while all is well.
async fn healthy(setup: &Setup<'_>, server: &Postrider, tally: &Arc<Tally>) -> Result<f64> {
    let before = tally.answered();
    let pace = Pace::max(tally.clone(), u64::from(setup.load.batch), setup.undelivered_max);
    let generator = Generator::start(&setup.load, pace, server).await?;
    tokio::time::sleep_until((Instant::now() + WARM_UP).into()).await;
    let (began, answered) = (Instant::now(), tally.answered());
    tokio::time::sleep_until((began + setup.time).into()).await;
    let rate = (tally.answered() - answered) as f64 / began.elapsed().as_secs_f64();
    let published = generator.stop().await?.accepted();
    let came = drain(tally, before, published).await;
    ensure!(
        came >= published,
        "{} deliveries of the healthy endpoint did not come",
        published - came
    );
    Ok(rate)
}

async fn watch(server: &Postrider) -> Result<Quiet> {
    settle(server).await?;
    tokio::time::sleep_until((Instant::now() + REST).into()).await;
    let look = || anyhow::Ok((server.io()?, server.cpu()?, server.switches()?));
    let before = look()?;
    tokio::time::sleep_until((Instant::now() + WATCHED).into()).await;
    Ok(Quiet::between(&before, &look()?))
}

/// How the drain went.
struct Drain {
    /// When something was first seen, and how many had come by then.
    first: Option<(Instant, u64)>,
    last: Instant,
    came: u64,
}

impl Drain {
    fn per_second(&self) -> f64 {
        let Some((first, seen)) = self.first else { return 0.0 };
        ratio((self.came - seen) as f64, (self.last - first).as_secs_f64())
    }
}

/// Follows the drain until all has come, or nothing comes any more.
async fn watch_drain(tally: &Tally, before: u64, expected: u64) -> Drain {
    let mut drain = Drain { first: None, last: Instant::now(), came: 0 };
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    while drain.came < expected && drain.last.elapsed() < QUIET {
        looks.tick().await;
        let came = tally.answered() - before;
        if came != drain.came {
            let now = Instant::now();
            drain.first.get_or_insert((now, came));
            (drain.came, drain.last) = (came, now);
        }
    }
    drain
}

impl Quiet {
    fn between(before: &(Io, Cpu, Switches), after: &(Io, Cpu, Switches)) -> Self {
        Self {
            written_bytes: after.0.written_bytes.saturating_sub(before.0.written_bytes),
            write_call_bytes: after.0.write_call_bytes.saturating_sub(before.0.write_call_bytes),
            cpu_ms: after.1.since(before.1).total().as_secs_f64() * 1e3,
            wake_ups: after.2.since(&before.2),
        }
    }

    fn describe(&self) -> String {
        format!(
            "{} B written ({} B in write calls), {:.0} ms of CPU, {} wake-ups",
            self.written_bytes, self.write_call_bytes, self.cpu_ms, self.wake_ups
        )
    }
}

impl Waiting {
    /// Bytes written while they wait beyond an idle process's; none when it wrote more.
    pub(crate) fn bytes_beyond_idle(&self) -> f64 {
        self.waiting.written_bytes.saturating_sub(self.idle.written_bytes) as f64
    }

    /// Wake-ups a second while they wait beyond an idle process's.
    pub(crate) fn wake_ups_beyond_idle(&self) -> f64 {
        let beyond = self.waiting.wake_ups.saturating_sub(self.idle.wake_ups);
        ratio(beyond as f64, WATCHED.as_secs_f64())
    }

    /// The rate of the drain over the healthy one.
    pub(crate) fn drained(&self) -> f64 {
        ratio(self.drained_per_second, self.healthy_per_second)
    }

    pub(crate) fn describe(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Waiting: {} deliveries of {SIZE} B behind an open breaker (published {:.0}/s). In {} s: {}; an idle process: {}. Resident {:.1} MB, at most {:.1} MB. Healed: the probe went out after {:.0} ms, then {:.0} deliveries/s, **{:.2} × the healthy endpoint's {:.0}/s** ({} missing; {} attempts had failed before and wait for their retry).\n",
            self.deliveries,
            self.published_per_second,
            WATCHED.as_secs(),
            self.waiting.describe(),
            self.idle.describe(),
            self.resident_mb,
            self.peak_mb,
            self.probed_after_ms,
            self.drained_per_second,
            self.drained(),
            self.healthy_per_second,
            self.missing,
            self.failed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_held_against_an_idle_process() {
        let quiet = |written_bytes, wake_ups| Quiet { written_bytes, wake_ups, ..Quiet::default() };
        let waiting = |idle, waiting| Waiting {
            deliveries: 1,
            healthy_per_second: 10_000.0,
            published_per_second: 1.0,
            idle,
            waiting,
            drained_per_second: 9_000.0,
            probed_after_ms: 0.0,
            resident_mb: 0.0,
            peak_mb: 0.0,
            failed: 0,
            missing: 0,
        };
        let more = waiting(quiet(4_096, 100), quiet(8_192, 150));
        assert_eq!((more.bytes_beyond_idle(), more.wake_ups_beyond_idle()), (4_096.0, 5.0));
        let less = waiting(quiet(4_096, 100), quiet(0, 90));
        assert_eq!((less.bytes_beyond_idle(), less.wake_ups_beyond_idle()), (0.0, 0.0));
        assert_eq!(less.drained(), 0.9);
    }

    #[test]
    fn the_rate_of_a_drain_is_from_its_first_look_to_its_last_delivery() {
        let first = Instant::now();
        let drain =
            Drain { first: Some((first, 100)), last: first + Duration::from_secs(2), came: 1_100 };
        assert_eq!(drain.per_second(), 500.0);
    }
}
