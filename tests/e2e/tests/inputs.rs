//! Bad input gets an error that names the field and says what is allowed, and changes nothing.

use anyhow::{Context, Result, ensure};
use postrider_e2e::Server;
use serde_json::{Value, json};

use crate::support::{Api, TENANT, answering, reason, start, text, wrong_fields};

/// Everything that configuration shows; equal before and after a refused call.
async fn configuration(api: &Api) -> Result<Value> {
    let endpoints = api.rest.get(&format!("{TENANT}/endpoints?pageSize=1000")).await?.ok()?;
    let mut all = vec![];
    for endpoint in endpoints["endpoints"].as_array().into_iter().flatten() {
        let path = format!("/v1/{}/subscriptions", text(endpoint, "name"));
        let mut endpoint = endpoint.clone();
        endpoint["health"].take();
        all.push(json!([endpoint, api.rest.get(&path).await?.ok()?]));
    }
    let events = api.rest.get(&format!("{TENANT}/events")).await?.ok()?;
    Ok(json!([all, events]))
}

async fn with_shop() -> Result<(Server, Api, postrider_e2e::Receiver)> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    Ok((server, api, receiver))
}

/// Asserts that a call is refused as INVALID_ARGUMENT with these words about this field.
fn assert_refused(error: &Value, field: &str, allowed: &str) -> Result<()> {
    ensure!(error["error"]["status"] == "INVALID_ARGUMENT", "{field}: {error}");
    ensure!(wrong_fields(error) == [field], "{field}: {error}");
    let message = text(&error["error"], "message");
    ensure!(message.contains(field), "the message names {field}: {message}");
    ensure!(error.to_string().contains(allowed), "{field}: it says `{allowed}`: {error}");
    Ok(())
}

