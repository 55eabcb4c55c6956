//! Filters of subscriptions: which events an endpoint gets by their content.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use postrider_e2e::Receiver;
use serde_json::{Value, json};

use crate::support::{Api, TENANT, start, text};

/// The endpoints that an event is for.
async fn endpoints_of(api: &Api, event: &str) -> Result<BTreeSet<String>> {
    let path = format!("{TENANT}/endpoints/-/deliveries?event={event}");
    let listed = api.rest.get(&path).await?.ok()?;
    let deliveries = listed["deliveries"].as_array().cloned().unwrap_or_default();
    Ok(deliveries.iter().map(|delivery| crate::support::last_part(&delivery["endpoint"])).collect())
}

async fn with_filter(api: &Api, id: &str, url: &str, filter: &str) -> Result<()> {
    let subscriptions = json!([{ "eventTypes": ["*"], "filter": filter }]);
    api.create(id, url, json!({}), subscriptions).await?.ok().map(drop).context(id.to_owned())
}

async fn publish(api: &Api, data: Value) -> Result<String> {
    let event = json!({ "type": "payment.completed", "channels": ["eu"], "data": data });
    Ok(text(&api.publish_event(event).await?, "id").to_owned())
}

#[tokio::test]
async fn an_endpoint_gets_the_events_whose_content_it_asked_for() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    for (id, filter) in [
        ("all", ""),
        ("large", "data.amount >= 100"),
        ("euro", r#"data.currency == "EUR" && "eu" in event.channels"#),
        ("vip", "has(data.customer.tier) && data.customer.tier in ['gold', 'platinum']"),
        ("never", "event.type == 'order.made'"),
    ] {
        with_filter(&api, id, &receiver.url(&format!("/{id}")), filter).await?;
    }
    let cases = [
        (json!({ "amount": 250, "currency": "EUR" }), vec!["all", "large", "euro"]),
        (json!({ "amount": 99.5, "currency": "CHF" }), vec!["all"]),
        (json!({ "amount": 100.0, "customer": { "tier": "gold" } }), vec!["all", "large", "vip"]),
        (json!({ "amount": "250", "customer": { "tier": 7 } }), vec!["all"]),
        (json!([1, 2, 3]), vec!["all"]),
        (json!(null), vec!["all"]),
    ];
    let mut sum = 0;
    for (data, wanted) in cases {
        let event = publish(&api, data.clone()).await?;
        for id in &wanted {
            api.delivery_in(id, &event, "SUCCEEDED").await.with_context(|| data.to_string())?;
        }
        let wanted: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
        assert_eq!(endpoints_of(&api, &event).await?, wanted, "{data}");
        sum += wanted.len();
    }
    assert_eq!(receiver.count(), sum, "nothing else was sent");
    Ok(())
}

#[tokio::test]
async fn a_changed_filter_holds_for_what_is_published_after_it() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    api.endpoint("all", &receiver.url("/all"), json!({})).await?;
    with_filter(&api, "shop", &receiver.url("/shop"), "data.n < 10").await?;
    let list = format!("{TENANT}/endpoints/shop/subscriptions");
    let listed = api.rest.get(&list).await?.ok()?;
    let subscription = &listed["subscriptions"][0];
    assert_eq!(subscription["filter"], "data.n < 10");
    let path = format!("/v1/{}", text(subscription, "name"));
    for (filter, n, wanted) in
        [("data.n >= 10", 5, false), ("data.n >= 10", 10, true), ("", 5, true), ("false", 1, false)]
    {
        let body = json!({ "filter": filter });
        api.rest.patch(&format!("{path}?updateMask=filter"), body).await?.ok()?;
        let event = publish(&api, json!({ "n": n })).await?;
        api.delivery_in("all", &event, "SUCCEEDED").await?;
        if wanted {
            api.delivery_in("shop", &event, "SUCCEEDED").await?;
        }
        assert_eq!(endpoints_of(&api, &event).await?.contains("shop"), wanted, "{filter} {n}");
    }
    let wrong = json!({ "filter": "n >" });
    api.rest.patch(&format!("{path}?updateMask=filter"), wrong).await?.expect(400)?;
    let kept = api.rest.get(&path).await?.ok()?;
    assert_eq!(kept["subscription"]["filter"], "false", "a refused change changes nothing");
    Ok(())
}

#[tokio::test]
async fn catching_up_and_resending_ask_the_filter_too() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    with_filter(&api, "shop", &receiver.url("/"), "data.n % 2 == 0").await?;
    api.verb("shop", "disable", json!({})).await?.ok()?;
    let mut events = Vec::new();
    for n in 0..10 {
        events.push(publish(&api, json!({ "n": n })).await?);
    }
    api.verb("shop", "resume", json!({})).await?.ok()?;
    for event in events.iter().step_by(2) {
        receiver.wait_for_event(event, 1).await?;
    }
    let odd = &events[1];
    let resent = api.rest.post(&format!("{TENANT}/events/{odd}:resend"), json!({})).await?.ok()?;
    ensure!(resent["deliveries"].as_array().is_none_or(Vec::is_empty), "{resent}");
    let last = publish(&api, json!({ "n": 100 })).await?;
    receiver.wait_for_event(&last, 1).await?;
    assert_eq!(receiver.count(), 6);
    Ok(())
}

#[tokio::test]
async fn filters_are_set_shown_and_removed_over_the_command_line() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let cli = server.cli()?;
    let url = receiver.url("/");
    let filter = "data.amount > 10";
    let create = ["endpoint", "create", &url, "--id", "shop", "--event", "*", "--filter", filter];
    cli.run(&create).await?.ok()?;
    let shown = cli.run(&["subscription", "list", "shop"]).await?.ok()?;
    ensure!(shown.contains(filter), "{shown}");
    let listed = cli.run(&["subscription", "list", "shop", "-o", "json"]).await?.json()?;
    let id = crate::support::last_part(&listed["subscriptions"][0]["name"]);
    let wrong = cli.run(&["subscription", "update", "shop", &id, "--filter", "amount > 1"]).await?;
    assert_eq!(wrong.code, 1);
    ensure!(wrong.stderr.contains("\"amount\" stands for nothing"), "{}", wrong.stderr);
    cli.run(&["subscription", "update", "shop", &id, "--filter", ""]).await?.ok()?;
    let event = publish(&api, json!({ "amount": 1 })).await?;
    receiver.wait_for_event(&event, 1).await?;
    Ok(())
}
