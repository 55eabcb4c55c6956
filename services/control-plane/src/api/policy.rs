//! Delivery policies on the wire.

use std::time::Duration;

use domain::{
    DeliveryPolicy, Ordering, PayloadFormat, RateLimit, RetrySchedule, SignatureScheme, limits,
};
use wire::api::v1;
use wire::api::v1::delivery_policy as proto;

use super::time::{duration_from_wire, duration_to_wire};
use crate::app::Faults;

/// Reads a policy; absent parts have their defaults. `path` is that of the message, such as `endpoint.delivery`.
pub(crate) fn from_wire(
    faults: &mut Faults,
    path: &str,
    policy: &v1::DeliveryPolicy,
) -> DeliveryPolicy {
    let defaults = DeliveryPolicy::default();
    let at = |field: &str| format!("{path}.{field}");
    let timeout =
        policy.timeout.and_then(|timeout| faults.take(duration_from_wire(&at("timeout"), timeout)));
    let retry_schedule = retry_schedule(faults, path, policy);
    let rate_limit = faults.check(at("rate_limit"), rate_limit(policy.rate_limit));
    let max_concurrency = faults.check(at("max_concurrency"), number(policy.max_concurrency));
    let disable_after = faults.check(at("disable_after"), number(policy.disable_after));
    DeliveryPolicy {
        timeout: timeout.unwrap_or(defaults.timeout),
        retry_schedule: retry_schedule.unwrap_or(defaults.retry_schedule),
        rate_limit: rate_limit.unwrap_or_default(),
        max_concurrency: max_concurrency.flatten().unwrap_or(defaults.max_concurrency),
        ordering: faults.check(at("ordering"), ordering(policy.ordering)).unwrap_or_default(),
        format: faults.check(at("format"), format_of(policy.format)).unwrap_or_default(),
        signature: faults.check(at("signature"), signature(policy.signature)).unwrap_or_default(),
        disable_after: disable_after.flatten().unwrap_or(defaults.disable_after),
    }
}

/// The values in effect.
pub(crate) fn to_wire(policy: &DeliveryPolicy) -> v1::DeliveryPolicy {
    let steps = policy.retry_schedule.steps();
    v1::DeliveryPolicy {
        timeout: Some(duration_to_wire(policy.timeout)),
        retry_schedule: steps.iter().map(|step| duration_to_wire(*step)).collect(),
        no_retries: steps.is_empty(),
        rate_limit: policy
            .rate_limit
            .map_or(0.0, |limit| f64::from(limit.attempts) / limit.per.as_secs_f64()),
        max_concurrency: i32::try_from(policy.max_concurrency).unwrap_or(i32::MAX),
        ordering: match policy.ordering {
            Ordering::None => proto::Ordering::None,
            Ordering::ByKey => proto::Ordering::ByKey,
        }
        .into(),
        format: match policy.format {
            PayloadFormat::Envelope => proto::Format::Envelope,
            PayloadFormat::Raw => proto::Format::Raw,
            PayloadFormat::CloudEvents => proto::Format::Cloudevents,
            PayloadFormat::CloudEventsBinary => proto::Format::CloudeventsBinary,
        }
        .into(),
        signature: match policy.signature {
            SignatureScheme::Both => proto::Signature::Both,
            SignatureScheme::Standard => proto::Signature::Standard,
            SignatureScheme::XWebhook => proto::Signature::XWebhook,
        }
        .into(),
        disable_after: i32::try_from(policy.disable_after).unwrap_or(i32::MAX),
    }
}

/// `None` where nothing was given, and where a fault was noted.
fn retry_schedule(
    faults: &mut Faults,
    path: &str,
    policy: &v1::DeliveryPolicy,
) -> Option<RetrySchedule> {
    let field = format!("{path}.retry_schedule");
    if policy.no_retries {
        if !policy.retry_schedule.is_empty() {
            faults.add(format!("{path}.no_retries"), "not allowed together with a retry_schedule");
        }
        return faults.check(field, RetrySchedule::new(Vec::new()));
    }
    if policy.retry_schedule.is_empty() {
        return None;
    }
    if policy.retry_schedule.len() > limits::RETRY_STEPS_MAX {
        let steps = policy.retry_schedule.len();
        let max = limits::RETRY_STEPS_MAX;
        faults.add(field, format!("{steps} steps, allowed are 0 to {max}"));
        return None;
    }
    let steps: Vec<Option<Duration>> = policy
        .retry_schedule
        .iter()
        .enumerate()
        .map(|(i, step)| faults.take(duration_from_wire(&format!("{field}[{i}]"), *step)))
        .collect();
    let steps: Option<Vec<Duration>> = steps.into_iter().collect();
    faults.check(field, RetrySchedule::new(steps?))
}

