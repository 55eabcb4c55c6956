//! What an answer leads to: the table of spec §6, row by row, and the retry schedule.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Options, Receiver, Reply};
use serde_json::{Value, json};

use crate::support::{Api, TENANT, answering, quick, reason, start, start_with, text};

/// Publishes one event to the endpoint `shop` at this receiver with one retry, and returns its id.
async fn publish_to(api: &Api, receiver: &Receiver) -> Result<String> {
    api.endpoint("shop", &receiver.url("/"), quick(1)).await?;
    api.publish("payment.completed").await
}

/// An endpoint each, so that the rows do not count for one another.
async fn publish_for_each(
    api: &Api,
    receiver: &Receiver,
    statuses: &[u16],
    retries: usize,
) -> Result<Vec<(String, String, u16)>> {
    let mut rows = Vec::new();
    for status in statuses {
        let (id, path) = (format!("s{status}"), format!("/s{status}"));
        receiver.reply_to(&path, [Reply::status(*status).body(format!("said {status}"))]);
        let pattern = format!("status.s{status}");
        api.subscribe(&id, &receiver.url(&path), quick(retries), &[&pattern]).await?;
        let event = api.publish(&pattern).await?;
        rows.push((id, event, *status));
    }
    Ok(rows)
}

#[tokio::test]
async fn every_2xx_is_delivered() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    for (id, event, status) in
        publish_for_each(&api, &receiver, &[200, 201, 202, 204, 299], 1).await?
    {
        let delivery = api.delivery_in(&id, &event, "SUCCEEDED").await?;
        assert_eq!(
            (&delivery["attemptCount"], &delivery["lastStatusCode"]),
            (&json!(1), &json!(status))
        );
        let attempts = api.attempts(&id, &event).await?;
        assert_eq!(attempts.len(), 1);
        assert_eq!(text(&attempts[0], "outcome"), "SUCCEEDED");
        assert_eq!(text(&attempts[0], "errorClass"), "");
        assert_eq!(receiver.requests_to(&format!("/{id}")).len(), 1);
        assert!(api.dead_letters(&id).await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn redirects_and_server_errors_and_timeouts_of_the_receiver_are_retried() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let statuses = [300, 301, 302, 304, 307, 308, 408, 425, 429, 500, 501, 502, 503, 504, 599];
    for (id, event, status) in publish_for_each(&api, &receiver, &statuses, 1).await? {
        let letter = api.dead_letter(&id, &event).await?;
        assert_eq!(text(&letter, "reason"), "RETRIES_EXHAUSTED", "{status}");
        assert_eq!(letter["attemptCount"], 2, "{status}");
        assert!(text(&letter, "message").contains(&status.to_string()), "{letter}");
        let attempts = api.attempts(&id, &event).await?;
        assert!(attempts.iter().all(|a| a["statusCode"] == status && a["errorClass"] == "HTTP"));
        assert_eq!(text(&api.get_endpoint(&id).await?, "state"), "ACTIVE");
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_not_followed() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let elsewhere = receiver.url("/elsewhere");
    receiver.reply([Reply::status(302).header("location", &elsewhere)]);
    let id = publish_to(&api, &receiver).await?;
    api.dead_letter("shop", &id).await?;
    assert_eq!(receiver.requests().len(), 2);
    assert!(receiver.requests_to("/elsewhere").is_empty());
    Ok(())
}

#[tokio::test]
async fn a_rejection_is_not_retried() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let statuses = [400, 402, 405, 406, 409, 411, 413, 415, 418, 422, 451];
    for (id, event, status) in publish_for_each(&api, &receiver, &statuses, 5).await? {
        let letter = api.dead_letter(&id, &event).await?;
        assert_eq!((text(&letter, "reason"), &letter["attemptCount"]), ("REJECTED", &json!(1)));
        let delivery = api.delivery_in(&id, &event, "DEAD_LETTERED").await?;
        assert_eq!(text(&delivery, "reason"), "REJECTED");
        assert_eq!(delivery["deadLetter"], letter["name"]);
        assert_eq!(text(&delivery, "nextAttemptTime"), "");
        let attempts = api.attempts(&id, &event).await?;
        assert_eq!(text(&attempts[0], "responseExcerpt"), format!("said {status}"));
        // It says nothing about the endpoint.
        let endpoint = api.get_endpoint(&id).await?;
        assert_eq!(text(&endpoint, "state"), "ACTIVE");
        assert_eq!(endpoint["health"]["consecutiveFailures"].as_i64().unwrap_or(0), 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_disables_the_endpoint_and_keeps_the_delivery() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    for (id, event, status) in publish_for_each(&api, &receiver, &[401, 403, 404, 410], 5).await? {
        let letter = api.dead_letter(&id, &event).await?;
        assert_eq!(text(&letter, "reason"), "ENDPOINT_DISABLED", "{status}");
        let endpoint = api.endpoint_when(&id, "disabled", |e| e["state"] == "DISABLED").await?;
        assert_eq!(text(&endpoint, "stateReason"), "HTTP_RESPONSE");
        assert!(text(&endpoint, "stateMessage").contains(&status.to_string()), "{endpoint}");
        assert_ne!(text(&endpoint, "stateTime"), "");

        // Nothing goes out until it is resumed, and a redrive has to wait for that.
        let refused = api.redrive(&letter).await?.expect(400)?;
        assert_eq!(refused["error"]["status"], "FAILED_PRECONDITION");
        let path = format!("/{id}");
        assert_eq!(receiver.requests_to(&path).len(), 1);
        receiver.reply_to(&path, [Reply::status(200)]);
        api.verb(&id, "resume", json!({})).await?.ok()?;
        api.redrive(&letter).await?.ok()?;
        api.delivery_in(&id, &event, "SUCCEEDED").await?;
        assert_eq!(text(&api.get_endpoint(&id).await?, "state"), "ACTIVE");
    }
    Ok(())
}

#[tokio::test]
async fn disable_after_counts_refusals_in_a_row() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let gone = || Reply::status(410);
    receiver.reply([gone(), gone(), Reply::status(200), gone(), gone(), gone()]);
    let mut policy = quick(20);
    policy["disableAfter"] = json!(3);
    api.endpoint("shop", &receiver.url("/"), policy).await?;
    let first = api.publish("payment.completed").await?;
    api.delivery_in("shop", &first, "SUCCEEDED").await?;
    assert_eq!(text(&api.get_endpoint("shop").await?, "state"), "ACTIVE");
    let second = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &second).await?;
    assert_eq!(
        (text(&letter, "reason"), &letter["attemptCount"]),
        ("ENDPOINT_DISABLED", &json!(3))
    );
    assert_eq!(receiver.requests().len(), 6);
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_is_retried() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let (address, _) = receiver.stop().await;
    let url = format!("http://{address}/");
    api.endpoint("shop", &url, json!({ "retrySchedule": vec!["0.3s"; 8] })).await?;
    let id = api.publish("payment.completed").await?;
    api.delivery_when("shop", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    let attempt = api.attempts("shop", &id).await?.pop().context("an attempt")?;
    assert_eq!(text(&attempt, "errorClass"), "CONNECT");
    assert_eq!(attempt["statusCode"].as_i64().unwrap_or(0), 0);
    assert_ne!(text(&attempt, "errorMessage"), "");
    let again = Receiver::start_on(address).await?;
    api.delivery_in("shop", &id, "SUCCEEDED").await?;
    assert_eq!(again.requests().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_broken_connection_is_retried() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::drop_connection(), Reply::status(200)]);
    let id = publish_to(&api, &receiver).await?;
    api.delivery_in("shop", &id, "SUCCEEDED").await?;
    let attempts = api.attempts("shop", &id).await?;
    assert_eq!(attempts.len(), 2);
    assert_eq!(text(&attempts[1], "errorClass"), "CONNECT");
    Ok(())
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_retried() -> Result<()> {
    let (_server, api) = start().await?;
    api.endpoint("shop", "https://no-such-host.invalid/", quick(1)).await?;
    let id = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &id).await?;
    assert_eq!(text(&letter, "reason"), "RETRIES_EXHAUSTED");
    let attempts = api.attempts("shop", &id).await?;
    assert!(attempts.iter().all(|a| a["errorClass"] == "DNS"), "{attempts:?}");
    Ok(())
}

#[tokio::test]
async fn a_failed_handshake_is_retried() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(200).await?;
    // The receiver does not speak TLS.
    let url = format!("https://{}/", receiver.address());
    api.endpoint("shop", &url, quick(1)).await?;
    let id = api.publish("payment.completed").await?;
    assert_eq!(text(&api.dead_letter("shop", &id).await?, "reason"), "RETRIES_EXHAUSTED");
    let attempts = api.attempts("shop", &id).await?;
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|a| a["errorClass"] == "TLS"), "{attempts:?}");
    Ok(())
}

