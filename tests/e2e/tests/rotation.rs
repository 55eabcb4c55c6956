//! Rotating secrets (spec §5): old and new ones verify in the grace period.

use anyhow::{Context, Result};
use postrider_e2e::{Receiver, Request, hmac};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, answering, reason, start, text};

/// Rotates and returns the new secret.
async fn rotate(api: &Api, body: Value) -> Result<String> {
    let answer = api.verb("shop", "rotateSecret", body).await?.ok()?;
    let key = answer["secret"]["key"].as_str();
    Ok(key.context("the new secret")?.to_owned())
}

/// Publishes an event and returns its request.
async fn next(api: &Api, receiver: &Receiver) -> Result<Request> {
    let id = api.publish("payment.completed").await?;
    Ok(receiver.wait_for_event(&id, 1).await?.remove(0))
}

fn entries(request: &Request) -> usize {
    request.header("webhook-signature").split(' ').count()
}

#[tokio::test]
async fn old_and_new_secret_both_verify_in_the_grace_period() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let first = api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let second = rotate(&api, json!({})).await?;
    let request = next(&api, &receiver).await?;
    assert_eq!(entries(&request), 2);
    assert!(hmac::verifies_standard(&first, &request));
    assert!(hmac::verifies_standard(&second, &request));
    assert!(hmac::verifies_x_webhook(&second, &request));
    assert!(!hmac::verifies_x_webhook(&first, &request));
    assert!(hmac::verifies_x_webhook_previous(&first, &request));

    // A second rotation in the grace period of the first: three live ones, the previous one is the second.
    let third = rotate(&api, json!({ "gracePeriod": "3600s" })).await?;
    let request = next(&api, &receiver).await?;
    assert_eq!(entries(&request), 3);
    assert!([&first, &second, &third].iter().all(|s| hmac::verifies_standard(s, &request)));
    assert!(hmac::verifies_x_webhook(&third, &request));
    assert!(hmac::verifies_x_webhook_previous(&second, &request));
    Ok(())
}

#[tokio::test]
async fn the_endpoint_shows_which_secrets_are_live_and_until_when() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let first = api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let second = rotate(&api, json!({ "gracePeriod": "86400s" })).await?;
    let shown = api.rest.get(&format!("{TENANT}/endpoints/shop")).await?;
    let secrets = shown.json["endpoint"]["secrets"].as_array().context("its secrets")?.clone();
    assert_eq!(secrets.len(), 2);
    assert_eq!(text(&secrets[0], "expireTime"), "", "the current one has no end");
    assert_ne!(text(&secrets[1], "expireTime"), "", "the old one has an end");
    for secret in [&first, &second] {
        assert!(!shown.text().contains(secret.as_str()), "a secret is shown once");
    }
    let attempts = {
        let id = api.publish("payment.completed").await?;
        api.delivery_in("shop", &id, "SUCCEEDED").await?;
        api.attempts("shop", &id).await?
    };
    assert_eq!(attempts[0]["signatureCount"], 2);
    Ok(())
}

#[tokio::test]
async fn a_grace_period_of_zero_revokes_the_old_secret_at_once() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let first = api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let second = rotate(&api, json!({ "gracePeriod": "0s" })).await?;
    let request = next(&api, &receiver).await?;
    assert_eq!(entries(&request), 1);
    assert!(hmac::verifies_standard(&second, &request));
    assert!(!hmac::verifies_standard(&first, &request));
    assert!(hmac::verifies_x_webhook(&second, &request));
    assert!(!request.headers.contains_key("x-webhook-signature-previous"));
    Ok(())
}

#[tokio::test]
async fn after_the_grace_period_the_old_secret_signs_no_more() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    let first = api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let second = rotate(&api, json!({ "gracePeriod": "1s" })).await?;
    // Its end is awaited by what deliveries carry.
    let request = loop {
        let request = next(&api, &receiver).await?;
        if entries(&request) == 1 {
            break request;
        }
        assert!(hmac::verifies_standard(&first, &request));
    };
    assert!(!hmac::verifies_standard(&first, &request));
    assert!(hmac::verifies_standard(&second, &request));
    assert!(!request.headers.contains_key("x-webhook-signature-previous"));
    Ok(())
}

#[tokio::test]
async fn retries_are_signed_with_what_is_live_then() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(500).await?;
    let policy = json!({ "retrySchedule": vec!["0.2s"; 20] });
    let first = api.endpoint("shop", &receiver.url("/"), policy).await?;
    let id = api.publish("payment.completed").await?;
    let request = receiver.wait_for_event(&id, 1).await?.remove(0);
    assert!(hmac::verifies_standard(&first, &request));
    let second = rotate(&api, json!({ "gracePeriod": "0s" })).await?;
    receiver
        .wait_for("a retry under the new secret", |all| {
            all.last().is_some_and(|r| hmac::verifies_standard(&second, r) && r.event_id() == id)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_sixth_live_secret_is_refused_and_zero_grace_makes_room() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    for _ in 0..4 {
        rotate(&api, json!({})).await?;
    }
    let refused = api.verb("shop", "rotateSecret", json!({})).await?.expect(400)?;
    assert_eq!(refused["error"]["status"], "FAILED_PRECONDITION");
    assert_eq!(reason(&refused), "TOO_MANY_SECRETS");
    assert_eq!(entries(&next(&api, &receiver).await?), 5);

    let only = rotate(&api, json!({ "gracePeriod": "0s" })).await?;
    let request = next(&api, &receiver).await?;
    assert_eq!(entries(&request), 1);
    assert!(hmac::verifies_standard(&only, &request));
    Ok(())
}

#[tokio::test]
async fn a_rotation_may_bring_its_own_secret() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(rotate(&api, json!({ "secret": own })).await?, own);
    assert!(hmac::verifies_standard(own, &next(&api, &receiver).await?));
    for bad in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_"] {
        api.verb("shop", "rotateSecret", json!({ "secret": bad })).await?.expect(400)?;
    }
    for bad in ["-1s", "604801s"] {
        api.verb("shop", "rotateSecret", json!({ "gracePeriod": bad })).await?.expect(400)?;
    }
    assert_eq!(entries(&next(&api, &receiver).await?), 2);
    Ok(())
}

#[tokio::test]
async fn the_same_request_id_gives_the_same_secret() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let body = json!({ "requestId": "6b3bd9a5-7f3c-4e6c-9a3e-0d9a1b6f7c2e" });
    let first = rotate(&api, body.clone()).await?;
    assert_eq!(rotate(&api, body).await?, first);
    assert_eq!(entries(&next(&api, &receiver).await?), 2);
    Ok(())
}
