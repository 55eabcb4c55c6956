//! Draws a plan.

use std::time::Duration;

use domain::{
    DeliveryPolicy, EventPattern, EventType, Ordering, PayloadFormat, RateLimit, RetrySchedule,
    SignatureScheme,
};
use testkit::Fault;

use super::{Action, EndpointPlan, Flavour, Misfortune, Plan, Publish, Setup, TYPES};
use crate::chance::Chance;
use crate::receivers::Behaviour;

/// Longest that time goes by at once while no worker runs: commands expire after a day.
const ALONE_MAX: Duration = Duration::from_secs(600);

pub(super) fn plan(seed: u64) -> Plan {
    let chance = Chance::new(seed, "plan");
    let flavour = chance.weighted(&[
        (30, Flavour::Calm),
        (25, Flavour::Crashes),
        (20, Flavour::Faults),
        (25, Flavour::Storm),
    ]);
    let setup = setup(&chance, flavour);
    let count = chance.between(2, 5);
    let endpoints: Vec<_> = (0..count).map(|number| endpoint(&chance, flavour, number)).collect();
    let mut drawing = Drawing { chance, flavour, endpoints: &endpoints, workers: 1 };
    let actions = (0..drawing.chance.between(8, 45)).map(|_| drawing.action()).collect();
    Plan { seed, flavour, setup, actions, endpoints }
}

fn setup(chance: &Chance, flavour: Flavour) -> Setup {
    let slow = flavour.has_faults() || flavour.has_crashes();
    let store_ms_max = if slow {
        chance.weighted(&[(30, 0), (30, 5), (25, 60), (15, 1_500)])
    } else {
        chance.weighted(&[(60, 0), (40, 20)])
    };
    let tight = flavour != Flavour::Calm;
    Setup {
        shards: chance.weighted(&[(40, 1), (40, 2), (20, 3)]),
        store_ms_max,
        in_flight: if tight { chance.weighted(&[(30, 4), (70, 64)]) } else { 64 },
        span_records: if tight {
            chance.weighted(&[(30, SPAN_SMALL), (70, 10_000)])
        } else {
            10_000
        },
        inbox_poll: Duration::from_secs(chance.weighted(&[(40, 1), (60, 20)])),
        asks: chance.percent(35),
        lands_late: chance.percent(40),
    }
}

fn endpoint(chance: &Chance, flavour: Flavour, number: u64) -> EndpointPlan {
    // One of a calm history is left alone.
    let is_bystander = flavour == Flavour::Calm && number == 0;
    let patterns = match chance.below(4) {
        0 => vec![EventPattern::Prefix("payment.".into())],
        1 => vec![exact(chance), exact(chance)],
        _ => vec![EventPattern::All],
    };
    let behaviour =
        if is_bystander { Behaviour::Well { ms: chance.below(300) } } else { behaviour(chance) };
    EndpointPlan { patterns, policy: policy(chance, is_bystander), behaviour, is_bystander }
}

fn exact(chance: &Chance) -> EventPattern {
    let text = chance.pick(&TYPES).expect("there are types");
    EventPattern::Exact(EventType::parse(text).expect("a type"))
}

fn policy(chance: &Chance, is_bystander: bool) -> DeliveryPolicy {
    let secs = |steps: &[u64]| steps.iter().copied().map(Duration::from_secs).collect();
    let steps: Vec<Duration> = match chance.below(20) {
        0 => return DeliveryPolicy::default(),
        1 => secs(&[]),
        2..=5 => secs(&[1, 5, 30]),
        6..=10 => secs(&[1, 1, 2, 5, 10, 20, 30, 60]),
        11..=15 => secs(&[10, 60, 300, 1_800]),
        // The last step is the pace of probes: one of milliseconds is ten requests a second for as long as the endpoint fails.
        _ => {
            let mut steps = vec![Duration::from_millis(100); 11];
            steps.push(Duration::from_secs(60));
            steps
        }
    };
    let concurrency = chance.weighted(&[(60, 64), (20, 4), (20, 1)]);
    let rate_limit = RateLimit::new(5, Duration::from_secs(1)).expect("a rate");
    DeliveryPolicy {
        timeout: Duration::from_secs(chance.weighted(&[(70, 30), (30, 2)])),
        retry_schedule: RetrySchedule::new(steps).expect("a schedule"),
        rate_limit: (!is_bystander && chance.percent(10)).then_some(rate_limit),
        max_concurrency: if is_bystander { 64 } else { concurrency },
        format: chance.weighted(&[
            (50, PayloadFormat::Envelope),
            (20, PayloadFormat::Raw),
            (15, PayloadFormat::CloudEvents),
            (15, PayloadFormat::CloudEventsBinary),
        ]),
        signature: chance.weighted(&[
            (60, SignatureScheme::Both),
            (20, SignatureScheme::Standard),
            (20, SignatureScheme::XWebhook),
        ]),
        disable_after: chance.weighted(&[(70, 1), (30, 3)]),
        ordering: if !is_bystander && chance.percent(40) {
            Ordering::ByKey
        } else {
            Ordering::None
        },
    }
}

