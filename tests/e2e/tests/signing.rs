//! What is signed and how (spec §4), and the other headers of a delivery (spec §6).

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Receiver, Reply, Request, hmac};
use serde_json::{Value, json};

use crate::support::{TENANT, answering, last_part, quick, start, text};

const STANDARD: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const X_WEBHOOK: [&str; 3] = ["x-webhook-id", "x-webhook-timestamp", "x-webhook-signature"];

/// Delivers one event to an endpoint with this `signature` setting; gives its secret and the request.
async fn deliver(signature: Option<&str>) -> Result<(String, Request)> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let policy = signature.map_or(json!({}), |scheme| json!({ "signature": scheme }));
    let secret = api.endpoint("shop", &receiver.url("/hook"), policy).await?;
    let id = api.publish("payment.completed").await?;
    let request = receiver.wait_for_event(&id, 1).await?.remove(0);
    Ok((secret, request))
}

fn has(request: &Request, names: [&str; 3]) -> Vec<bool> {
    names.iter().map(|name| request.headers.contains_key(*name)).collect()
}

#[tokio::test]
async fn both_header_families_are_sent_by_default_and_verify() -> Result<()> {
    for setting in [None, Some("BOTH")] {
        let (secret, request) = deliver(setting).await?;
        assert_eq!(has(&request, STANDARD), [true; 3]);
        assert_eq!(has(&request, X_WEBHOOK), [true; 3]);
        assert!(hmac::verifies_standard(&secret, &request));
        assert!(hmac::verifies_x_webhook(&secret, &request));
        assert_eq!(request.header("webhook-id"), request.header("x-webhook-id"));
        assert_eq!(request.header("webhook-timestamp"), request.header("x-webhook-timestamp"));
        assert_eq!(request.headers.get_all("webhook-signature").iter().count(), 1);
        // One live secret: one entry, and no previous one.
        assert!(!request.header("webhook-signature").contains(' '));
        assert!(!request.headers.contains_key("x-webhook-signature-previous"));
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_may_choose_one_header_family() -> Result<()> {
    let (secret, request) = deliver(Some("STANDARD")).await?;
    assert_eq!(
        (has(&request, STANDARD), has(&request, X_WEBHOOK)),
        (vec![true; 3], vec![false; 3])
    );
    assert!(hmac::verifies_standard(&secret, &request));

    let (secret, request) = deliver(Some("X_WEBHOOK")).await?;
    assert_eq!(
        (has(&request, STANDARD), has(&request, X_WEBHOOK)),
        (vec![false; 3], vec![true; 3])
    );
    assert!(hmac::verifies_x_webhook(&secret, &request));
    Ok(())
}

#[tokio::test]
async fn a_changed_byte_id_time_or_secret_does_not_verify() -> Result<()> {
    let (secret, request) = deliver(None).await?;
    let altered = |change: fn(&mut Request)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    let body = altered(|r| r.body = [&r.body[..], b" "].concat().into());
    let time = altered(|r| {
        for name in ["webhook-timestamp", "x-webhook-timestamp"] {
            r.headers.insert(name, "1".parse().unwrap());
        }
    });
    for request in [&body, &time] {
        assert!(!hmac::verifies_standard(&secret, request));
        assert!(!hmac::verifies_x_webhook(&secret, request));
    }
    let id = altered(|r| {
        r.headers.insert("webhook-id", "other".parse().unwrap());
    });
    assert!(!hmac::verifies_standard(&secret, &id));
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert!(!hmac::verifies_standard(other, &request));
    assert!(!hmac::verifies_x_webhook(other, &request));
    Ok(())
}

/// The whole of a receiver that has nothing but an HMAC function and hex.
#[tokio::test]
async fn a_receiver_of_ten_lines_verifies_a_delivery() -> Result<()> {
    let (secret, request) = deliver(None).await?;
    let timestamp = request.header("x-webhook-timestamp");
    let expected = hmac::x_webhook(&secret, timestamp, &request.body);
    let age = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().abs_diff(timestamp.parse()?);
    assert!(request.header("x-webhook-signature") == expected && age <= 300);
    Ok(())
}

#[tokio::test]
async fn a_secret_is_32_random_bytes_and_shown_once() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let first = api.endpoint("one", &receiver.url("/"), json!({})).await?;
    let second = api.endpoint("two", &receiver.url("/"), json!({})).await?;
    assert_ne!(first, second);
    let encoded = first.strip_prefix("whsec_").context("the prefix of a secret")?;
    // 32 bytes are 44 characters of base64, one of them padding.
    assert_eq!((encoded.len(), encoded.ends_with('=')), (44, true));
    for path in ["/endpoints/one", "/endpoints"] {
        let shown = api.rest.get(&format!("{TENANT}{path}")).await?;
        shown.clone().ok()?;
        assert!(!shown.text().contains(encoded), "{path} shows the secret");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_given_at_create_signs() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = json!({
        "endpoint": { "url": receiver.url("/") },
        "subscriptions": [{ "eventTypes": ["*"] }],
        "secret": secret,
    });
    let made = api.rest.post(&format!("{TENANT}/endpoints"), body).await?.ok()?;
    assert_eq!(made["secret"]["key"], secret);
    api.publish("payment.completed").await?;
    let request = receiver.wait_for_count(1).await?.remove(0);
    assert!(hmac::verifies_standard(secret, &request));
    assert!(hmac::verifies_x_webhook(secret, &request));
    // The endpoint got an id of its own.
    assert!(!last_part(&made["endpoint"]["name"]).is_empty());
    Ok(())
}

#[tokio::test]
async fn every_attempt_has_its_own_time_and_signature_and_the_events_id() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500), Reply::status(500), Reply::status(200)]);
    // The steps put attempts into different seconds.
    let policy = json!({ "retrySchedule": ["1.2s", "1.2s"] });
    let secret = api.endpoint("shop", &receiver.url("/"), policy).await?;
    let id = api.publish("payment.completed").await?;
    let requests = receiver.wait_for_event(&id, 3).await?;

    for request in &requests {
        let header: u64 = request.header("webhook-timestamp").parse()?;
        let arrived = request.time.duration_since(UNIX_EPOCH)?.as_secs();
        assert!(arrived.abs_diff(header) <= 2, "sent at {header}, arrived at {arrived}");
        assert_eq!(request.header("webhook-id"), id);
        assert_eq!(request.body, requests[0].body, "retries carry the same bytes");
        assert!(hmac::verifies_standard(&secret, request));
        assert!(hmac::verifies_x_webhook(&secret, request));
    }
    let times: Vec<_> = requests.iter().map(|r| r.header("webhook-timestamp")).collect();
    ensure!(times[0] < times[1] && times[1] < times[2], "times of attempts: {times:?}");
    let signatures: Vec<_> = requests.iter().map(|r| r.header("webhook-signature")).collect();
    assert_ne!(signatures[0], signatures[1]);
    Ok(())
}

