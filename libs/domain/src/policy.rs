//! How one endpoint wants its deliveries.

use std::time::Duration;

use crate::limits;

/// How one endpoint wants its deliveries (spec §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryPolicy {
    /// Total time of an attempt, connect to last byte; 100 ms to 60 s, default 30 s.
    pub timeout: Duration,
    /// Waits between attempts.
    pub retry_schedule: RetrySchedule,
    /// Most attempts a second; `None` is unlimited.
    pub rate_limit: Option<RateLimit>,
    /// Most attempts in flight at once, 1 to 1000.
    pub max_concurrency: u32,
    /// Whether events of one ordering key wait for each other.
    pub ordering: Ordering,
    /// What the body is.
    pub format: PayloadFormat,
    /// Which signature headers go out.
    pub signature: SignatureScheme,
    /// Answers of 401, 403, 404 or 410 in a row that disable the endpoint, 1 to 100.
    pub disable_after: u32,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            timeout: limits::TIMEOUT_DEFAULT,
            retry_schedule: RetrySchedule::default(),
            rate_limit: None,
            max_concurrency: limits::CONCURRENCY_DEFAULT,
            ordering: Ordering::None,
            format: PayloadFormat::Envelope,
            signature: SignatureScheme::Both,
            disable_after: 1,
        }
    }
}

impl DeliveryPolicy {
    /// Checks the numbers that their types allow and the specification does not.
    ///
    /// # Errors
    /// [`PolicyError`] names the field, the value and what is allowed.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let err = |field, value: String, allowed: &str| {
            Err(PolicyError { field, value, allowed: allowed.to_owned() })
        };
        if !(limits::TIMEOUT_MIN..=limits::TIMEOUT_MAX).contains(&self.timeout) {
            return err("timeout", format!("{:?}", self.timeout), "100 ms to 60 s");
        }
        if !(1..=limits::CONCURRENCY_MAX).contains(&self.max_concurrency) {
            return err("max_concurrency", self.max_concurrency.to_string(), "1 to 1000");
        }
        if !(1..=limits::DISABLE_AFTER_MAX).contains(&self.disable_after) {
            return err("disable_after", self.disable_after.to_string(), "1 to 100");
        }
        Ok(())
    }
}

/// A part of a policy that is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: allowed is {allowed}")]
pub struct PolicyError {
    /// The field, in `snake_case`.
    pub field: &'static str,
    /// The value that was given.
    pub value: String,
    /// What is allowed, in words.
    pub allowed: String,
}

/// The waits after failed attempts: a schedule of `n` steps allows `n + 1` attempts.
///
/// 0 to 20 steps of 100 ms to 24 h, 6 days in sum at most (spec §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetrySchedule(Vec<Duration>);

/// 10 s, 1 m, 5 m, 30 m, 1 h, 6 h, 24 h (spec §6).
const DEFAULT_STEPS_SECS: [u64; 7] = [10, 60, 300, 1_800, 3_600, 21_600, 86_400];

impl Default for RetrySchedule {
    fn default() -> Self {
        Self(DEFAULT_STEPS_SECS.map(Duration::from_secs).to_vec())
    }
}

impl RetrySchedule {
    /// Makes a schedule of its steps.
    ///
    /// # Errors
    /// [`PolicyError`] says which step, or the count or sum, is out of bounds.
    pub fn new(steps: Vec<Duration>) -> Result<Self, PolicyError> {
        let err = |value: String, allowed: &str| PolicyError {
            field: "retry_schedule",
            value,
            allowed: allowed.to_owned(),
        };
        if steps.len() > limits::RETRY_STEPS_MAX {
            return Err(err(format!("{} steps long", steps.len()), "0 to 20 steps"));
        }
        let allowed = limits::RETRY_STEP_MIN..=limits::RETRY_STEP_MAX;
        if let Some((i, step)) = steps.iter().enumerate().find(|(_, s)| !allowed.contains(*s)) {
            return Err(err(format!("{step:?} in step {}", i + 1), "100 ms to 24 h a step"));
        }
        let sum: Duration = steps.iter().sum();
        if sum > limits::RETRY_SUM_MAX {
            return Err(err(format!("{sum:?} in sum"), "6 days (518400 s) in sum"));
        }
        Ok(Self(steps))
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Duration] {
        &self.0
    }

    /// The wait after failed attempt `number` (1-based), without jitter; `None` when that was the last one.
    #[must_use]
    pub fn step_after(&self, number: u32) -> Option<Duration> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.0.get(index).copied()
    }
}

/// A bound on attempts a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// Attempts in each period of `per`, at least 1.
    pub attempts: u32,
    /// The period, 1 s to 1 h.
    pub per: Duration,
}

impl RateLimit {
    /// Checks and makes a limit.
    ///
    /// # Errors
    /// [`PolicyError`] when there are no attempts, or the period is not 1 s to 1 h.
    pub fn new(attempts: u32, per: Duration) -> Result<Self, PolicyError> {
        let period = Duration::from_secs(1)..=Duration::from_secs(3_600);
        if attempts == 0 || attempts > 1_000_000 || !period.contains(&per) {
            return Err(PolicyError {
                field: "rate_limit",
                value: format!("{attempts} per {per:?}"),
                allowed: "1 to 1000000 attempts per 1 s to 1 h, such as 100/s".to_owned(),
            });
        }
        Ok(Self { attempts, per })
    }
}

/// Whether deliveries of one endpoint wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ordering {
    /// No order.
    #[default]
    None,
    /// Events of one ordering key are delivered one after the other.
    ByKey,
}

/// What the body of a delivery is (spec §2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum PayloadFormat {
    /// `{"id","type","created_at","api_version","data"}`.
    #[default]
    Envelope,
    /// The data as published.
    Raw,
    /// CloudEvents 1.0, structured mode.
    CloudEvents,
    /// CloudEvents 1.0, binary mode.
    CloudEventsBinary,
}

/// Which signature headers go out (spec §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SignatureScheme {
    /// Both families.
    #[default]
    Both,
    /// Standard Webhooks alone.
    Standard,
    /// `X-Webhook-*` alone.
    XWebhook,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_schedule_is_eight_attempts_in_31_hours() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.steps().iter().sum::<Duration>(), Duration::from_secs(113_770));
        assert_eq!(schedule.step_after(1), Some(Duration::from_secs(10)));
        assert_eq!(schedule.step_after(7), Some(Duration::from_secs(86_400)));
        assert_eq!(schedule.step_after(8), None);
    }

    #[test]
    fn impossible_schedules_are_refused_with_what_is_allowed() {
        let secs = Duration::from_secs;
        let message = |steps| RetrySchedule::new(steps).expect_err("refused").to_string();
        assert!(message(vec![secs(1); 21]).contains("0 to 20 steps"));
        assert!(message(vec![secs(1), Duration::from_millis(99)]).contains("step 2"));
        assert!(message(vec![secs(86_401)]).contains("100 ms to 24 h"));
        assert!(message(vec![secs(86_400); 7]).contains("6 days"));
        assert!(RetrySchedule::new(Vec::new()).is_ok());
    }
}