#[tokio::test]
async fn the_timeout_is_the_whole_time_of_an_attempt() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    let late = Reply::status(200).after(Duration::from_secs(5));
    // Silence, an answer that comes too late, and a success whose body never ends: its status decides.
    receiver.reply([Reply::hang(), late, Reply::hang_in_body()]);
    let policy = json!({ "timeout": "0.3s", "retrySchedule": ["0.1s", "0.1s", "0.1s"] });
    api.endpoint("shop", &receiver.url("/"), policy).await?;
    let id = api.publish("payment.completed").await?;
    api.delivery_in("shop", &id, "SUCCEEDED").await?;
    let attempts = api.attempts("shop", &id).await?;
    let classes: Vec<_> = attempts.iter().map(|a| text(a, "errorClass")).collect();
    assert_eq!(classes, ["", "TIMEOUT", "TIMEOUT"], "newest first");
    for attempt in &attempts {
        let seconds: f64 = text(attempt, "duration").trim_end_matches('s').parse()?;
        ensure!((0.3..5.0).contains(&seconds), "it took {seconds} s");
    }
    Ok(())
}

#[tokio::test]
async fn the_schedule_is_followed_and_ends_in_the_dead_letter_queue() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500).body("out of order")]);
    let policy = json!({ "retrySchedule": ["0.1s", "0.4s", "0.2s"] });
    api.endpoint("shop", &receiver.url("/"), policy).await?;
    let id = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &id).await?;
    let requests = receiver.requests();
    let seen: Vec<_> = requests.iter().map(|r| (r.attempt(), r.trigger())).collect();
    assert_eq!(seen, [(1, "event"), (2, "retry"), (3, "retry"), (4, "retry")]);
    // No attempt is earlier than its due time: the step less its jitter of a tenth (DL-3).
    for (pair, step) in requests.windows(2).zip([100, 400, 200]) {
        let waited = pair[1].at.duration_since(pair[0].at);
        let least = Duration::from_millis(step * 9 / 10 - 5);
        ensure!(waited >= least, "waited {waited:?} of {step} ms");
    }
    let attempts = api.attempts("shop", &id).await?;
    let numbers: Vec<_> = attempts.iter().map(|a| a["number"].as_i64()).collect();
    assert_eq!(numbers, [Some(4), Some(3), Some(2), Some(1)]);
    let triggers: Vec<_> = attempts.iter().map(|a| text(a, "trigger")).collect();
    assert_eq!(triggers, ["RETRY", "RETRY", "RETRY", "EVENT"]);
    assert_eq!(text(&attempts[0], "nextAttemptTime"), "", "none follows the last");
    assert_ne!(text(&attempts[1], "nextAttemptTime"), "");
    assert_eq!(text(&attempts[0], "responseExcerpt"), "out of order");

    assert_eq!(
        (text(&letter, "reason"), &letter["attemptCount"]),
        ("RETRIES_EXHAUSTED", &json!(4))
    );
    assert_eq!(text(&letter, "endpointUrl"), receiver.url("/"));
    let path = format!("/v1/{}", text(&letter, "name"));
    let whole = api.rest.get(&path).await?.ok()?;
    assert_eq!(whole["deadLetter"]["event"]["data"], json!({ "amount": 1 }), "the payload is kept");
    let delivery = api.delivery_in("shop", &id, "DEAD_LETTERED").await?;
    assert_eq!(delivery["attemptCount"], 4);
    Ok(())
}