#[tokio::test]
async fn attempts_say_their_number_trigger_sender_and_trace() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500), Reply::status(200)]);
    api.endpoint("shop", &receiver.url("/"), quick(3)).await?;
    let id = api.publish("payment.completed").await?;
    let requests = receiver.wait_for_event(&id, 2).await?;

    let seen: Vec<_> = requests.iter().map(|r| (r.attempt(), r.trigger())).collect();
    assert_eq!(seen, [(1, "event"), (2, "retry")]);
    for request in &requests {
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), "application/json");
        let agent = request.header("user-agent");
        let version = agent.strip_prefix("Postrider/").context("the name of the sender")?;
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{agent}");
        assert_eq!(traceparent(request)?.len(), 4);
    }
    Ok(())
}

/// Splits a `traceparent` (W3C): version, trace, parent, flags.
fn traceparent(request: &Request) -> Result<Vec<String>> {
    let header = request.header("traceparent");
    let parts: Vec<String> = header.split('-').map(str::to_owned).collect();
    let lengths: Vec<_> = parts.iter().map(String::len).collect();
    ensure!(lengths == [2, 32, 16, 2], "traceparent {header:?}");
    ensure!(parts.iter().all(|part| part.chars().all(|c| c.is_ascii_hexdigit())), "{header}");
    Ok(parts)
}

#[tokio::test]
async fn the_envelope_has_the_fields_of_the_specification() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let event = json!({
        "type": "payment.completed", "data": { "amount": 12 }, "apiVersion": "2026-08-01",
    });
    let id = text(&api.publish_event(event).await?, "id").to_owned();
    let request = receiver.wait_for_event(&id, 1).await?.remove(0);
    let envelope = request.json()?;
    let names: Vec<_> = envelope.as_object().context("an object")?.keys().collect();
    assert_eq!(names, ["api_version", "created_at", "data", "id", "type"]);
    assert_eq!(envelope["id"], Value::from(id));
    assert_eq!(envelope["type"], "payment.completed");
    assert_eq!(envelope["api_version"], "2026-08-01");
    assert_eq!(envelope["data"], json!({ "amount": 12 }));
    let created = text(&envelope, "created_at");
    assert!(created.ends_with('Z') && created.contains('T'), "RFC 3339 in UTC: {created}");
    Ok(())
}

#[tokio::test]
async fn the_raw_body_is_signed_too() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let secret = api.endpoint("shop", &receiver.url("/"), json!({ "format": "RAW" })).await?;
    api.publish("payment.completed").await?;
    let request = receiver.wait_for_count(1).await?.remove(0);
    assert_eq!(&request.body[..], br#"{"amount":1}"#);
    assert!(hmac::verifies_standard(&secret, &request));
    assert!(hmac::verifies_x_webhook(&secret, &request));
    Ok(())
}

#[tokio::test]
async fn custom_headers_go_with_every_delivery() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let body = json!({
        "endpoint": { "url": receiver.url("/hook?shard=7"), "headers": { "X-Shop": "north" } },
        "subscriptions": [{ "eventTypes": ["*"] }],
    });
    api.rest.post(&format!("{TENANT}/endpoints"), body).await?.ok()?;
    api.publish("payment.completed").await?;
    let request = receiver.wait_for_count(1).await?.remove(0);
    assert_eq!(request.header("x-shop"), "north");
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/hook", "shard=7"));
    Ok(())
}