fn behaviour(chance: &Chance) -> Behaviour {
    let ms = chance.weighted(&[(50, 0), (30, 40), (15, 1_200), (5, 8_000)]);
    match chance.below(100) {
        0..=34 => Behaviour::Well { ms },
        35..=54 => Behaviour::Status { status: chance.weighted(&FAILURES), ms },
        55..=59 => Behaviour::Status { status: chance.weighted(&[(50, 400), (50, 422)]), ms },
        60..=64 => Behaviour::Status { status: chance.weighted(&REFUSALS), ms },
        65..=71 => {
            let status = chance.weighted(&[(50, 429), (50, 503)]);
            Behaviour::Busy { status, after_secs: chance.weighted(&[(60, 5), (30, 90), (10, 900)]) }
        }
        72..=76 => Behaviour::Silent,
        77..=84 => Behaviour::Broken,
        85..=92 => Behaviour::Flapping { share: chance.between(20, 80), ms },
        _ => Behaviour::Anything,
    }
}

/// Smallest span: one batch of the log is read beyond it, and a successor looks at twice as many records before it sends.
const SPAN_SMALL: usize = 600;
const FAILURES: [(u64, u16); 5] = [(60, 500), (15, 503), (10, 302), (10, 408), (5, 999)];
const REFUSALS: [(u64, u16); 3] = [(50, 410), (25, 401), (25, 404)];

struct Drawing<'a> {
    chance: Chance,
    flavour: Flavour,
    endpoints: &'a [EndpointPlan],
    /// That run, as far as the plan can tell.
    workers: u64,
}

impl Drawing<'_> {
    fn action(&mut self) -> Action {
        let kind = self.chance.below(100);
        if kind < 30 {
            return Action::Publish(self.publish());
        }
        if kind < 58 {
            return Action::Wait(self.wait());
        }
        if kind < 72 && self.flavour != Flavour::Calm {
            return self.misfortune();
        }
        self.by_a_person().unwrap_or_else(|| Action::Wait(self.wait()))
    }

    fn wait(&self) -> Duration {
        let (from, to) = self.chance.weighted(&[
            (25, (0, 20)),
            (30, (20, 2_000)),
            (30, (2_000, 60_000)),
            (12, (60_000, 900_000)),
            (3, (900_000, 10_000_000)),
        ]);
        let wait = self.chance.millis(from, to);
        if self.workers == 0 { wait.min(ALONE_MAX) } else { wait }
    }

    fn publish(&self) -> Publish {
        let chance = &self.chance;
        let is_plain = chance.percent(25);
        let fault = self.flavour.has_faults() && chance.percent(15);
        let ahead = chance.weighted(&[(60, 30_000), (30, 600_000), (10, 7_200_000)]);
        Publish {
            count: chance.weighted(&[(40, 1), (30, 3), (20, 10), (10, 40)]),
            event_type: chance.pick(&TYPES).copied().expect("there are types"),
            ordering_keys: chance.percent(30).then(|| chance.between(1, 4)),
            idempotency_key: chance.percent(20).then(|| chance.below(6)),
            ahead: chance.percent(12).then(|| chance.millis(1, ahead)),
            is_plain,
            fault: fault.then(|| self.fault()),
        }
    }

    fn fault(&self) -> Fault {
        self.chance.weighted(&[
            (40, Fault::Unavailable),
            (30, Fault::UnknownLost),
            (30, Fault::UnknownApplied),
        ])
    }

    fn misfortune(&mut self) -> Action {
        let crash =
            self.flavour.has_crashes() && (!self.flavour.has_faults() || self.chance.percent(50));
        if !crash {
            return Action::Misfortune(self.of_the_store());
        }
        if self.workers == 0 {
            self.workers += 1;
            return Action::Start;
        }
        match self.chance.below(10) {
            0..=4 => {
                self.workers -= 1;
                Action::Crash
            }
            5 => {
                self.workers -= 1;
                Action::Stop
            }
            _ => {
                self.workers += 1;
                Action::Start
            }
        }
    }

    fn of_the_store(&self) -> Misfortune {
        let chance = &self.chance;
        let count = || chance.weighted(&[(50, 1), (35, 5), (15, 60)]);
        match chance.below(100) {
            0..=19 => Misfortune::Reads(count()),
            20..=49 => Misfortune::Writes(count(), self.fault()),
            50..=64 => Misfortune::Hang(chance.millis(100, 25_000)),
            65..=72 => Misfortune::LogReads(count()),
            73..=82 => Misfortune::Acks(count(), self.fault()),
            83..=92 => Misfortune::Hints(count()),
            _ => Misfortune::Over,
        }
    }

    /// `None` for one that is left alone.
    fn by_a_person(&self) -> Option<Action> {
        let chance = &self.chance;
        let numbered: Vec<usize> = (0..self.endpoints.len()).collect();
        let index = *chance.pick(&numbered)?;
        let kind = chance.below(100);
        let choice = chance.below(1_000);
        if self.endpoints.get(index)?.is_bystander {
            return None;
        }
        Some(match kind {
            0..=34 => Action::Receiver(index, behaviour(chance)),
            35..=42 => Action::Pause(index),
            43..=54 => Action::Resume(index),
            55..=61 => Action::Disable(index),
            62..=63 => Action::Delete(index),
            64..=76 => Action::Redrive(index, choice),
            77..=84 => Action::Cancel(index, choice),
            85..=91 => Action::Resend(index, choice),
            _ => Action::Probe(index),
        })
    }
}