#[tokio::test]
async fn bad_urls_of_endpoints_are_refused() -> Result<()> {
    let (_server, api, _receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let long = format!("https://example.com/{}", "x".repeat(2_048));
    for url in [
        "",
        "example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.com/",
        "https://exa mple.com/",
        "javascript:alert(1)",
        long.as_str(),
    ] {
        let refused = api.create("bad", url, json!({}), json!([])).await?.expect(400)?;
        assert_refused(&refused, "endpoint.url", "").with_context(|| url.to_owned())?;
        assert!(!refused.to_string().contains("secret@"), "credentials are not repeated");
    }
    assert_eq!(configuration(&api).await?, before);
    Ok(())
}

#[tokio::test]
async fn bad_delivery_policies_are_refused() -> Result<()> {
    let (_server, api, receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let schedule = "endpoint.delivery.retrySchedule";
    for (policy, field, allowed) in [
        (json!({ "retrySchedule": ["0.05s"] }), schedule, "100 ms"),
        (json!({ "retrySchedule": ["86401s"] }), schedule, "24 h"),
        (json!({ "retrySchedule": vec!["1s"; 21] }), schedule, "20"),
        (json!({ "retrySchedule": vec!["86400s"; 7] }), schedule, "6 days"),
        (json!({ "retrySchedule": ["-1s"] }), schedule, ""),
        (json!({ "retrySchedule": ["1s"], "noRetries": true }), "endpoint.delivery.noRetries", ""),
        (json!({ "timeout": "0.05s" }), "endpoint.delivery.timeout", "100 ms"),
        (json!({ "timeout": "86400s" }), "endpoint.delivery.timeout", ""),
        (json!({ "rateLimit": -1 }), "endpoint.delivery.rateLimit", ""),
        (json!({ "maxConcurrency": 1_001 }), "endpoint.delivery.maxConcurrency", "1000"),
        (json!({ "disableAfter": 101 }), "endpoint.delivery.disableAfter", "100"),
    ] {
        let shown = policy.to_string();
        let refused =
            api.create("bad", &receiver.url("/"), policy, json!([])).await?.expect(400)?;
        if let Err(error) = assert_refused(&refused, field, allowed) {
            // Steps may be named one by one.
            let fields = wrong_fields(&refused);
            let step = fields.iter().all(|f| f.starts_with(&format!("{field}[")));
            ensure!(fields.len() == 1 && step, "{shown}: {error}");
        }
    }
    for (policy, value) in [
        (json!({ "retrySchedule": ["soon"] }), "soon"),
        (json!({ "timeout": 30 }), "30"),
        (json!({ "signature": "NOBODY" }), "NOBODY"),
        (json!({ "ordering": "by-key" }), "by-key"),
    ] {
        let refused =
            api.create("bad", &receiver.url("/"), policy, json!([])).await?.expect(400)?;
        let fields = wrong_fields(&refused);
        ensure!(
            fields.len() == 1 && fields[0].starts_with("endpoint.delivery."),
            "{value}: {refused}"
        );
    }
    assert_eq!(configuration(&api).await?, before);
    Ok(())
}

#[tokio::test]
async fn bad_patterns_channels_and_filters_are_refused() -> Result<()> {
    let (_server, api, _receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let path = format!("{TENANT}/endpoints/shop/subscriptions");
    for pattern in
        ["", "payment.", ".payment", "pay*", "*.completed", "payment.**", "a b", "a..b", "é"]
    {
        let body = json!({ "subscription": { "eventTypes": ["ok.fine", pattern] } });
        let refused = api.rest.post(&path, body).await?.expect(400)?;
        assert_refused(&refused, "subscription.eventTypes[1]", "")
            .with_context(|| pattern.to_owned())?;
    }
    for (subscription, field) in [
        (json!({}), "subscription.eventTypes"),
        (json!({ "eventTypes": vec!["a.b"; 101] }), "subscription.eventTypes"),
        (json!({ "eventTypes": ["*"], "channels": ["no blanks"] }), "subscription.channels[0]"),
        (json!({ "eventTypes": ["*"], "channels": vec!["c"; 11] }), "subscription.channels"),
        (json!({ "eventTypes": ["*"], "filter": "data.amount >" }), "subscription.filter"),
        (json!({ "eventTypes": ["*"], "filter": "amount > 3" }), "subscription.filter"),
        (json!({ "eventTypes": ["*"], "filter": "data.all(x, x > 1)" }), "subscription.filter"),
        (json!({ "eventTypes": ["*"], "filter": "data.matches('(a+)+')" }), "subscription.filter"),
        (json!({ "eventTypes": ["*"], "filter": "(".repeat(500) }), "subscription.filter"),
        (
            json!({ "eventTypes": ["*"], "filter": "data.a == 1 ".repeat(100) }),
            "subscription.filter",
        ),
    ] {
        let body = json!({ "subscription": subscription });
        let refused = api.rest.post(&path, body).await?.expect(400)?;
        assert_refused(&refused, field, "")?;
    }
    // A bad subscription in a create makes no endpoint either.
    let subscriptions = json!([{ "eventTypes": ["*"] }, { "eventTypes": ["pay*"] }]);
    let refused = api.create("bad", "http://127.0.0.1:9/", json!({}), subscriptions).await?;
    assert_refused(&refused.expect(400)?, "subscriptions[1].eventTypes[0]", "")?;
    assert_eq!(configuration(&api).await?, before);
    Ok(())
}

#[tokio::test]
async fn bad_ids_headers_and_secrets_are_refused() -> Result<()> {
    let (_server, api, receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let create = |body: Value| {
        let mut whole = json!({ "endpoint": { "url": receiver.url("/") } });
        for (name, value) in body.as_object().into_iter().flatten() {
            match name.as_str() {
                "headers" | "labels" => whole["endpoint"][name] = value.clone(),
                _ => whole[name] = value.clone(),
            }
        }
        whole
    };
    let path = format!("{TENANT}/endpoints");
    for (body, field) in [
        (json!({ "endpointId": "Shop" }), "endpointId"),
        (json!({ "endpointId": "-shop" }), "endpointId"),
        (json!({ "endpointId": "x".repeat(64) }), "endpointId"),
        (json!({ "secret": "whsec_tooshort" }), "secret"),
        (json!({ "secret": "no-prefix" }), "secret"),
        (json!({ "requestId": "not-a-uuid" }), "requestId"),
        (json!({ "headers": { "Host": "x" } }), "endpoint.headers"),
        (json!({ "headers": { "webhook-id": "x" } }), "endpoint.headers"),
        (json!({ "headers": { "X-Webhook-Signature": "x" } }), "endpoint.headers"),
        (json!({ "headers": { "traceparent": "x" } }), "endpoint.headers"),
        (json!({ "headers": { "X-Ok": "a\r\nX-Evil: b" } }), "endpoint.headers"),
        (json!({ "labels": { "Upper": "x" } }), "endpoint.labels"),
    ] {
        let shown = body.to_string();
        let refused = api.rest.post(&path, create(body)).await?.expect(400)?;
        let fields = wrong_fields(&refused);
        ensure!(
            fields.len() == 1 && fields[0].starts_with(field),
            "{shown}: {field}, not {fields:?}: {refused}"
        );
    }
    let taken = api.rest.post(&path, create(json!({ "endpointId": "shop" }))).await?.expect(409)?;
    assert_eq!(taken["error"]["status"], "ALREADY_EXISTS");
    assert_eq!(configuration(&api).await?, before);
    Ok(())
}

#[tokio::test]
async fn unknown_json_fields_and_malformed_bodies_are_refused() -> Result<()> {
    let (_server, api, _receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let publish = format!("{TENANT}/events:publish");
    let endpoints = format!("{TENANT}/endpoints");
    for (path, body, named) in [
        (
            &publish,
            r#"{"events":[{"type":"a.b","data":1,"idempotency":"k"}]}"#,
            "events[0].idempotency",
        ),
        (&publish, r#"{"events":[],"dryRun":true}"#, "dryRun"),
        (&publish, r#"{"events":{"type":"a.b"}}"#, "events"),
        (&publish, r#"{"events":[{"type":7,"data":1}]}"#, "events[0].type"),
        (&publish, r#"{"events":[]}"#, "events"),
        (&publish, r#"{"events":[{"type":"a.b"}]}"#, "events[0].data"),
        (&publish, "{\"events\":[", "body"),
        (&publish, "", "body"),
        (
            &endpoints,
            r#"{"endpoint":{"url":"http://127.0.0.1:9/","colour":"red"}}"#,
            "endpoint.colour",
        ),
        (&endpoints, r#"{"endpoint":{"url":["http://127.0.0.1:9/"]}}"#, "endpoint.url"),
        (
            &endpoints,
            r#"{"endpoint":{"url":"http://127.0.0.1:9/","delivery":{"maxConcurrency":"many"}}}"#,
            "endpoint.delivery.maxConcurrency",
        ),
        (&endpoints, "[]", "body"),
        (&endpoints, "not json", "body"),
    ] {
        let refused = api.rest.post_bytes(path, "application/json", body).await?.expect(400)?;
        ensure!(refused["error"]["status"] == "INVALID_ARGUMENT", "{body}: {refused}");
        let fields = wrong_fields(&refused);
        ensure!(fields == [named] || (named == "body" && fields.len() == 1), "{body}: {refused}");
    }
    let answer = api.rest.post_bytes(&endpoints, "text/plain", "{}").await?;
    ensure!([400, 415].contains(&answer.status.as_u16()), "{}", answer.text());
    assert_eq!(configuration(&api).await?, before);
    Ok(())
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() -> Result<()> {
    let (_server, api, _receiver) = with_shop().await?;
    let letter = "0".repeat(32);
    for path in [
        "endpoints/nobody",
        "endpoints/nobody/subscriptions",
        "endpoints/shop/subscriptions/none",
        "endpoints/nobody/deliveries",
        "endpoints/shop/deliveries/evt_none",
        "endpoints/shop/deliveries/evt_none/attempts",
        "endpoints/nobody/deadLetters",
        &format!("endpoints/shop/deadLetters/{letter}"),
        "events/evt_none",
    ] {
        let missing = api.rest.get(&format!("{TENANT}/{path}")).await?;
        ensure!(missing.status.as_u16() == 404, "{path}: {}", missing.text());
        assert_eq!(missing.json["error"]["status"], "NOT_FOUND", "{path}");
        ensure!(missing.text().contains("does not exist"), "{path}: {}", missing.text());
    }
    for verb in ["pause", "resume", "disable", "test", "rotateSecret"] {
        api.verb("nobody", verb, json!({})).await?.expect(404)?;
    }
    api.rest.delete(&format!("{TENANT}/endpoints/nobody")).await?.expect(404)?;
    let other = json!({ "events": [{ "type": "a.b", "data": 1 }] });
    api.rest.post("/v1/tenants/nobody/events:publish", other).await?.expect(404)?;
    // Names that cannot be.
    for path in ["endpoints/No-Body", "events/no%20blanks", "endpoints/shop/deadLetters/xyz"] {
        let refused = api.rest.get(&format!("{TENANT}/{path}")).await?.expect(400)?;
        assert_refused(&refused, "name", "")?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_page_tokens_and_sizes_are_refused() -> Result<()> {
    let (_server, api, receiver) = with_shop().await?;
    api.endpoint("second", &receiver.url("/"), json!({})).await?;
    for list in [
        "endpoints",
        "endpoints/shop/subscriptions",
        "endpoints/shop/deliveries",
        "endpoints/-/deadLetters",
        "events",
    ] {
        for token in ["junk", "AAAA", "%00", "eyJhIjoxfQ"] {
            let path = format!("{TENANT}/{list}?pageToken={token}");
            let refused = api.rest.get(&path).await?.expect(400)?;
            assert_refused(&refused, "pageToken", "").with_context(|| path)?;
        }
        let refused = api.rest.get(&format!("{TENANT}/{list}?pageSize=-1")).await?.expect(400)?;
        assert_refused(&refused, "pageSize", "1000")?;
        let refused = api.rest.get(&format!("{TENANT}/{list}?pageSize=ten")).await?.expect(400)?;
        assert_refused(&refused, "pageSize", "")?;
        let refused = api.rest.get(&format!("{TENANT}/{list}?page=1")).await?.expect(400)?;
        ensure!(refused.to_string().contains("page"), "{refused}");
    }
    // A token of one list is none of another's; a changed one is none at all.
    let page = api.rest.get(&format!("{TENANT}/endpoints?pageSize=1")).await?.ok()?;
    let token = text(&page, "nextPageToken");
    ensure!(!token.is_empty(), "there is a second page");
    let next = format!("{TENANT}/endpoints?pageSize=1&pageToken={token}");
    assert_eq!(api.rest.get(&next).await?.ok()?["endpoints"].as_array().map(Vec::len), Some(1));
    api.rest.get(&format!("{TENANT}/events?pageToken={token}")).await?.expect(400)?;
    api.rest.get(&format!("{TENANT}/endpoints?pageToken={token}A")).await?.expect(400)?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_etag_or_mask_changes_nothing() -> Result<()> {
    let (_server, api, _receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let path = format!("{TENANT}/endpoints/shop");
    let etag = text(&api.get_endpoint("shop").await?, "etag").to_owned();
    let change = json!({ "displayName": "Shop", "etag": "\"other\"" });
    let refused = api.rest.patch(&path, change).await?;
    ensure!([400, 409].contains(&refused.status.as_u16()), "{}", refused.text());
    for (mask, named) in [
        ("colour", "colour"),
        ("state", "state"),
        ("delivery.speed", "delivery.speed"),
        ("secrets", "secrets"),
    ] {
        let path = format!("{path}?updateMask={mask}");
        let refused = api.rest.patch(&path, json!({ "displayName": "Shop" })).await?.expect(400)?;
        ensure!(refused.to_string().contains(named), "{mask}: {refused}");
        ensure!(!wrong_fields(&refused).is_empty(), "{mask}: {refused}");
    }
    assert_eq!(configuration(&api).await?, before);
    let change = json!({ "displayName": "Shop", "etag": etag });
    let changed =
        api.rest.patch(&format!("{path}?updateMask=displayName"), change.clone()).await?.ok()?;
    assert_eq!(changed["endpoint"]["displayName"], "Shop");
    let stale = api.rest.patch(&path, change).await?.expect(409)?;
    assert_eq!(stale["error"]["status"], "ABORTED");
    api.rest.delete(&format!("{path}?etag={etag}")).await?.expect(409)?;
    Ok(())
}

#[tokio::test]
async fn unknown_paths_and_methods_say_what_there_is() -> Result<()> {
    let (_server, api, _receiver) = with_shop().await?;
    for path in [
        "/v1/nothing",
        "/v2/tenants/default/endpoints",
        "/nothing",
        "/v1/tenants/default/endpoints/a/b/c",
    ] {
        let missing = api.rest.get(path).await?.expect(404)?;
        ensure!(text(&missing["error"], "message").contains(path), "{missing}");
    }
    let refused = api.rest.delete(&format!("{TENANT}/events")).await?;
    assert_eq!(refused.status.as_u16(), 405, "{}", refused.text());
    assert_eq!(refused.headers["allow"], "GET");
    let openapi = api.rest.get("/openapi.json").await?.ok()?;
    for path in ["/v1/tenants/{tenant}/events:publish", "/v1/tenants/{tenant}/endpoints"] {
        ensure!(!openapi["paths"][path]["post"].is_null(), "{path} is not described");
    }
    api.rest.get("/healthz").await?.ok()?;
    api.rest.get("/readyz").await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn a_request_id_is_for_one_request() -> Result<()> {
    let (_server, api, receiver) = with_shop().await?;
    let path = format!("{TENANT}/endpoints");
    let body = |url: &str| json!({ "endpoint": { "url": url }, "requestId": "0d9a1b6f-7f3c-4e6c-9a3e-6b3bd9a57c2e" });
    let first = api.rest.post(&path, body(&receiver.url("/a"))).await?.ok()?;
    let again = api.rest.post(&path, body(&receiver.url("/a"))).await?.ok()?;
    assert_eq!(again["endpoint"]["name"], first["endpoint"]["name"]);
    assert_eq!(again["secret"]["key"], first["secret"]["key"]);
    let other = api.rest.post(&path, body(&receiver.url("/b"))).await?.expect(400)?;
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    let listed = api.rest.get(&path).await?.ok()?;
    assert_eq!(listed["endpoints"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[tokio::test]
async fn a_call_that_only_checks_changes_nothing() -> Result<()> {
    let (_server, api, receiver) = with_shop().await?;
    let before = configuration(&api).await?;
    let body = json!({
        "endpointId": "checked", "endpoint": { "url": receiver.url("/") }, "validateOnly": true,
    });
    let answer = api.rest.post(&format!("{TENANT}/endpoints"), body).await?.ok()?;
    assert_eq!(answer["secret"]["key"].as_str().unwrap_or_default(), "");
    let path = format!("{TENANT}/endpoints/shop?validateOnly=true");
    api.rest.patch(&path, json!({ "displayName": "x" })).await?.ok()?;
    assert_eq!(configuration(&api).await?, before);
    Ok(())
}
