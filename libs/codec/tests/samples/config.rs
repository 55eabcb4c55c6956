//! Endpoints and subscriptions.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    DeliveryPolicy, DisableReason, Endpoint, EndpointId, EndpointState, EventPattern, Ordering,
    PayloadFormat, RateLimit, RetrySchedule, Revision, SealedSecret, SignatureScheme, Subscription,
    SubscriptionId,
};
use ports::EndpointConfig;
use postrider_codec::{decode_endpoint, decode_subscription, encode_endpoint, encode_subscription};

use super::{Sample, endpoint, tenant, time};

pub(super) fn all() -> Vec<Sample> {
    let mut all = vec![subscription("subscription-all", &["*"], &[])];
    all.push(subscription("subscription-some", &["payment.*", "order.made"], &["eu", "us"]));
    let states = [
        EndpointState::Active,
        EndpointState::Paused,
        EndpointState::Disabled(DisableReason::Failing),
        EndpointState::Disabled(DisableReason::Answer(410)),
        EndpointState::Disabled(DisableReason::ByHand),
    ];
    for (n, state) in (1..).zip(states) {
        all.push(sample(format!("endpoint-state-{n}"), state, policy(), false));
    }
    let formats = [
        PayloadFormat::Envelope,
        PayloadFormat::Raw,
        PayloadFormat::CloudEvents,
        PayloadFormat::CloudEventsBinary,
    ];
    for (n, format) in (1..).zip(formats) {
        let policy = DeliveryPolicy { format, ..policy() };
        all.push(sample(format!("endpoint-format-{n}"), EndpointState::Active, policy, false));
    }
    let schemes = [SignatureScheme::Both, SignatureScheme::Standard, SignatureScheme::XWebhook];
    for (n, signature) in (1..).zip(schemes) {
        let policy = DeliveryPolicy { signature, ..policy() };
        all.push(sample(format!("endpoint-signature-{n}"), EndpointState::Active, policy, false));
    }
    let full = DeliveryPolicy {
        ordering: Ordering::ByKey,
        rate_limit: Some(RateLimit::new(100, Duration::from_secs(60)).expect("valid")),
        ..policy()
    };
    all.push(sample("endpoint-full".to_owned(), EndpointState::Active, full, true));
    all
}

fn subscription(name: &str, patterns: &[&str], channels: &[&str]) -> Sample {
    let row = Subscription {
        tenant: tenant(),
        endpoint: EndpointId::parse("shop").expect("valid"),
        id: SubscriptionId::parse("all").expect("valid"),
        event_types: patterns.iter().map(|p| EventPattern::parse(p).expect("valid")).collect(),
        filter: String::new(),
        channels: channels.iter().map(|channel| (*channel).into()).collect(),
        create_time: time(1),
        update_time: time(2),
        revision: Revision(130),
    };
    Sample::new(name, row, encode_subscription, decode_subscription)
}

/// Every field by hand: a default that changes is no change of the format.
fn policy() -> DeliveryPolicy {
    let steps = [5, 300].map(Duration::from_secs);
    DeliveryPolicy {
        timeout: Duration::from_secs(30),
        retry_schedule: RetrySchedule::new(steps.to_vec()).expect("valid"),
        rate_limit: None,
        max_concurrency: 10,
        ordering: Ordering::None,
        format: PayloadFormat::Envelope,
        signature: SignatureScheme::Both,
        disable_after: 3,
    }
}

fn sample(name: String, state: EndpointState, policy: DeliveryPolicy, is_full: bool) -> Sample {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut endpoint = Endpoint {
        tenant: tenant(),
        id: EndpointId::parse("shop").expect("valid"),
        uid: endpoint(),
        display_name: String::new(),
        description: String::new(),
        url: "https://shop.example/hook".to_owned(),
        headers: [].into(),
        state,
        state_time: time(3),
        policy,
        labels: [].into(),
        create_time: time(1),
        update_time: time(2),
        revision: Revision(130),
    };
    let mut secrets = Vec::new();
    if is_full {
        endpoint.display_name = "Shop".to_owned();
        endpoint.description = "orders".to_owned();
        endpoint.headers = [pair("x-team", "a"), pair("x-zone", "b")].into();
        endpoint.labels = [pair("env", "prod")].into();
        for (version, not_after) in [(1, Some(time(9))), (2, None)] {
            let sealed = Bytes::from_static(&[0xaa, 0xbb]);
            secrets.push(SealedSecret { version, create_time: time(1), not_after, sealed });
        }
    }
    Sample::new(name, EndpointConfig { endpoint, secrets }, encode_endpoint, decode_endpoint)
}
