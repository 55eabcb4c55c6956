//! The flags of a delivery policy, for create and update.

use std::time::Duration;

use clap::Args;
use runtime::parse_span;
use wire::api::v1::DeliveryPolicy;
use wire::api::v1::delivery_policy::{Format, Ordering, Signature};

use super::values::{BodyFormat, OrderingFlag, SignatureFlag, parse_rate, span_to_proto};

/// How deliveries are made; what is not given has its default, or stays on update.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Delivery policy")]
pub(crate) struct PolicyFlags {
    /// Waits after failed attempts, such as 10s,1m,5m; `none` for no retries
    #[arg(long, value_name = "WAITS")]
    retry_schedule: Option<Schedule>,
    /// Longest time for one attempt
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// Most attempts per time, such as 100/s; `none` for no limit
    #[arg(long, value_name = "RATE", value_parser = parse_rate_or_none)]
    rate_limit: Option<f64>,
    /// Most attempts at one time
    #[arg(long, value_name = "N")]
    max_concurrency: Option<i32>,
    /// Whether the order of events is kept
    #[arg(long, value_enum, value_name = "ORDERING")]
    ordering: Option<OrderingFlag>,
    /// What the body looks like
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<BodyFormat>,
    /// Which signature headers are sent
    #[arg(long, value_enum, value_name = "SCHEME")]
    signature: Option<SignatureFlag>,
    /// Answers of 401, 403, 404 or 410 in a row that disable the endpoint
    #[arg(long, value_name = "N")]
    disable_after: Option<i32>,
}

/// The steps of a retry schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schedule(Vec<Duration>);

impl std::str::FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        text.split(',')
            .map(|step| parse_span(step.trim()).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_rate_or_none(text: &str) -> Result<f64, String> {
    if text == "none" { Ok(0.0) } else { parse_rate(text) }
}

impl PolicyFlags {
    /// The policy that the flags name, and the paths that they set, in the names of the proto.
    pub(crate) fn to_policy(&self) -> (DeliveryPolicy, Vec<&'static str>) {
        let mut policy = DeliveryPolicy::default();
        let mut paths = Vec::new();
        if let Some(Schedule(steps)) = &self.retry_schedule {
            policy.no_retries = steps.is_empty();
            policy.retry_schedule = steps.iter().copied().map(span_to_proto).collect();
            paths.extend(["delivery.retry_schedule", "delivery.no_retries"]);
        }
        if let Some(timeout) = self.timeout {
            policy.timeout = Some(span_to_proto(timeout));
            paths.push("delivery.timeout");
        }
        if let Some(rate) = self.rate_limit {
            policy.rate_limit = rate;
            paths.push("delivery.rate_limit");
        }
        if let Some(most) = self.max_concurrency {
            policy.max_concurrency = most;
            paths.push("delivery.max_concurrency");
        }
        if let Some(answers) = self.disable_after {
            policy.disable_after = answers;
            paths.push("delivery.disable_after");
        }
        self.choices(&mut policy, &mut paths);
        (policy, paths)
    }

    fn choices(&self, policy: &mut DeliveryPolicy, paths: &mut Vec<&'static str>) {
        if let Some(ordering) = self.ordering {
            policy.set_ordering(match ordering {
                OrderingFlag::None => Ordering::None,
                OrderingFlag::ByKey => Ordering::ByKey,
            });
            paths.push("delivery.ordering");
        }
        if let Some(format) = self.format {
            policy.set_format(match format {
                BodyFormat::Envelope => Format::Envelope,
                BodyFormat::Raw => Format::Raw,
                BodyFormat::Cloudevents => Format::Cloudevents,
                BodyFormat::CloudeventsBinary => Format::CloudeventsBinary,
            });
            paths.push("delivery.format");
        }
        if let Some(signature) = self.signature {
            policy.set_signature(match signature {
                SignatureFlag::Both => Signature::Both,
                SignatureFlag::Standard => Signature::Standard,
                SignatureFlag::XWebhook => Signature::XWebhook,
            });
            paths.push("delivery.signature");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_waits_or_none() {
        let seconds = |text: &str| {
            let Schedule(steps) = text.parse().unwrap();
            steps.iter().map(Duration::as_secs).collect::<Vec<_>>()
        };
        assert_eq!(seconds("10s,1m,5m,30m,1h,6h,24h"), [10, 60, 300, 1_800, 3_600, 21_600, 86_400]);
        assert!(seconds("none").is_empty());
        assert!("10s,soon".parse::<Schedule>().is_err());
    }

    #[test]
    fn only_what_was_given_is_changed() {
        let flags =
            PolicyFlags { timeout: Some(Duration::from_millis(1_500)), ..PolicyFlags::default() };
        let (policy, paths) = flags.to_policy();
        assert_eq!(paths, ["delivery.timeout"]);
        assert_eq!(policy.timeout.unwrap().nanos, 500_000_000);
    }
}
