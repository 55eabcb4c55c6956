//! What a user may ask for.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Endpoints that the targets of CPU a delivery are for.
pub(crate) const TARGET_ENDPOINTS: u16 = 100;

/// One of so many endpoints is dead in the scenario `isolation`, and one slow.
const SICK_SHARE: u16 = 10;

/// Measures the real `postrider` binary on this machine, beside a bare HTTP client.
///
/// Everything, with the defaults, takes about 25 minutes and 2 GB of disk; --only, --runs and --seconds make it shorter.
#[derive(Debug, Parser)]
#[command(name = "postrider-load")]
pub(crate) struct Options {
    /// The binary to measure (default: the one beside this program)
    #[arg(long, value_name = "PATH")]
    pub(crate) postrider: Option<PathBuf>,
    /// Endpoints that events go to
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) endpoints: u16,
    /// How many endpoints get each event; must divide the number of endpoints
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) fan_out: u16,
    /// Bytes of each event's data
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(64..=262_144))]
    pub(crate) size: u32,
    /// Seconds that each run is measured, after two of warm-up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Runs of each scenario, of which the median is given
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) runs: u16,
    /// Events per second, or `max`: as fast as they are delivered
    #[arg(long, default_value_t = Rate::Max)]
    pub(crate) rate: Rate,
    /// Events in a call of the scenario `batch`
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) batch: u16,
    /// Callers that publish at the same time, a connection each (`batch` has an eighth of them)
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) callers: u16,
    /// How to publish
    #[arg(long, value_enum, default_value_t = Api::Grpc)]
    pub(crate) api: Api,
    /// With `--rate max`: most deliveries that are published and not yet received
    #[arg(long, default_value_t = 2_000)]
    pub(crate) undelivered_max: u64,
    /// Dead endpoints in the scenario `isolation` (default: a tenth of --endpoints)
    #[arg(long)]
    pub(crate) dead: Option<u16>,
    /// How they are dead
    #[arg(long, value_enum, default_value_t = Death::Hang)]
    pub(crate) dead_how: Death,
    /// Endpoints in it that answer after two seconds (default: a tenth of --endpoints)
    #[arg(long)]
    pub(crate) slow: Option<u16>,
    /// Deliveries that wait for their time in the scenario `pending`
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    pub(crate) pending: u64,
    /// Seconds over which they come due, evenly
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) pending_seconds: u64,
    /// Deliveries that wait behind an open breaker in the scenario `waiting`
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    pub(crate) behind_breaker: u64,
    /// Scenarios to run, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scenario::ALL)]
    pub(crate) only: Vec<Scenario>,
    /// Ports that the endpoints are spread over (default: one each)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) origins: Option<u16>,
    /// The broker of the scenario `kafka`, host:port (`make bench` starts one)
    #[arg(long, value_name = "ADDRESS", requires = "kafka_process")]
    pub(crate) kafka: Option<String>,
    /// Its process
    #[arg(long, value_name = "PID", requires = "kafka")]
    pub(crate) kafka_process: Option<u32>,
    /// Why there is no broker, for the report
    #[arg(long, value_name = "REASON", default_value = "no --kafka was given")]
    pub(crate) kafka_missing: String,
    /// Events that wait in the log in the scenario `kafka`, for each second of a run
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    pub(crate) waiting: u64,
    /// How often the worker alone is measured on each log in the scenario `kafka`, by turns: one such run says little
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=99), default_value_t = 5)]
    pub(crate) drains: u16,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) out: PathBuf,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Start-up time, memory and CPU of a process with nothing to do
    Idle,
    /// One event a call, many callers
    Single,
    /// Many events a call
    Batch,
    /// `batch` on 100 endpoints: what the whole process is to cost a delivery
    Whole,
    /// The delivery worker and the HTTP client alone, on 100 endpoints, log and store in memory: fan-out 1 and 10
    Engine,
    /// One event a call at half of what `single` reached, or at `--rate`: the latency
    Steady,
    /// The same rate without and with dead and slow endpoints: what they do to the others' p99
    Isolation,
    /// Scheduled deliveries on 1 000 endpoints: what waiting takes in memory, and how late they go out
    Pending,
    /// A million deliveries behind an open breaker: what waiting costs, and how fast they go out afterwards
    Waiting,
    /// The same loads on a Kafka broker and on the embedded log, by turns; and what delivering alone costs on each
    Kafka,
}

impl Scenario {
    const ALL: [Self; 10] = [
        Self::Idle,
        Self::Single,
        Self::Batch,
        Self::Whole,
        Self::Engine,
        Self::Steady,
        Self::Isolation,
        Self::Pending,
        Self::Waiting,
        Self::Kafka,
    ];
}

/// How the generator publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Api {
    /// `EventService.PublishEvents`
    Grpc,
    /// `POST …/events:publish`
    Rest,
}

/// How a dead endpoint is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Death {
    /// It takes requests and never answers
    Hang,
    /// It refuses connections
    Refuse,
    /// It answers 500
    Fail,
}

/// How fast to publish.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Rate {
    /// As fast as events are delivered.
    Max,
    /// Events per second.
    Fixed(f64),
}

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(rate) if (1.0..=1e7).contains(&rate) => Ok(Self::Fixed(rate)),
            _ => bail!("a rate is `max` or a number of events per second from 1 to 10000000"),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Fixed(rate) => write!(f, "{rate:.0}"),
        }
    }
}

impl Options {
    pub(crate) fn origins(&self) -> u16 {
        self.origins.unwrap_or(self.endpoints)
    }

    /// Ports of the sink: each endpoint of the largest scenario asked for has one, up to the hundred of the targets.
    pub(crate) fn ports(&self) -> u16 {
        let on_many = [Scenario::Whole, Scenario::Engine, Scenario::Pending];
        let largest = match on_many.into_iter().any(|scenario| self.asks_for(scenario)) {
            true => self.endpoints.max(TARGET_ENDPOINTS),
            false => self.endpoints,
        };
        self.origins.unwrap_or(largest)
    }

    pub(crate) fn dead(&self) -> u16 {
        self.dead.unwrap_or(self.endpoints / SICK_SHARE)
    }

    pub(crate) fn slow(&self) -> u16 {
        self.slow.unwrap_or(self.endpoints / SICK_SHARE)
    }

    pub(crate) fn asks_for(&self, scenario: Scenario) -> bool {
        self.only.contains(&scenario)
    }

    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Names the option and what is allowed.
    pub(crate) fn validate(&self) -> anyhow::Result<()> {
        if !self.endpoints.is_multiple_of(self.fan_out) {
            bail!("--fan-out {} must divide --endpoints {}", self.fan_out, self.endpoints);
        }
        let sick = u32::from(self.dead()) + u32::from(self.slow());
        if sick >= u32::from(self.endpoints) {
            bail!("--dead and --slow, {sick}, must be below --endpoints {}", self.endpoints);
        }
        let fixed = self.asks_for(Scenario::Steady) || self.asks_for(Scenario::Isolation);
        if fixed && self.rate == Rate::Max && !self.asks_for(Scenario::Single) {
            bail!("steady and isolation need --rate N, or `single` in --only to derive it from");
        }
        Ok(())
    }
}
