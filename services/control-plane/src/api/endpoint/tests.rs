use prost_types::Duration;

use super::*;

fn call() -> v1::CreateEndpointRequest {
    v1::CreateEndpointRequest {
        parent: "tenants/default".to_owned(),
        endpoint: Some(v1::Endpoint {
            url: "https://example.com/hook".to_owned(),
            ..v1::Endpoint::default()
        }),
        ..v1::CreateEndpointRequest::default()
    }
}

/// The fields that are at fault, in the order of the answer.
fn fields(call: v1::CreateEndpointRequest) -> Vec<String> {
    match create(call, &EgressPolicy::production()) {
        Err(Error::Invalid(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
        other => panic!("not a field fault: {other:?}"),
    }
}

fn subscription(event_types: &[&str]) -> v1::Subscription {
    v1::Subscription {
        event_types: event_types.iter().map(|text| (*text).to_owned()).collect(),
        ..v1::Subscription::default()
    }
}

#[test]
fn a_url_is_kept_without_its_fragment_and_headers_in_lower_case() {
    let mut call = call();
    let endpoint = call.endpoint.get_or_insert_default();
    endpoint.url.push_str("#part");
    endpoint.headers.insert("X-Team".to_owned(), " shop ".to_owned());
    let draft = create(call, &EgressPolicy::production()).expect("valid").draft;
    assert_eq!(draft.url, "https://example.com/hook");
    assert_eq!(draft.headers.get("x-team").map(String::as_str), Some("shop"));
}

#[test]
fn every_wrong_field_of_an_endpoint_is_named() {
    type Change = fn(&mut v1::Endpoint);
    let table: [(&str, Change); 11] = [
        ("endpoint.url", |e| e.url.clear()),
        ("endpoint.url", |e| e.url = "example.com".into()),
        ("endpoint.url", |e| e.url = "ftp://example.com/".into()),
        ("endpoint.url", |e| e.url = "https://169.254.169.254/".into()),
        ("endpoint.headers", |e| drop(e.headers.insert("Host".into(), "x".into()))),
        ("endpoint.labels", |e| drop(e.labels.insert("A b".into(), "x".into()))),
        ("endpoint.display_name", |e| e.display_name = "x".repeat(1_001)),
        ("endpoint.description", |e| e.description = "x".repeat(1_001)),
        ("endpoint.delivery.timeout", |e| {
            e.delivery.get_or_insert_default().timeout = Some(Duration { seconds: 61, nanos: 0 });
        }),
        ("endpoint.delivery.max_concurrency", |e| {
            e.delivery.get_or_insert_default().max_concurrency = 1_001;
        }),
        ("endpoint.delivery.ordering", |e| {
            e.delivery.get_or_insert_default().ordering = 9;
        }),
    ];
    for (field, change) in table {
        let mut call = call();
        change(call.endpoint.get_or_insert_default());
        assert_eq!(fields(call), [field]);
    }
}

#[test]
fn the_faults_of_all_parts_of_a_create_come_in_one_answer() {
    let mut call = call();
    call.parent = "tenants".to_owned();
    call.request_id = "1".to_owned();
    call.endpoint_id = "Shop".to_owned();
    call.secret = "whsec_short".to_owned();
    let filtered = v1::Subscription { filter: "a > 1".to_owned(), ..subscription(&["*"]) };
    call.subscriptions = vec![subscription(&["a.b", "a b"]), filtered];
    let endpoint = call.endpoint.get_or_insert_default();
    endpoint.url = "ftp://example.com/".to_owned();
    endpoint.headers.insert("Host".to_owned(), "x".to_owned());
    let delivery = endpoint.delivery.get_or_insert_default();
    delivery.timeout = Some(Duration { seconds: 0, nanos: 1 });
    delivery.max_concurrency = 2_000;
    delivery.disable_after = 200;
    delivery.rate_limit = 0.333;
    assert_eq!(
        fields(call),
        [
            "parent",
            "request_id",
            "endpoint_id",
            "endpoint.delivery.rate_limit",
            "endpoint.url",
            "endpoint.headers",
            "endpoint.delivery.timeout",
            "endpoint.delivery.max_concurrency",
            "endpoint.delivery.disable_after",
            "subscriptions[0].event_types[1]",
            "subscriptions[1].filter",
            "secret",
        ]
    );
}

#[test]
fn a_create_without_an_endpoint_says_so_once() {
    assert_eq!(fields(v1::CreateEndpointRequest { endpoint: None, ..call() }), ["endpoint"]);
}
