//! Publishing: ids, idempotency, bytes, limits, matching, scheduled delivery (spec §2, §3).

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use postrider_e2e::until;
use serde_json::{Value, json};
use wire::api::v1::{NewEvent, PublishEventsRequest};

use crate::support::{TENANT, answering, reason, start, text, wrong_fields};

const LIMIT: usize = 256 * 1024;

#[tokio::test]
async fn an_event_without_an_id_gets_one() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let ids = api.publish_many("payment.completed", 20).await?;
    for id in &ids {
        let digits = id.strip_prefix("evt_").context("the prefix of ids")?;
        assert!(digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
        assert_eq!(&digits[12..13], "7", "a UUIDv7: {id}");
    }
    // The first 48 bits are the millisecond (RFC 9562 §5.7); within one there is no order.
    assert!(ids.is_sorted_by_key(|id| id.get(..16)), "ids follow the time: {ids:?}");
    receiver.wait_for_count(20).await?;
    assert_eq!(receiver.count_by_event().len(), 20);
    Ok(())
}

#[tokio::test]
async fn an_id_of_the_publisher_is_kept_and_can_be_read() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let event = json!({
        "id": "order-42_x", "type": "order.placed", "data": [1, 2], "channels": ["eu"],
        "orderingKey": "customer-7",
    });
    let result = api.publish_event(event).await?;
    assert_eq!(text(&result, "id"), "order-42_x");
    assert_ne!(result["duplicate"], true);
    receiver.wait_for_event("order-42_x", 1).await?;
    let read = api.rest.get(&format!("{TENANT}/events/order-42_x")).await?.ok()?["event"].clone();
    assert_eq!(text(&read, "type"), "order.placed");
    assert_eq!(read["data"], json!([1, 2]));
    assert_eq!((&read["channels"], text(&read, "orderingKey")), (&json!(["eu"]), "customer-7"));
    let listed = api.rest.get(&format!("{TENANT}/events")).await?.ok()?;
    assert_eq!(listed["events"][0]["id"], "order-42_x");
    api.rest.get(&format!("{TENANT}/events/evt_unknown")).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn the_same_key_and_body_is_one_event_and_one_fan_out() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    for event in [
        json!({ "type": "payment.completed", "data": { "n": 1 }, "idempotencyKey": "order-7/paid" }),
        json!({ "type": "payment.completed", "data": { "n": 1 }, "id": "payment-7" }),
    ] {
        let first = api.publish_event(event.clone()).await?;
        assert_ne!(first["duplicate"], true);
        let again = api.publish_event(event.clone()).await?;
        assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
        // Twice in one batch is once as well.
        let batch = api.publish_all(json!([event.clone(), event])).await?.ok()?;
        assert!((0..2).all(|n| batch["results"][n]["duplicate"] == true), "{batch}");
        let id = text(&first, "id");
        receiver.wait_for_event(id, 1).await?;
        // What was published later has come: a second fan-out would have come before.
        let later = api.publish("marker.sent").await?;
        receiver.wait_for_event(&later, 1).await?;
        assert_eq!(receiver.count_by_event()[id], 1);
    }
    Ok(())
}

#[tokio::test]
async fn the_same_key_with_another_body_is_an_error() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let event =
        |kind: &str, n: u32| json!({ "type": kind, "data": { "n": n }, "idempotencyKey": "k" });
    let first = api.publish_event(event("payment.completed", 1)).await?;
    for other in [event("payment.completed", 2), event("payment.failed", 1)] {
        let refused = api.publish_all(json!([other])).await?;
        ensure!(refused.status.is_client_error(), "{}", refused.text());
        assert_eq!(reason(&refused.json), "IDEMPOTENCY_KEY_REUSED");
        assert!(refused.text().contains("events[0].idempotencyKey"), "{}", refused.text());
    }
    let batch = json!([{ "type": "a.b", "data": 1 }, event("payment.completed", 3)]);
    let refused = api.publish_all(batch).await?;
    assert_eq!(reason(&refused.json), "IDEMPOTENCY_KEY_REUSED");
    let later = api.publish("marker.sent").await?;
    receiver.wait_for_event(&later, 1).await?;
    receiver.wait_for_event(text(&first, "id"), 1).await?;
    assert_eq!(receiver.requests().len(), 2, "nothing of the refused calls was delivered");
    Ok(())
}

