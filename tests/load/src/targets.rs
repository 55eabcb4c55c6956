//! What Postrider is to reach, beside what was measured.
//!
//! The targets are for two cores, 1 KB of data, both signatures, durable publishes and recorded attempts. They are printed and never asserted: a
//! figure is worth as much as the machine was quiet.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::figures::ratio;

/// What was measured, of what has a target; `None` for what was not.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Figures {
    /// CPU of W0, microseconds a request.
    pub(crate) limit_us: f64,
    /// CPU of the engine and the HTTP client on the in-memory store, microseconds a delivery.
    pub(crate) engine_us: Option<f64>,
    /// The same where each event goes to ten endpoints.
    pub(crate) fan_out_us: Option<f64>,
    /// CPU of the whole process on the embedded engine, microseconds a delivery.
    pub(crate) whole_us: Option<f64>,
    /// Healthy endpoints' p99 with sick ones over theirs without.
    pub(crate) isolation: Option<f64>,
    /// Megabytes of resident memory for 100 000 deliveries that wait for their time.
    pub(crate) pending_mb: Option<f64>,
    /// How late they went out, p99.
    pub(crate) lateness_ms: Option<f64>,
    /// Bytes written while deliveries wait behind a breaker, beyond an idle process's.
    pub(crate) waiting_bytes: Option<f64>,
    /// Wake-ups a second while they wait, beyond an idle process's.
    pub(crate) waiting_wake_ups: Option<f64>,
    /// The rate at which they go out once the breaker is closed, over the rate of the healthy endpoint.
    pub(crate) drained: Option<f64>,
    /// From a publish call of one event to its answer, p99, with 64 callers.
    pub(crate) ack_ms: Option<f64>,
    /// Events acknowledged a second in the same run.
    pub(crate) acks_per_second: Option<f64>,
}

/// One row of the table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Target {
    measure: &'static str,
    unit: Unit,
    target: Bound,
    stretch: Option<Bound>,
    /// In `unit`.
    measured: Option<f64>,
    /// Where `measured` is a share of W0: the CPU time behind it, microseconds a delivery.
    cpu_us: Option<f64>,
    met: Met,
}

/// What a target demands.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What its numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// CPU over W0's.
    TimesLimit,
    Ratio,
    Megabytes,
    Milliseconds,
    PerSecond,
    Bytes,
}

/// What became of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Met {
    Yes,
    No,
    /// Better than was asked for.
    Stretch,
    NotMeasured,
}

impl Bound {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

impl Met {
    fn of(target: Bound, stretch: Option<Bound>, measured: Option<f64>) -> Self {
        match measured {
            None => Self::NotMeasured,
            Some(figure) if stretch.is_some_and(|stretch| stretch.is_met(figure)) => Self::Stretch,
            Some(figure) if target.is_met(figure) => Self::Yes,
            Some(_) => Self::No,
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Stretch => "stretch",
            Self::NotMeasured => "not measured",
        })
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::TimesLimit => format!("{figure:.2} × W0"),
            Self::Ratio => format!("{figure:.2}"),
            Self::Megabytes => format!("{figure:.1} MB"),
            Self::Milliseconds => format!("{figure:.1} ms"),
            Self::PerSecond => format!("{figure:.0}/s"),
            Self::Bytes => format!("{figure:.0} B"),
        }
    }

    fn bound(self, bound: Bound) -> String {
        match bound {
            Bound::AtMost(figure) => format!("≤ {}", self.show(figure)),
            Bound::AtLeast(figure) => format!("≥ {}", self.show(figure)),
        }
    }
}

impl Target {
    fn new(measure: &'static str, unit: Unit, target: Bound, measured: Option<f64>) -> Self {
        let met = Met::of(target, None, measured);
        Self { measure, unit, target, stretch: None, measured, cpu_us: None, met }
    }

    /// CPU time as a share of W0's; without W0 nothing was measured.
    fn of_limit(measure: &'static str, target: f64, cpu_us: Option<f64>, limit_us: f64) -> Self {
        let measured = cpu_us.filter(|_| limit_us > 0.0).map(|cpu_us| ratio(cpu_us, limit_us));
        let target = Self::new(measure, Unit::TimesLimit, Bound::AtMost(target), measured);
        Self { cpu_us, ..target }
    }

    fn with_stretch(self, bound: f64) -> Self {
        let stretch = match self.target {
            Bound::AtMost(_) => Bound::AtMost(bound),
            Bound::AtLeast(_) => Bound::AtLeast(bound),
        };
        let met = Met::of(self.target, Some(stretch), self.measured);
        Self { stretch: Some(stretch), met, ..self }
    }