#[tokio::test]
async fn without_retries_the_first_failure_is_the_last() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = answering(500).await?;
    api.endpoint("shop", &receiver.url("/"), quick(0)).await?;
    let id = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &id).await?;
    assert_eq!(
        (text(&letter, "reason"), &letter["attemptCount"]),
        ("RETRIES_EXHAUSTED", &json!(1))
    );
    Ok(())
}

#[tokio::test]
async fn the_default_schedule_is_that_of_the_specification() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500)]);
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let delivery = api.get_endpoint("shop").await?["delivery"].clone();
    let steps = ["10s", "60s", "300s", "1800s", "3600s", "21600s", "86400s"];
    assert_eq!((&delivery["retrySchedule"], &delivery["timeout"]), (&json!(steps), &json!("30s")));
    let id = api.publish("payment.completed").await?;
    let waiting =
        api.delivery_when("shop", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    assert_eq!(text(&waiting, "state"), "PENDING");
    assert_ne!(text(&waiting, "nextAttemptTime"), "");
    Ok(())
}

/// Delivers with a first answer that asks to wait; returns how long the second attempt waited.
async fn waited_after(first: impl FnOnce() -> Result<Reply>) -> Result<Duration> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    // Made last: a date in it must not pass while the server starts.
    receiver.reply([first()?, Reply::status(200)]);
    let id = publish_to(&api, &receiver).await?;
    let requests = receiver.wait_for_event(&id, 2).await?;
    Ok(requests[1].at.duration_since(requests[0].at))
}

#[tokio::test]
async fn retry_after_in_seconds_is_honoured_on_429_and_503() -> Result<()> {
    for status in [429, 503] {
        let waited = waited_after(|| Ok(Reply::status(status).header("retry-after", "1"))).await?;
        ensure!(waited >= Duration::from_millis(990), "{status}: waited {waited:?}");
    }
    Ok(())
}

