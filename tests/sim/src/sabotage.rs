//! Pieces that are broken on purpose: checks that were never seen to fail prove nothing.

use std::time::Duration;

use domain::{DeliveryPolicy, RetrySchedule};

/// What is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Nothing is.
    Nothing,
    /// The store says of backlog rows that they are durable, and forgets every second one.
    RowsAreLost,
    /// The log takes everything that it gave out for handed off.
    AcksRunAhead,
    /// The sender sends every request twice.
    RequestsAreDoubled,
    /// The sender changes the body that was signed.
    BodiesAreChanged,
    /// Endpoints are given other retry schedules than they asked for: each step is a tenth.
    SchedulesAreHurried,
}

impl Sabotage {
    /// The policy that an endpoint gets.
    pub(crate) fn policy(self, asked: &DeliveryPolicy) -> DeliveryPolicy {
        let mut policy = asked.clone();
        if self == Self::SchedulesAreHurried {
            let least = Duration::from_millis(100);
            let steps = asked.retry_schedule.steps().iter().map(|step| (*step / 10).max(least));
            policy.retry_schedule =
                RetrySchedule::new(steps.collect()).expect("shorter steps are a schedule");
        }
        policy
    }
}
