//! The transcoder against a fake of two services that records what reached it.

mod cloudevents;
mod fake;
mod publishing;

use http::HeaderMap;
use serde_json::{Value as Json, json};

use super::*;
use fake::Fake;

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Asserts the error and returns its message.
    fn error(&self, status: u16, name: &str) -> String {
        let error = &self.json()["error"];
        assert_eq!(
            (self.status, &error["code"], &error["status"]),
            (status, &json!(status), &json!(name)),
            "{}",
            self.text
        );
        error["message"].as_str().unwrap().to_owned()
    }
}

async fn send(fake: &Fake, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
    send_as(fake, method, path, "application/json", body).await
}

async fn send_as(
    fake: &Fake,
    method: &str,
    path: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Answer {
    send_with(fake, method, path, &[("content-type", content_type)], body).await
}

async fn send_with(
    fake: &Fake,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let rest = Rest::new(wire::descriptor_pool(), "postrider.api.v1", fake.routes())
        .expect("the table builds");
    let mut request =
        Request::builder().method(method).uri(path).header("authorization", "Bearer abc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(http_body_util::Full::new(body.into()))).unwrap();
    let (head, body) = rest.handle(request).await.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8(text.to_vec()).unwrap(),
    }
}

const ENDPOINTS: &str = "/v1/tenants/t/endpoints";
const PUBLISH: &str = "/v1/tenants/t/events:publish";

#[tokio::test]
async fn body_and_path_become_one_request() {
    let fake = Fake::default();
    let body = json!({
        "endpointId": "e",
        "endpoint": {
            "url": "https://example.com/hook",
            "headers": {"X-Team": "pay"},
            "delivery": {
                "timeout": "3.5s", "retrySchedule": ["10s", "60s"], "rateLimit": 0.5, "max_concurrency": "7",
                "ordering": "BY_KEY", "format": 2,
            },
        },
        "subscriptions": [{"eventTypes": ["payment.*"]}, {"eventTypes": ["*"], "channels": null}],
    });
    let answer = send(&fake, "POST", ENDPOINTS, body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    let request = fake.created();
    let endpoint = request.endpoint.unwrap();
    let delivery = endpoint.delivery.unwrap();
    assert_eq!((request.parent.as_str(), request.endpoint_id.as_str()), ("tenants/t", "e"));
    assert_eq!(endpoint.headers["X-Team"], "pay");
    assert_eq!(delivery.timeout.map(|t| (t.seconds, t.nanos)), Some((3, 500_000_000)));
    assert_eq!(delivery.retry_schedule.iter().map(|t| t.seconds).collect::<Vec<_>>(), [10, 60]);
    assert_eq!((delivery.rate_limit, delivery.max_concurrency), (0.5, 7));
    assert_eq!((delivery.ordering, delivery.format), (2, 2));
    assert_eq!(request.subscriptions[1].event_types, ["*"]);
    assert_eq!(fake.authorization().as_deref(), Some("Bearer abc"));
}

#[tokio::test]
async fn answers_are_proto3_json() {
    let answer = send(&Fake::default(), "GET", "/v1/tenants/t/endpoints/e", "").await;
    let endpoint = &answer.json()["endpoint"];
    assert_eq!(endpoint["name"], "tenants/t/endpoints/e");
    assert_eq!(endpoint["createTime"], "2026-08-01T12:00:00Z");
    assert_eq!(endpoint["state"], "PAUSED");
    assert_eq!(endpoint["delivery"]["timeout"], "3.5s");
    assert_eq!(endpoint["delivery"]["rateLimit"], json!(100));
    // Zero numbers, false and empty lists are there; empty strings and unset enums are not.
    assert_eq!(endpoint["health"]["consecutiveFailures"], 0);
    assert_eq!(endpoint["delivery"]["noRetries"], false);
    assert_eq!(endpoint["secrets"], json!([]));
    assert_eq!(endpoint["labels"], json!({}));
    assert_eq!(endpoint.get("description"), None);
    assert_eq!(endpoint.get("stateReason"), None);
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn every_fault_names_its_field_and_what_is_allowed() {
    let cases = [
        (
            json!({"endpoint": {"urll": "x"}}),
            "endpoint.urll: is unknown; allowed here: name, displayName",
        ),
        (
            json!({"endpoint": {"delivery": {"timeout": "3m"}}}),
            "endpoint.delivery.timeout: must be a duration",
        ),
        (
            json!({"endpoint": {"delivery": {"retrySchedule": ["1s", 2]}}}),
            "endpoint.delivery.retrySchedule[1]: must",
        ),
        (
            json!({"endpoint": {"delivery": {"ordering": "FIFO"}}}),
            "ordering: must be one of NONE, BY_KEY, not \"FIFO\"",
        ),
        (
            json!({"endpoint": {"delivery": {"maxConcurrency": 1.5}}}),
            "maxConcurrency: must be a whole number",
        ),
        (
            json!({"endpoint": {"headers": {"a": 1}}}),
            "endpoint.headers[\"a\"]: must be a string, not a number",
        ),
        (json!({"endpoint": {"displayName": "a", "display_name": "b"}}), "is given twice"),
        (json!({"subscriptions": {}}), "subscriptions: must be an array, not an object"),
        (json!({"endpoint": []}), "endpoint: must be an object, not an array"),
        (json!({"validateOnly": "yes"}), "validateOnly: must be true or false, not a string"),
        (json!({"parent": "tenants/other"}), "parent: is \"tenants/t\" in the path"),
        (json!([]), "body: must be an object, not an array"),
    ];
    for (body, expected) in cases {
        let fake = Fake::default();
        let message =
            send(&fake, "POST", ENDPOINTS, body.to_string()).await.error(400, "INVALID_ARGUMENT");
        assert!(message.contains(expected), "{body}: {message}");
        assert!(!fake.was_called(), "{body}");
    }
    let message =
        send(&Fake::default(), "POST", ENDPOINTS, "{\"a\":").await.error(400, "INVALID_ARGUMENT");
    assert!(message.starts_with("body: is not valid JSON"), "{message}");
}

#[tokio::test]
async fn faults_carry_the_field_as_a_detail() {
    let answer = send(&Fake::default(), "POST", ENDPOINTS, r#"{"endpoint":{"urll":1}}"#).await;
    let details = &answer.json()["error"]["details"];
    assert_eq!(details[0]["reason"], "INVALID_FIELD");
    let detail = &details[1];
    assert_eq!(detail["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(detail["fieldViolations"][0]["field"], "endpoint.urll");
}

#[tokio::test]
async fn query_parameters_become_fields() {
    let fake = Fake::default();
    let path = "/v1/tenants/t/events?pageSize=7&page_token=a%2Bb+c&startTime=2026-08-01T12:00:00.5%2B02:00";
    assert_eq!(send(&fake, "GET", path, "").await.status, 200);
    let request = fake.listed();
    assert_eq!((request.page_size, request.page_token.as_str()), (7, "a+b c"));
    let start = request.start_time.unwrap();
    assert_eq!((start.seconds, start.nanos), (1_785_578_400, 500_000_000));

    for (query, expected) in [
        (
            "pagesize=1",
            "pagesize: is unknown; allowed here: parent, pageSize, pageToken, startTime, endTime",
        ),
        ("pageSize=x", "pageSize: must be a whole number"),
        ("pageSize=1&pageSize=2", "pageSize: is given twice"),
        ("startTime=yesterday", "startTime: must be a time in RFC 3339"),
        ("startTime.seconds=1", "startTime.seconds: has no parts"),
        ("parent=tenants/u", "parent: comes from the path"),
    ] {
        let answer =
            send(&Fake::default(), "GET", &format!("/v1/tenants/t/events?{query}"), "").await;
        let message = answer.error(400, "INVALID_ARGUMENT");
        assert!(message.contains(expected), "{query}: {message}");
    }
    let message =
        send(&Fake::default(), "POST", "/v1/tenants/t/endpoints/e:pause?etag=1", "").await;
    assert!(message.error(400, "INVALID_ARGUMENT").contains("takes its fields in the body"));
}

#[tokio::test]
async fn patch_without_a_mask_changes_what_its_body_names() {
    let fake = Fake::default();
    let body = r#"{"description":"","delivery":{"timeout":"1s"},"headers":{},"etag":"x","createTime":"2026-08-01T12:00:00Z"}"#;
    assert_eq!(send(&fake, "PATCH", "/v1/tenants/t/endpoints/e", body).await.status, 200);
    let request = fake.updated();
    assert_eq!(request.endpoint.as_ref().unwrap().name, "tenants/t/endpoints/e");
    let mut paths = request.update_mask.unwrap().paths;
    paths.sort();
    assert_eq!(paths, ["delivery.timeout", "description", "headers"]);

    let path =
        "/v1/tenants/t/endpoints/e?updateMask=displayName,delivery.retrySchedule&validateOnly=true";
    assert_eq!(send(&fake, "PATCH", path, "{}").await.status, 200);
    let request = fake.updated();
    assert_eq!(request.update_mask.unwrap().paths, ["display_name", "delivery.retry_schedule"]);
    assert!(request.validate_only);
}

#[tokio::test]
async fn verbs_take_an_empty_body() {
    let fake = Fake::default();
    assert_eq!(send(&fake, "POST", "/v1/tenants/t/endpoints/e:pause", "").await.status, 200);
    assert_eq!(fake.paused().name, "tenants/t/endpoints/e");
}

#[tokio::test]
async fn errors_of_a_service_keep_code_reason_and_fields() {
    let fake = Fake::default().failing(
        wire::status::Details::reason("IDEMPOTENCY_KEY_REUSED")
            .with_field("events[3].idempotency_key", "belongs to another body")
            .with_retry_after(std::time::Duration::from_millis(1500))
            .status(
                tonic::Code::InvalidArgument,
                "events[3].idempotency_key: belongs to another body",
            ),
    );
    let answer = send(&fake, "POST", PUBLISH, "{}").await;
    let message = answer.error(400, "INVALID_ARGUMENT");
    assert_eq!(message, "events[3].idempotencyKey: belongs to another body");
    let details = &answer.json()["error"]["details"];
    assert_eq!(details[0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(details[0]["reason"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(details[0]["domain"], "postrider.dev");
    assert_eq!(details[1]["fieldViolations"][0]["field"], "events[3].idempotencyKey");
    assert_eq!(details[2]["retryDelay"], "1.5s");
    assert_eq!(answer.headers["retry-after"], "2");
}

#[tokio::test]
async fn codes_map_to_http() {
    for (code, status, name) in [
        (tonic::Code::NotFound, 404, "NOT_FOUND"),
        (tonic::Code::AlreadyExists, 409, "ALREADY_EXISTS"),
        (tonic::Code::Aborted, 409, "ABORTED"),
        (tonic::Code::FailedPrecondition, 400, "FAILED_PRECONDITION"),
        (tonic::Code::PermissionDenied, 403, "PERMISSION_DENIED"),
        (tonic::Code::Unauthenticated, 401, "UNAUTHENTICATED"),
        (tonic::Code::ResourceExhausted, 429, "RESOURCE_EXHAUSTED"),
        (tonic::Code::Unavailable, 503, "UNAVAILABLE"),
        (tonic::Code::Unimplemented, 501, "UNIMPLEMENTED"),
        (tonic::Code::Internal, 500, "INTERNAL"),
    ] {
        let fake = Fake::default().failing(tonic::Status::new(code, "no"));
        let answer = send(&fake, "POST", PUBLISH, "{}").await;
        assert_eq!(answer.error(status, name), "no");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test]
async fn unknown_paths_methods_and_types_are_told_apart() {
    let fake = Fake::default();
    let message = send(&fake, "GET", "/v1/tenants/t/nothing", "").await.error(404, "NOT_FOUND");
    assert!(message.contains("/v1/tenants/t/nothing"));
    send(&fake, "POST", "/v1/tenants/t/endpoints/e:jump", "").await.error(404, "NOT_FOUND");

    let answer = send(&fake, "PUT", "/v1/tenants/t/endpoints/e", "{}").await;
    answer.error(405, "UNIMPLEMENTED");
    let mut allowed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "PATCH"]);

    let form = "application/x-www-form-urlencoded";
    let answer = send_as(&fake, "POST", PUBLISH, form, "{}").await;
    assert!(answer.error(415, "INVALID_ARGUMENT").contains("send application/json"));
    assert_eq!(
        send_as(&fake, "POST", PUBLISH, "Application/JSON; charset=utf-8", "{}").await.status,
        200
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit() {
    let body = vec![b' '; REQUEST_BYTES_MAX + 1];
    let answer = send(&Fake::default(), "POST", PUBLISH, body).await;
    let message = answer.error(413, "INVALID_ARGUMENT");
    assert!(message.contains(&REQUEST_BYTES_MAX.to_string()), "{message}");
}

#[test]
fn every_call_of_the_surface_has_its_path() {
    let rest = Rest::new(wire::descriptor_pool(), "postrider.api.v1", Routes::default()).unwrap();
    let document: Json = serde_json::from_str(&rest.openapi(wire::descriptor_pool())).unwrap();
    let e = "/v1/tenants/{tenant}/endpoints/{endpoint}";
    for (method, path) in [
        ("post", "/v1/tenants/{tenant}/endpoints".to_owned()),
        ("patch", e.to_owned()),
        ("post", format!("{e}:pause")),
        ("post", format!("{e}:resume")),
        ("post", format!("{e}:test")),
        ("post", format!("{e}:rotateSecret")),
        ("delete", format!("{e}/subscriptions/{{subscription}}")),
        ("post", "/v1/tenants/{tenant}/events:publish".to_owned()),
        ("post", "/v1/tenants/{tenant}/events/{event}:resend".to_owned()),
        ("get", format!("{e}/deliveries")),
        ("post", format!("{e}/deliveries/{{delivery}}:cancel")),
        ("get", format!("{e}/deliveries/{{delivery}}/attempts")),
        ("post", format!("{e}/deadLetters/{{deadLetter}}:redrive")),
    ] {
        let operation = &document["paths"][&path][method];
        assert!(
            operation["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{method} {path}"
        );
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(schemas["Endpoint"]["properties"]["state"]["readOnly"], true);
    assert_eq!(schemas["Endpoint"]["properties"]["createTime"]["format"], "date-time");
    let text = document.to_string();
    for name in
        text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap())
    {
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_fault_has_a_reason_and_repeats_little_of_what_was_sent() {
    let fake = Fake::default();
    let long = "k".repeat(1_000_000);
    for body in [
        format!(r#"{{"endpoint":{{"{long}":1}}}}"#),
        format!(r#"{{"endpoint":{{"delivery":{{"ordering":"{long}"}}}}}}"#),
    ] {
        let answer = send(&fake, "POST", ENDPOINTS, body).await;
        answer.error(400, "INVALID_ARGUMENT");
        assert_eq!(answer.json()["error"]["details"][0]["reason"], "INVALID_FIELD");
        assert!(answer.text.len() < 4_000, "{} bytes", answer.text.len());
    }
    assert!(!fake.was_called());
}