#[tokio::test]
async fn retry_after_as_a_date_is_honoured() -> Result<()> {
    let dated = || {
        // Dates have whole seconds: three from now is more than two away.
        let date = http_date(SystemTime::now() + Duration::from_secs(3))?;
        Ok(Reply::status(503).header("retry-after", &date))
    };
    let waited = waited_after(dated).await?;
    ensure!(waited >= Duration::from_millis(500), "waited {waited:?} for a date 3 s ahead");
    Ok(())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(time: SystemTime) -> Result<String> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days % 7)?];
    // Civil date of a day number, with years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let months =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let year = era * 400 + year_of_era + u64::from(march_month >= 10);
    let month = months[usize::try_from(march_month)?];
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    Ok(format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT"))
}

#[test]
fn dates_have_the_form_of_http() -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(http_date(time)?, "Sun, 06 Nov 1994 08:49:37 GMT");
    Ok(())
}

#[tokio::test]
async fn retry_after_that_is_junk_or_on_another_answer_is_ignored() -> Result<()> {
    let (_server, api) = start().await?;
    for (n, (status, value)) in
        [(503, "soon"), (429, "-5"), (503, ""), (500, "86400"), (302, "86400")].iter().enumerate()
    {
        let receiver = Receiver::start().await?;
        receiver.reply([Reply::status(*status).header("retry-after", value), Reply::status(200)]);
        let (id, kind) = (format!("shop-{n}"), format!("junk.n{n}"));
        api.subscribe(&id, &receiver.url("/"), quick(1), &[&kind]).await?;
        let event = api.publish(&kind).await?;
        // A day would not pass within the deadline of the scenario.
        api.delivery_in(&id, &event, "SUCCEEDED").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_busy_endpoint_is_not_a_failing_one() -> Result<()> {
    let (_server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(429)]);
    api.endpoint("shop", &receiver.url("/"), quick(12)).await?;
    let id = api.publish("payment.completed").await?;
    let letter = api.dead_letter("shop", &id).await?;
    assert_eq!(
        (text(&letter, "reason"), &letter["attemptCount"]),
        ("RETRIES_EXHAUSTED", &json!(13))
    );
    let endpoint = api.get_endpoint("shop").await?;
    assert_eq!(text(&endpoint, "state"), "ACTIVE");
    assert_eq!(text(&endpoint["health"], "breaker"), "CLOSED");
    Ok(())
}

/// `serve` on loopback: destinations on this machine are refused unless the operator allows them.
#[tokio::test]
async fn in_production_a_destination_on_this_machine_is_refused() -> Result<()> {
    let token = "e2e-token-of-at-least-32-characters-0001";
    let options =
        Options::default().subcommand("serve").env("POSTRIDER_AUTH__TOKEN", token.to_owned());
    let (server, mut api) = start_with(options).await?;
    let receiver = answering(200).await?;
    let url = format!("https://{}/", receiver.address());
    let call = json!({ "endpoint": { "url": url } });
    let path = format!("{TENANT}/endpoints");
    assert_eq!(api.rest.post(&path, call.clone()).await?.status.as_u16(), 401);
    api.rest = server.rest().with_api_key(token);
    for url in [url.as_str(), "https://169.254.169.254/", "https://[::1]/", "http://example.com/"] {
        let refused = api.create("shop", url, json!({}), json!([])).await?.expect(400)?;
        assert_eq!(crate::support::wrong_fields(&refused), ["endpoint.url"], "{url}");
    }
    // A name is only known when it resolves: the delivery goes to the dead letters, and nobody connects.
    let local = format!("https://localhost.localdomain:{}/", receiver.address().port());
    let made = api.create("local", &local, quick(3), json!([{ "eventTypes": ["*"] }])).await?;
    ensure!(made.status.as_u16() == 400 || made.status.is_success(), "{}", made.text());
    assert!(receiver.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn what_the_policy_forbids_later_becomes_a_dead_letter() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(500)]);
    let policy = json!({ "retrySchedule": vec!["2s"; 10] });
    api.endpoint("shop", &receiver.url("/"), policy).await?;
    let id = api.publish("payment.completed").await?;
    api.delivery_when("shop", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    // The same data, under the policy of production.
    let token = "e2e-token-of-at-least-32-characters-0001";
    let options =
        Options::default().subcommand("serve").env("POSTRIDER_AUTH__TOKEN", token.to_owned());
    let server = server.terminate().await?.start_with(options).await?;
    let api = Api { rest: server.rest().with_api_key(token) };
    let letter = api.dead_letter("shop", &id).await?;
    assert_eq!(text(&letter, "reason"), "BLOCKED_DESTINATION");
    let attempts = api.attempts("shop", &id).await?;
    assert_eq!(text(&attempts[0], "errorClass"), "BLOCKED");
    let shown = Value::from(attempts).to_string();
    assert!(!text(&letter, "message").contains("127.0.0.1"), "{letter}");
    assert!(!shown.contains("\"errorMessage\":\"127"), "{shown}");
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(reason(&letter), "");
    Ok(())
}
