//! Facts of deliveries.

use std::time::Duration;

use bytes::Bytes;
use domain::{Attempt, DeadLetterReason, Disposition, ErrorClass, FactKind, OutcomeKind, Trigger};
use postrider_codec::{decode_fact_kind, encode_fact_kind};

use super::{Sample, time};

const REASONS: [DeadLetterReason; 5] = [
    DeadLetterReason::Exhausted,
    DeadLetterReason::Rejected,
    DeadLetterReason::EndpointDisabled,
    DeadLetterReason::BlockedDestination,
    DeadLetterReason::Expired,
];
const CLASSES: [ErrorClass; 6] = [
    ErrorClass::Dns,
    ErrorClass::Connect,
    ErrorClass::Tls,
    ErrorClass::Timeout,
    ErrorClass::Http,
    ErrorClass::Blocked,
];
const TRIGGERS: [Trigger; 7] = [
    Trigger::Event,
    Trigger::Retry,
    Trigger::Redrive,
    Trigger::Replay,
    Trigger::Resend,
    Trigger::Probe,
    Trigger::Test,
];

pub(super) fn all() -> Vec<Sample> {
    let mut all = vec![
        sample("fact-delivered", FactKind::Attempt(attempt())),
        sample("fact-cancelled", FactKind::Cancelled),
    ];
    for (n, reason) in (1..).zip(REASONS) {
        all.push(sample(format!("fact-dead-lettered-{n}"), FactKind::DeadLettered(reason)));
        let disposition = Disposition::DeadLettered(reason);
        let attempt = Attempt { disposition, ..attempt() };
        all.push(sample(format!("fact-last-attempt-{n}"), FactKind::Attempt(attempt)));
    }
    for (n, class) in (1..).zip(CLASSES) {
        let attempt = Attempt {
            outcome: OutcomeKind::Failed(class),
            excerpt: Bytes::new(),
            detail: "refused".to_owned(),
            disposition: Disposition::Retry { next: time(5_000) },
            ..attempt()
        };
        all.push(sample(format!("fact-failed-{n}"), FactKind::Attempt(attempt)));
    }
    for (n, trigger) in (1..).zip(TRIGGERS) {
        let attempt = Attempt { trigger, number: 21, ..attempt() };
        all.push(sample(format!("fact-trigger-{n}"), FactKind::Attempt(attempt)));
    }
    all
}

fn sample(name: impl Into<String>, kind: FactKind) -> Sample {
    Sample::new(name, kind, encode_fact_kind, decode_fact_kind)
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        trigger: Trigger::Event,
        outcome: OutcomeKind::Answered(204),
        duration: Duration::from_millis(12),
        excerpt: Bytes::from_static(b"ok"),
        detail: String::new(),
        signatures: 2,
        disposition: Disposition::Delivered,
    }
}