#[tokio::test]
async fn the_bytes_of_data_are_kept_as_sent() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("envelope", &receiver.url("/envelope"), json!({})).await?;
    api.endpoint("raw", &receiver.url("/raw"), json!({ "format": "RAW" })).await?;
    // Order of keys, blanks, numbers that no float holds, escapes, a key twice.
    let data = r#"{ "z" : 1.10, "a":12345678901234567890123,  "e":1E+2, "u":"\u00e9\/é", "z":0 }"#;
    let body = format!(r#"{{"events":[{{"type":"payment.completed","data":{data}}}]}}"#);
    let path = format!("{TENANT}/events:publish");
    let answer = api.rest.post_bytes(&path, "application/json", body).await?.ok()?;
    let id = text(&answer["results"][0], "id").to_owned();
    receiver.wait_for_event(&id, 2).await?;
    assert_eq!(&receiver.requests_to("/raw")[0].body[..], data.as_bytes());
    let envelope = receiver.requests_to("/envelope")[0].body.clone();
    let tail = format!(r#","data":{data}}}"#);
    assert!(envelope.ends_with(tail.as_bytes()), "{}", String::from_utf8_lossy(&envelope));
    for data in ["null", "true", "-0.0", "\"text\"", "[]", "{}"] {
        let body = format!(r#"{{"events":[{{"type":"payment.completed","data":{data}}}]}}"#);
        let answer = api.rest.post_bytes(&path, "application/json", body).await?.ok()?;
        let id = text(&answer["results"][0], "id").to_owned();
        let requests = receiver.wait_for_event(&id, 2).await?;
        let raw = requests.iter().find(|r| r.path == "/raw").context("the raw one")?;
        assert_eq!(&raw.body[..], data.as_bytes());
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_is_validated_whole_and_every_fault_is_named() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let good = json!({ "type": "payment.completed", "data": {} });
    let bad = json!([good, good, good, { "type": "not a type", "data": {} }, good]);
    let refused = api.publish_all(bad).await?.expect(400)?;
    assert_eq!(refused["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(wrong_fields(&refused), ["events[3].type"]);
    assert!(text(&refused["error"], "message").contains("events[3].type"));
    let two = json!([{ "type": "", "data": {} }, { "type": "a.b", "data": {}, "id": "no blanks" }]);
    let refused = api.publish_all(two).await?.expect(400)?;
    assert_eq!(wrong_fields(&refused), ["events[0].type", "events[1].id"]);
    let later = api.publish("marker.sent").await?;
    receiver.wait_for_event(&later, 1).await?;
    assert_eq!(receiver.requests().len(), 1, "nothing of the refused batches was delivered");
    let listed = api.rest.get(&format!("{TENANT}/events")).await?.ok()?;
    assert_eq!(listed["events"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_body_over_256_kib_is_refused_and_one_of_that_size_is_not() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({ "format": "RAW" })).await?;
    // A JSON string has two bytes of quotes.
    let fits = Value::from("x".repeat(LIMIT - 2));
    let result = api.publish_event(json!({ "type": "blob.sent", "data": fits })).await?;
    let request = receiver.wait_for_event(text(&result, "id"), 1).await?.remove(0);
    assert_eq!(request.body.len(), LIMIT);
    let over = Value::from("x".repeat(LIMIT - 1));
    let refused = api.publish_all(json!([{ "type": "blob.sent", "data": over }])).await?;
    ensure!([400, 413].contains(&refused.status.as_u16()), "{}", refused.text());
    assert_eq!(wrong_fields(&refused.json), ["events[0].data"]);
    assert!(refused.text().contains("262144"), "it says what is allowed: {}", refused.text());
    Ok(())
}

#[tokio::test]
async fn patterns_match_as_the_specification_says() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    for (id, pattern) in [
        ("all", "*"),
        ("payments", "payment.*"),
        ("one", "payment.completed"),
        ("deep", "payment.card.*"),
    ] {
        api.subscribe(id, &receiver.url(&format!("/{id}")), json!({}), &[pattern]).await?;
    }
    // Subscriptions that overlap deliver once.
    api.subscribe("twice", &receiver.url("/twice"), json!({}), &["payment.*", "*"]).await?;
    let types =
        ["payment.completed", "payment.card.declined", "payments.completed", "refund.created"];
    let mut ids = Vec::new();
    for kind in types {
        ids.push(api.publish(kind).await?);
    }
    receiver.wait_for_count(4 + 2 + 1 + 1 + 4).await?;
    let marker = api.publish("marker.sent").await?;
    receiver.wait_for_event(&marker, 2).await?;
    let got = |id: &str| {
        let requests = receiver.requests_to(&format!("/{id}"));
        let mut kinds: Vec<_> =
            requests.iter().filter_map(|r| ids.iter().position(|id| id == r.event_id())).collect();
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(got("all"), [0, 1, 2, 3]);
    assert_eq!(got("payments"), [0, 1]);
    assert_eq!(got("one"), [0]);
    assert_eq!(got("deep"), [1]);
    assert_eq!(got("twice"), [0, 1, 2, 3]);
    Ok(())
}

#[tokio::test]
async fn types_of_operational_events_are_reserved() -> Result<()> {
    let (_server, api) = start().await?;
    for kind in ["postrider.endpoint.disabled", "postrider.test"] {
        let refused = api.publish_all(json!([{ "type": kind, "data": {} }])).await?.expect(400)?;
        assert_eq!(wrong_fields(&refused), ["events[0].type"]);
    }
    Ok(())
}

#[tokio::test]
async fn channels_narrow_what_matches() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let subscriptions = json!([{ "eventTypes": ["*"], "channels": ["eu", "us/west"] }]);
    api.create("narrow", &receiver.url("/narrow"), json!({}), subscriptions).await?.ok()?;
    api.endpoint("wide", &receiver.url("/wide"), json!({})).await?;
    let with = |channels: Value| json!({ "type": "a.b", "data": 1, "channels": channels });
    let mut ids = Vec::new();
    for channels in [json!(["eu"]), json!(["asia"]), json!([]), json!(["asia", "us/west"])] {
        ids.push(text(&api.publish_event(with(channels)).await?, "id").to_owned());
    }
    receiver.wait_for("all", |all| all.len() >= 6).await?;
    assert_eq!(receiver.requests_to("/wide").len(), 4);
    let mut narrow: Vec<_> =
        receiver.requests_to("/narrow").iter().map(|r| r.event_id().to_owned()).collect();
    narrow.sort_unstable();
    assert_eq!(narrow, [ids[0].clone(), ids[3].clone()]);
    Ok(())
}

#[tokio::test]
async fn a_change_of_subscriptions_holds_for_the_next_event() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let witness = answering(200).await?;
    api.endpoint("witness", &witness.url("/"), json!({})).await?;
    api.create("shop", &receiver.url("/"), json!({}), json!([])).await?.ok()?;
    let path = format!("{TENANT}/endpoints/shop/subscriptions");
    let mut expected = Vec::new();
    for round in 0..5 {
        let missed = api.publish("payment.missed").await?;
        // What the worker has not matched yet may see the newer configuration.
        witness.wait_for_event(&missed, 1).await?;
        let body = json!({
            "subscriptionId": "only", "subscription": { "eventTypes": ["payment.*"] },
        });
        api.rest.post(&path, body).await?.ok()?;
        expected.push(api.publish("payment.seen").await?);
        receiver.wait_for_count(round + 1).await?;
        api.rest.delete(&format!("{path}/only")).await?.ok()?;
    }
    let seen: Vec<_> = receiver.requests().iter().map(|r| r.event_id().to_owned()).collect();
    assert_eq!(seen, expected);
    Ok(())
}

#[tokio::test]
async fn a_scheduled_event_waits_for_its_time() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let at = SystemTime::now() + Duration::from_secs(2);
    let event = |time: &str| json!({ "type": "a.b", "data": 1, "deliverTime": time });
    let waits = api.publish_event(event(&rfc3339(at)?)).await?;
    let past = api.publish_event(event("2020-01-01T00:00:00Z")).await?;
    receiver.wait_for_event(text(&past, "id"), 1).await?;
    let delivery = api.delivery_in("shop", text(&waits, "id"), "PENDING").await?;
    assert_ne!(text(&delivery, "nextAttemptTime"), "");
    let request = receiver.wait_for_event(text(&waits, "id"), 1).await?.remove(0);
    assert!(request.time >= at, "delivered before its time");
    assert_eq!(request.attempt(), 1);

    let far = SystemTime::now() + Duration::from_secs(8 * 86_400);
    let refused = api.publish_all(json!([event(&rfc3339(far)?)])).await?.expect(400)?;
    assert_eq!(wrong_fields(&refused), ["events[0].deliverTime"]);
    Ok(())
}

fn rfc3339(time: SystemTime) -> Result<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH)?;
    let stamp = prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs())?,
        nanos: i32::try_from(since.subsec_nanos())?,
    };
    Ok(stamp.to_string())
}

