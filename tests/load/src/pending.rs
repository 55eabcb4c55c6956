//! What deliveries that wait for their time take in memory, and how late they go out.
//!
//! They are scheduled ones (`deliver_time`), which wait where retries wait: a row of the lane's backlog and the event's body in the store, a cursor and one
//! timer for the lane. Retries themselves would not do: the due time of a retry has ±10 % of chance in it, which a receiver cannot know, and a hundred first
//! attempts that fail disable an endpoint (spec §3). So the due time is exact, stands in the body, and lateness is arrival − due.
//!
//! Before the memory is read the first time, ordinary events go through every endpoint, so that caches, connections and the store's own buffers have their size.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::figures::{Latency, ratio};
use crate::generator::{Event, Generator, Pace, publish};
use crate::idle::settle;
use crate::place::Place;
use crate::postrider::Postrider;
use crate::report::note;
use crate::scenario::{Setup, WARM_UP, create_endpoints, drain};
use crate::sink::Sink;

/// Events of one publish call.
const BATCH: u64 = 100;
/// The unit of the memory's figure.
const UNIT: f64 = 100_000.0;
/// Time that publishing may take: a slow disk's rate.
const PUBLISHED_PER_SECOND_MIN: u64 = 2_500;
/// And to come to rest, twice, and read the memory.
const REST: Duration = Duration::from_secs(20);

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pending {
    pub(crate) deliveries: u64,
    /// They come due evenly over so long.
    pub(crate) seconds: u64,
    pub(crate) endpoints: u16,
    /// Resident, with endpoints and warm, nothing pending.
    pub(crate) before_mb: f64,
    /// Resident with half of them pending: tells what grows with their number from what was needed once.
    pub(crate) halfway_mb: f64,
    /// Resident with all pending.
    pub(crate) pending_mb: f64,
    /// From the due time to the end of the request at the receiver.
    pub(crate) lateness: Latency,
    /// Deliveries that had not come when nothing moved any more.
    pub(crate) missing: u64,
}

/// When each is due.
#[derive(Clone, Copy)]
struct Schedule {
    /// The same moment on both clocks.
    zero: (Instant, SystemTime),
    first: Duration,
    span: Duration,
    count: u64,
}

impl Schedule {
    /// Due times are whole milliseconds of the wall clock, as the API's are.
    fn due(&self, number: u64) -> (Instant, SystemTime) {
        let share = number as f64 / self.count.max(1) as f64;
        let wall = self.zero.1 + self.first + self.span.mul_f64(share);
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let whole = Duration::from_secs(since_1970.as_secs())
            + Duration::from_millis(since_1970.subsec_millis().into());
        let wall = SystemTime::UNIX_EPOCH + whole;
        (self.zero.0 + wall.duration_since(self.zero.1).unwrap_or_default(), wall)
    }
}

/// Measures `count` deliveries that come due over `seconds`, on the endpoints of `setup`.
pub(crate) async fn measure(
    setup: &Setup<'_>,
    sink: &Sink,
    count: u64,
    seconds: u64,
) -> Result<Pending> {
    let place = Place::new(setup.binary, setup.log).await?;
    let server = Postrider::start(setup.binary, &place).await?;
    create_endpoints(setup, &server, sink).await?;
    warm(setup, &server, sink).await?;
    settle(&server).await?;
    let before = server.memory()?.resident;

    let lead = REST + Duration::from_secs(count / PUBLISHED_PER_SECOND_MIN);
    let zero = (Instant::now(), SystemTime::now());
    let schedule = Schedule { zero, first: lead, span: Duration::from_secs(seconds), count };
    let (groups, epoch, size) = (u64::from(setup.load.groups), setup.load.epoch, setup.load.size);
    let event = move |number| {
        let (due, wall) = schedule.due(number);
        let data = epoch.data(due, size);
        Event { group: number % groups, data, deliver_time: Some(wall) }
    };
    let half = count / 2;
    publish(&server, half, BATCH, event).await.context("publishing what is to wait")?;
    settle(&server).await?;
    let halfway = server.memory()?.resident;
    let rest = move |number| event(half + number);
    publish(&server, count - half, BATCH, rest).await.context("publishing what is to wait")?;
    note(&format!("  published in {:.0} s", zero.0.elapsed().as_secs_f64()));
    settle(&server).await?;
    let pending = server.memory()?.resident;
    let due = zero.0 + lead;
    ensure!(
        Instant::now() < due,
        "publishing {count} events took longer than {} s: ask for less with --pending",
        lead.as_secs()
    );

    let tally = sink.tally();
    let answered = tally.answered();
    tally.record();
    // The stretch of time in which they come due is the measurement.
    tokio::time::sleep_until((due + schedule.span).into()).await;
    let came = drain(tally, answered, count).await;
    Ok(Pending {
        deliveries: count,
        seconds,
        endpoints: setup.endpoints,
        before_mb: before as f64 / 1e6,
        halfway_mb: halfway as f64 / 1e6,
        pending_mb: pending as f64 / 1e6,
        lateness: Latency::of(tally.recorded(0)),
        missing: count.saturating_sub(came),
    })
}

/// Ordinary deliveries through every endpoint.
async fn warm(setup: &Setup<'_>, server: &Postrider, sink: &Sink) -> Result<()> {
    let tally = sink.tally();
    let before = tally.answered();
    let pace = Pace::max(tally.clone(), u64::from(setup.load.batch), setup.undelivered_max);
    let generator = Generator::start(&setup.load, pace, server).await?;
    tokio::time::sleep_until((Instant::now() + WARM_UP).into()).await;
    let published = generator.stop().await?.accepted();
    drain(tally, before, published).await;
    Ok(())
}

impl Pending {
    /// Resident memory for each 100 000 of them, megabytes.
    pub(crate) fn mb_each(&self) -> f64 {
        ratio((self.pending_mb - self.before_mb) * UNIT, self.deliveries as f64)
    }

    pub(crate) fn describe(&self, out: &mut String) {
        use std::fmt::Write as _;
        let l = self.lateness;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "Pending: {} scheduled deliveries to {} endpoints, due evenly over {} s: resident {:.1} MB before, {:.1} MB with half of them, {:.1} MB with all: **{:.1} MB for each 100 000**. They went out p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms after their time ({} seen, {} missing).\n",
            self.deliveries,
            self.endpoints,
            self.seconds,
            self.before_mb,
            self.halfway_mb,
            self.pending_mb,
            self.mb_each(),
            l.p50_ms,
            l.p99_ms,
            l.max_ms,
            l.count,
            self.missing,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_even_and_whole_milliseconds() {
        let zero = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_micros(1_000_700));
        let first = Duration::from_secs(10);
        let schedule = Schedule { zero, first, span: Duration::from_secs(100), count: 1_000 };
        let (at, wall) = schedule.due(10);
        assert_eq!(wall, SystemTime::UNIX_EPOCH + Duration::from_millis(12_000));
        assert_eq!(at - zero.0, Duration::from_micros(10_999_300));
    }

    #[test]
    fn memory_is_for_each_hundred_thousand() {
        let pending = Pending {
            deliveries: 50_000,
            seconds: 1,
            endpoints: 1,
            before_mb: 60.0,
            halfway_mb: 63.0,
            pending_mb: 64.0,
            lateness: Latency::default(),
            missing: 0,
        };
        assert_eq!(pending.mb_each(), 8.0);
    }
}
