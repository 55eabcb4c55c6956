//! Metrics: counted by whoever does the work, shown to whoever asks for them (`/metrics`), and never kept here.
//!
//! A role has its metrics as constants ([`Metric`]) in its `telemetry`, and puts what counts them into the process's [`Registry`]. Labels have few values,
//! which the code knows: never a tenant, an endpoint or an event (SE-3, and a scrape of bounded size).

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;

/// The media type of [`Registry::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds of times, in seconds: from an answer of this machine to the longest that a receiver is given.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The value of a label.
pub type Value = Cow<'static, str>;

/// What a metric is called, and what it says.
#[derive(Debug)]
pub struct Metric<const N: usize> {
    /// `postrider_…`, with the unit last. What counts is shown with `_total` behind it.
    pub name: &'static str,
    /// The labels of each of its series.
    pub labels: [&'static str; N],
    /// One sentence, without a full stop.
    pub help: &'static str,
}

type Labels<const N: usize> = [(&'static str, Value); N];

impl<const N: usize> Metric<N> {
    fn labelled(&self, values: [Value; N]) -> Labels<N> {
        let mut values = values.into_iter();
        self.labels.map(|label| (label, values.next().unwrap_or_default()))
    }
}

/// How a metric moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Up, from 0 at the start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// How many were at most so large, and their sum.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A metric as a registry shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Its whole name.
    pub name: String,
    /// How it moves.
    pub kind: Kind,
    /// The labels of its series.
    pub labels: Vec<&'static str>,
    /// What it says, without a full stop.
    pub help: &'static str,
}

/// Counts by label. Clones are the same.
#[derive(Clone, Debug)]
pub struct Counters<const N: usize> {
    of: &'static Metric<N>,
    family: Family<Labels<N>, Counter>,
}

impl<const N: usize> Counters<N> {
    /// Makes counters that nobody sees until they are registered.
    #[must_use]
    pub fn new(of: &'static Metric<N>) -> Self {
        Self { of, family: Family::default() }
    }

    /// Counts one.
    pub fn count<V: Into<Value>>(&self, values: [V; N]) {
        self.add(values, 1);
    }

    /// Counts many; with 0 the series begins to be shown.
    pub fn add<V: Into<Value>>(&self, values: [V; N], many: u64) {
        let labels = self.of.labelled(values.map(Into::into));
        self.family.get_or_create(&labels).inc_by(many);
    }
}

/// Measures times by label. Clones are the same.
#[derive(Clone, Debug)]
pub struct Times<const N: usize> {
    of: &'static Metric<N>,
    family: Family<Labels<N>, Histogram>,
}

impl<const N: usize> Times<N> {
    /// Makes histograms that nobody sees until they are registered.
    #[must_use]
    pub fn new(of: &'static Metric<N>) -> Self {
        Self { of, family: Family::new_with_constructor(|| Histogram::new(SECONDS)) }
    }

    /// Takes one time into account.
    pub fn observe<V: Into<Value>>(&self, values: [V; N], time: Duration) {
        let labels = self.of.labelled(values.map(Into::into));
        self.family.get_or_create(&labels).observe(time.as_secs_f64());
    }
}

/// Measures how long something takes, for a metric alone: nothing is decided by it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "what is measured changes nothing")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Everything that a process shows. Clones are the same.
#[derive(Clone, Default)]
pub struct Registry {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    registry: prometheus_client::registry::Registry,
    described: Vec<Described>,
}

impl Registry {
    /// Shows counters.
    pub fn counters<const N: usize>(&self, counters: &Counters<N>) {
        let Metric { name, help, .. } = counters.of;
        let mut shared = self.shared();
        shared.describe(counters.of, Kind::Counter);
        shared.registry.register(*name, *help, counters.family.clone());
    }

    /// Shows histograms.
    pub fn times<const N: usize>(&self, times: &Times<N>) {
        let Metric { name, help, .. } = times.of;
        let mut shared = self.shared();
        shared.describe(times.of, Kind::Histogram);
        shared.registry.register(*name, *help, times.family.clone());
    }

    /// Shows what `read` gives whenever somebody asks: the values of the labels, and the number. It must not wait.
    pub fn read<const N: usize>(
        &self,
        metric: &'static Metric<N>,
        read: impl Fn() -> Vec<([Value; N], f64)> + Send + Sync + 'static,
    ) {
        let mut shared = self.shared();
        shared.describe(metric, Kind::Gauge);
        shared.registry.register_collector(Box::new(Read { metric, read }));
    }

    /// Shows one number, read whenever somebody asks. `read` must not wait.
    pub fn read_one(
        &self,
        metric: &'static Metric<0>,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.read(metric, move || vec![([], read())]);
    }

    /// Writes everything as Prometheus reads it: its text format, version 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.shared().registry)
            .expect("writing into memory cannot fail");
        text
    }

    /// What is shown, in the order in which it was registered.
    #[must_use]
    pub fn described(&self) -> Vec<Described> {
        self.shared().described.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Shared {
    fn describe<const N: usize>(&mut self, metric: &Metric<N>, kind: Kind) {
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.described.push(Described {
            name: format!("{}{suffix}", metric.name),
            kind,
            labels: metric.labels.to_vec(),
            help: metric.help,
        });
    }
}

/// Reads when it is asked.
struct Read<const N: usize, F> {
    metric: &'static Metric<N>,
    read: F,
}

impl<const N: usize, F> fmt::Debug for Read<N, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Read").field(&self.metric.name).finish()
    }
}

impl<const N: usize, F> Collector for Read<N, F>
where
    F: Fn() -> Vec<([Value; N], f64)> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = format!("{}.", self.metric.help);
        let mut metric =
            encoder.encode_descriptor(self.metric.name, &help, None, MetricType::Gauge)?;
        for (values, number) in (self.read)() {
            let labels = self.metric.labelled(values);
            ConstGauge::new(number).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static LAG: Metric<1> = Metric { name: "lag", labels: ["shard"], help: "How far behind" };
    static READY: Metric<0> = Metric { name: "ready", labels: [], help: "Whether it is" };
    static CALLS: Metric<2> = Metric { name: "calls", labels: ["by", "code"], help: "Calls" };
    static TOOK: Metric<0> = Metric { name: "took_seconds", labels: [], help: "Time" };

    #[test]
    fn what_is_registered_is_shown_as_prometheus_reads_it() {
        let registry = Registry::default();
        let (calls, took) = (Counters::new(&CALLS), Times::new(&TOOK));
        registry.counters(&calls);
        registry.times(&took);
        registry.read_one(&READY, || 1.0);
        registry.read(&LAG, || vec![(["3".into()], 7.0), (["4".into()], 0.5)]);
        calls.count(["grpc", "OK"]);
        calls.add(["rest", "a \"b\""], 2);
        took.observe::<&str>([], Duration::from_millis(20));

        let text = registry.text();
        for line in [
            "# TYPE calls_total counter",
            "calls_total{by=\"grpc\",code=\"OK\"} 1",
            "calls_total{by=\"rest\",code=\"a \\\"b\\\"\"} 2",
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{le=\"0.01\"} 0",
            "took_seconds_bucket{le=\"0.025\"} 1",
            "took_seconds_count 1",
            "# HELP ready Whether it is.",
            "ready 1.0",
            "lag{shard=\"3\"} 7.0",
            "lag{shard=\"4\"} 0.5",
        ] {
            assert!(text.lines().any(|shown| shown == line), "no line {line} in\n{text}");
        }
        let names: Vec<String> = registry.described().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["calls_total", "took_seconds", "ready", "lag"]);
    }
}