#[tokio::test]
async fn text_becomes_a_string_and_other_bytes_base64() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("envelope", &receiver.url("/envelope"), json!({})).await?;
    api.endpoint("raw", &receiver.url("/raw"), json!({ "format": "RAW" })).await?;
    let event = |content_type: &str, data: &[u8]| NewEvent {
        r#type: "note.taken".into(),
        content_type: content_type.into(),
        data: data.to_vec().into(),
        ..NewEvent::default()
    };
    let request = PublishEventsRequest {
        parent: "tenants/default".into(),
        events: vec![
            event("text/plain; charset=utf-8", "h\u{e9}llo \"you\"".as_bytes()),
            event("application/octet-stream", b"\x00\xff\x01"),
        ],
        ..PublishEventsRequest::default()
    };
    let results = server.grpc()?.events().publish_events(request).await?.into_inner().results;
    let text = receiver.wait_for_event(&results[0].id, 2).await?;
    let binary = receiver.wait_for_event(&results[1].id, 2).await?;
    let find = |requests: &[postrider_e2e::Request], path: &str| {
        requests.iter().find(|r| r.path == path).cloned().context("a request")
    };
    let envelope = find(&text, "/envelope")?.json()?;
    assert_eq!(envelope["data"], "h\u{e9}llo \"you\"");
    let envelope = find(&binary, "/envelope")?.json()?;
    assert_eq!((&envelope["data_base64"], &envelope["data"]), (&json!("AP8B"), &Value::Null));
    let raw = find(&binary, "/raw")?;
    assert_eq!(
        (&raw.body[..], raw.header("content-type")),
        (&b"\x00\xff\x01"[..], "application/octet-stream")
    );
    let read = api.rest.get(&format!("{TENANT}/events/{}", results[1].id)).await?.ok()?;
    assert_eq!(read["event"]["dataBase64"], "AP8B");
    Ok(())
}

