//! CloudEvents going in over REST: structured, batched and binary, with the result of the JSON form.

use anyhow::Result;
use postrider_e2e::{Answer, Rest};
use serde_json::{Value, json};

use crate::support::{TENANT, answering, start, text, wrong_fields};

const ONE: &str = "application/cloudevents+json";
const MANY: &str = "application/cloudevents-batch+json";

async fn publish(rest: &Rest, content_type: &str, body: &Value) -> Result<Answer> {
    let path = format!("{TENANT}/events:publish");
    rest.post_bytes(&path, content_type, body.to_string()).await
}

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "payment.completed",
        "time": "2026-03-01T12:00:00.250Z", "subject": "order-7", "data": { "amount": 12 },
    })
}

#[tokio::test]
async fn a_structured_cloudevent_is_delivered_with_its_id_and_time() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let answer = publish(&api.rest, ONE, &event("order-7")).await?.ok()?;
    assert_eq!(answer, json!({ "results": [{ "id": "order-7", "duplicate": false }] }));
    let envelope = receiver.wait_for_event("order-7", 1).await?[0].json()?;
    assert_eq!(text(&envelope, "created_at"), "2026-03-01T12:00:00.250Z");
    assert_eq!(envelope["data"], json!({ "amount": 12 }));
    // Both forms have one idempotency: the same event again, in the words of the other.
    let same = json!({ "id": "order-7", "type": "payment.completed", "data": { "amount": 12 } });
    let again = api.publish_event(same).await?;
    assert_eq!(again, json!({ "id": "order-7", "duplicate": true }));
    let mut other = event("order-7");
    other["data"] = json!(0);
    let reused = publish(&api.rest, ONE, &other).await?.expect(409)?;
    assert_eq!(wrong_fields(&reused), ["events[0].id"]);
    Ok(())
}

#[tokio::test]
async fn a_batch_of_cloudevents_is_published_whole_or_not_at_all() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let mut bad = event("c");
    bad["type"] = json!("no-type");
    let refused = publish(&api.rest, MANY, &json!([event("a"), bad])).await?.expect(400)?;
    assert_eq!(wrong_fields(&refused), ["events[1].type"]);
    assert_eq!(publish(&api.rest, MANY, &json!([])).await?.status, 400);

    let batch = json!([event("a"), event("not an id"), event("not an id")]);
    let answer = publish(&api.rest, MANY, &batch).await?.ok()?;
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let derived = text(&results[1], "id");
    assert_eq!(text(&results[0], "id"), "a");
    assert!(derived.starts_with("ce_"), "{derived}");
    assert_eq!(results[2], json!({ "id": derived, "duplicate": true }));
    receiver.wait_for_event("a", 1).await?;
    receiver.wait_for_event(derived, 1).await?;
    assert_eq!(receiver.count(), 2, "nothing of the refused batch came");
    Ok(())
}

#[tokio::test]
async fn a_binary_cloudevent_is_delivered_byte_for_byte() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({ "format": "RAW" })).await?;
    let path = format!("{TENANT}/events:publish");
    let headers = [
        ("content-type", "application/vnd.shop+json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "order-8"),
        ("ce-source", "/shop"),
        ("ce-type", "payment.completed"),
    ];
    let data = "{ \"amount\" : 1.0 }";
    api.rest.post_with(&path, &headers, data).await?.ok()?;
    let request = receiver.wait_for_event("order-8", 1).await?.remove(0);
    assert_eq!(&request.body[..], data.as_bytes());
    assert_eq!(request.header("content-type"), "application/vnd.shop+json");
    // What is missing or not as it says is named, as in the JSON form.
    let refused = api.rest.post_with(&path, &headers[..3], data).await?.expect(400)?;
    assert_eq!(wrong_fields(&refused), ["events[0].source"]);
    let refused = api.rest.post_with(&path, &headers, "not json").await?.expect(400)?;
    assert_eq!(wrong_fields(&refused), ["events[0].data"]);
    Ok(())
}