    fn row(&self, out: &mut String) {
        let stretch = self.stretch.map(|stretch| self.unit.bound(stretch)).unwrap_or_default();
        let cpu = self.cpu_us.map(|us| format!(" ({us:.1} µs)")).unwrap_or_default();
        let measured = match self.measured {
            Some(figure) => format!("{}{cpu}", self.unit.show(figure)),
            None => "not measured".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {stretch} | {measured} | {} |",
            self.measure,
            self.unit.bound(self.target),
            self.met
        );
    }
}

/// Holds figures against the targets of the issue "The delivery engine at full strength".
pub(crate) fn judge(figures: &Figures) -> Vec<Target> {
    use Bound::{AtLeast, AtMost};
    let f = figures;
    let cpu = |measure, target, cpu_us| Target::of_limit(measure, target, cpu_us, f.limit_us);
    vec![
        cpu(
            "CPU a delivery, 100 healthy endpoints, engine and HTTP with the in-memory store",
            2.0,
            f.engine_us,
        )
        .with_stretch(1.5),
        cpu(
            "the same, whole process on the embedded engine, batches, attempts recorded",
            4.0,
            f.whole_us,
        )
        .with_stretch(3.0),
        cpu("the same with fan-out 10, in-memory store", 1.7, f.fan_out_us),
        Target::new(
            "isolation: healthy endpoints' p99 with a tenth dead and a tenth slow, over without",
            Unit::Ratio,
            AtMost(1.2),
            f.isolation,
        ),
        Target::new("memory for each 100 000 pending", Unit::Megabytes, AtMost(10.0), f.pending_mb),
        Target::new(
            "how late they go out, p99, due evenly on 1 000 endpoints",
            Unit::Milliseconds,
            AtMost(250.0),
            f.lateness_ms,
        ),
        Target::new(
            "behind an open breaker: bytes written in 10 s, beyond an idle process's",
            Unit::Bytes,
            AtMost(0.0),
            f.waiting_bytes,
        ),
        // Timers of an idle process do not beat evenly: one a second is no difference.
        Target::new(
            "behind an open breaker: wake-ups beyond an idle process's",
            Unit::PerSecond,
            AtMost(1.0),
            f.waiting_wake_ups,
        ),
        Target::new(
            "behind an open breaker: rate of the drain over the healthy rate",
            Unit::Ratio,
            AtLeast(0.8),
            f.drained,
        ),
        Target::new(
            "publish acknowledged durable, 1 event a call, 64 callers: p99",
            Unit::Milliseconds,
            AtMost(15.0),
            f.ack_ms,
        ),
        Target::new(
            "the same: events acknowledged",
            Unit::PerSecond,
            AtLeast(5_000.0),
            f.acks_per_second,
        ),
    ]
}

/// The table, as Markdown.
pub(crate) fn describe(targets: &[Target], out: &mut String) {
    out.push_str("## Targets\n\n");
    out.push_str("| measure | target | stretch | measured | met |\n|---|---|---|---|---|\n");
    for target in targets {
        target.row(out);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_its_bound_meets_it() {
        assert!(Bound::AtMost(2.0).is_met(2.0) && !Bound::AtMost(2.0).is_met(2.01));
        assert!(Bound::AtLeast(0.8).is_met(0.8) && !Bound::AtLeast(0.8).is_met(0.79));
    }

    #[test]
    fn a_target_is_met_missed_surpassed_or_not_measured() {
        let met = |measured| Met::of(Bound::AtMost(4.0), Some(Bound::AtMost(3.0)), measured);
        assert_eq!(met(Some(4.1)), Met::No);
        assert_eq!(met(Some(4.0)), Met::Yes);
        assert_eq!(met(Some(3.0)), Met::Stretch);
        assert_eq!(met(None), Met::NotMeasured);
        assert_eq!(Met::of(Bound::AtLeast(0.8), None, Some(0.9)), Met::Yes);
    }

    #[test]
    fn cpu_is_a_share_of_the_limit() {
        let row = |limit_us| Target::of_limit("cpu", 2.0, Some(15.0), limit_us).with_stretch(1.5);
        assert_eq!((row(10.0).measured, row(10.0).met), (Some(1.5), Met::Stretch));
        assert_eq!((row(0.0).measured, row(0.0).met), (None, Met::NotMeasured));
    }

    #[test]
    fn rows_show_the_share_and_the_time_behind_it() {
        let figures = Figures { limit_us: 10.0, engine_us: Some(18.04), ..Figures::default() };
        let mut out = String::new();
        describe(&judge(&figures), &mut out);
        assert!(out.contains("| ≤ 2.00 × W0 | ≤ 1.50 × W0 | 1.80 × W0 (18.0 µs) | yes |"), "{out}");
        assert_eq!(out.matches("not measured | not measured").count(), 10, "{out}");
    }
}