#[tokio::test]
async fn a_checked_batch_is_not_published() -> Result<()> {
    let (_server, api) = start().await?;
    let path = format!("{TENANT}/events:publish");
    let body = json!({ "events": [{ "type": "a.b", "data": 1 }], "validateOnly": true });
    api.rest.post(&path, body).await?.ok()?;
    let real = api.publish("c.d").await?;
    until("the event is listed", async || {
        let listed = api.rest.get(&format!("{TENANT}/events")).await?.ok()?;
        let ids: Vec<_> = listed["events"].as_array().into_iter().flatten().collect();
        Ok((ids.len() == 1 && ids[0]["id"] == real.as_str()).then_some(()))
    })
    .await
}

#[tokio::test]
async fn cloudevents_formats_carry_the_event() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("ce", &receiver.url("/ce"), json!({ "format": "CLOUDEVENTS" })).await?;
    api.endpoint("bin", &receiver.url("/bin"), json!({ "format": "CLOUDEVENTS_BINARY" })).await?;
    let id = api.publish("payment.completed").await?;
    receiver.wait_for_event(&id, 2).await?;
    let structured = &receiver.requests_to("/ce")[0];
    assert!(structured.header("content-type").starts_with("application/cloudevents+json"));
    let body = structured.json()?;
    assert_eq!((text(&body, "specversion"), text(&body, "id")), ("1.0", id.as_str()));
    assert_eq!(
        (text(&body, "type"), &body["data"]),
        ("payment.completed", &json!({ "amount": 1 }))
    );
    let binary = &receiver.requests_to("/bin")[0];
    assert_eq!((binary.header("ce-specversion"), binary.header("ce-id")), ("1.0", id.as_str()));
    assert_eq!(binary.header("ce-type"), "payment.completed");
    assert_eq!(&binary.body[..], br#"{"amount":1}"#);
    Ok(())
}