/// 0 is unlimited. Rates have at most two decimals, so that they are a whole number of attempts in some seconds.
fn rate_limit(rate: f64) -> Result<Option<RateLimit>, String> {
    if rate == 0.0 {
        return Ok(None);
    }
    let fault = || {
        format!(
            "{rate} is not allowed: 0 for no limit, else 0.01 to 100000 with at most two decimals"
        )
    };
    if !(0.01..=100_000.0).contains(&rate) {
        return Err(fault());
    }
    for seconds in [1_u32, 2, 4, 5, 10, 20, 25, 50, 100] {
        let attempts = rate * f64::from(seconds);
        if (attempts - attempts.round()).abs() < 1e-6 && attempts <= 1_000_000.0 {
            let per = Duration::from_secs(u64::from(seconds));
            // In 1 to 1 000 000, checked above.
            let limit = RateLimit::new(attempts.round() as u32, per);
            return limit.map(Some).map_err(|error| error.to_string());
        }
    }
    Err(fault())
}

/// 0 means the default.
fn number(value: i32) -> Result<Option<u32>, String> {
    let value = u32::try_from(value).map_err(|_| format!("{value} is negative"))?;
    Ok((value > 0).then_some(value))
}

fn ordering(value: i32) -> Result<Ordering, String> {
    match proto::Ordering::try_from(value) {
        Ok(proto::Ordering::Unspecified | proto::Ordering::None) => Ok(Ordering::None),
        Ok(proto::Ordering::ByKey) => Ok(Ordering::ByKey),
        Err(_) => Err(format!("{value} is not a value: use NONE or BY_KEY")),
    }
}

fn format_of(value: i32) -> Result<PayloadFormat, String> {
    match proto::Format::try_from(value) {
        Ok(proto::Format::Unspecified | proto::Format::Envelope) => Ok(PayloadFormat::Envelope),
        Ok(proto::Format::Raw) => Ok(PayloadFormat::Raw),
        Ok(proto::Format::Cloudevents) => Ok(PayloadFormat::CloudEvents),
        Ok(proto::Format::CloudeventsBinary) => Ok(PayloadFormat::CloudEventsBinary),
        Err(_) => Err(format!(
            "{value} is not a value: use ENVELOPE, RAW, CLOUDEVENTS or CLOUDEVENTS_BINARY"
        )),
    }
}

fn signature(value: i32) -> Result<SignatureScheme, String> {
    match proto::Signature::try_from(value) {
        Ok(proto::Signature::Unspecified | proto::Signature::Both) => Ok(SignatureScheme::Both),
        Ok(proto::Signature::Standard) => Ok(SignatureScheme::Standard),
        Ok(proto::Signature::XWebhook) => Ok(SignatureScheme::XWebhook),
        Err(_) => Err(format!("{value} is not a value: use BOTH, STANDARD or X_WEBHOOK")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(policy: v1::DeliveryPolicy) -> v1::DeliveryPolicy {
        let mut faults = Faults::default();
        let read = from_wire(&mut faults, "endpoint.delivery", &policy);
        assert!(faults.finish().is_ok());
        to_wire(&read)
    }

    #[test]
    fn an_empty_policy_shows_the_defaults() {
        let shown = round_trip(v1::DeliveryPolicy::default());
        assert_eq!(shown, to_wire(&DeliveryPolicy::default()));
        assert_eq!(shown.retry_schedule.len(), 7);
        assert!(!shown.no_retries);
    }

    #[test]
    fn no_retries_and_rates_survive_the_wire() {
        for rate in [0.01, 0.5, 2.25, 100.0, 100_000.0] {
            let policy = v1::DeliveryPolicy {
                no_retries: true,
                rate_limit: rate,
                ..v1::DeliveryPolicy::default()
            };
            let shown = round_trip(policy);
            assert!((shown.rate_limit - rate).abs() < 1e-9, "{rate}");
            assert!(shown.no_retries && shown.retry_schedule.is_empty());
        }
    }

    #[test]
    fn bad_rates_say_what_is_allowed() {
        for rate in [-1.0, 0.001, 100_001.0, f64::NAN, f64::INFINITY, 0.333] {
            let fault = rate_limit(rate).expect_err("refused");
            assert!(fault.contains("0.01 to 100000"), "{fault}");
        }
    }
}
