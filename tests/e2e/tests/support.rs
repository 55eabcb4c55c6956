//! What scenarios share: short words for what they ask of the API.

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Answer, Options, Receiver, Reply, Rest, Server, until};
use serde_json::{Value, json};

/// The tenant of one-company installs, in REST paths.
pub(crate) const TENANT: &str = "/v1/tenants/default";

/// The REST API in the words of the scenarios. Endpoints and events are named by id.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) rest: Rest,
}

/// Starts `postrider dev`.
pub(crate) async fn start() -> Result<(Server, Api)> {
    start_with(Options::default()).await
}

/// Starts a server in another way.
pub(crate) async fn start_with(options: Options) -> Result<(Server, Api)> {
    let server = options.start().await?;
    let api = Api::of(&server);
    Ok((server, api))
}

/// A receiver that answers every request with one status.
pub(crate) async fn answering(status: u16) -> Result<Receiver> {
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(status)]);
    Ok(receiver)
}

/// A delivery policy with `retries` retries 100 ms apart, the shortest there may be.
pub(crate) fn quick(retries: usize) -> Value {
    if retries == 0 {
        return json!({ "noRetries": true });
    }
    json!({ "retrySchedule": vec!["0.1s"; retries] })
}

/// The text of a field; empty when it is not there.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

/// The last part of a resource's name.
pub(crate) fn last_part(name: &Value) -> String {
    let name = name.as_str().unwrap_or_default();
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The paths of the fields that an error complains about.
pub(crate) fn wrong_fields(error: &Value) -> Vec<String> {
    let details = error["error"]["details"].as_array().cloned().unwrap_or_default();
    let violations = details.iter().filter_map(|detail| detail["fieldViolations"].as_array());
    violations.flatten().map(|violation| text(violation, "field").to_owned()).collect()
}

/// The reason of an error, for programs.
pub(crate) fn reason(error: &Value) -> String {
    let details = error["error"]["details"].as_array().cloned().unwrap_or_default();
    let reason = details.iter().map(|detail| text(detail, "reason")).find(|r| !r.is_empty());
    reason.unwrap_or_default().to_owned()
}

impl Api {
    pub(crate) fn of(server: &Server) -> Self {
        Self { rest: server.rest() }
    }

    /// Makes an endpoint that subscribes to `patterns`, and returns its secret.
    pub(crate) async fn subscribe(
        &self,
        id: &str,
        url: &str,
        delivery: Value,
        patterns: &[&str],
    ) -> Result<String> {
        let made =
            self.create(id, url, delivery, json!([{ "eventTypes": patterns }])).await?.ok()?;
        let key = made["secret"]["key"].as_str();
        Ok(key.context("the secret of a new endpoint")?.to_owned())
    }

    /// Makes an endpoint that gets everything.
    pub(crate) async fn endpoint(&self, id: &str, url: &str, delivery: Value) -> Result<String> {
        self.subscribe(id, url, delivery, &["*"]).await
    }

    pub(crate) async fn create(
        &self,
        id: &str,
        url: &str,
        delivery: Value,
        subscriptions: Value,
    ) -> Result<Answer> {
        let body = json!({
            "endpointId": id,
            "endpoint": { "url": url, "delivery": delivery },
            "subscriptions": subscriptions,
        });
        self.rest.post(&format!("{TENANT}/endpoints"), body).await
    }

    /// Publishes events and returns the answer, whatever it is.
    pub(crate) async fn publish_all(&self, events: Value) -> Result<Answer> {
        self.rest.post(&format!("{TENANT}/events:publish"), json!({ "events": events })).await
    }

    /// Publishes one event and returns its result.
    pub(crate) async fn publish_event(&self, event: Value) -> Result<Value> {
        let answer = self.publish_all(json!([event])).await?.ok()?;
        Ok(answer["results"][0].clone())
    }

    /// Publishes an event of a type, and returns its id.
    pub(crate) async fn publish(&self, event_type: &str) -> Result<String> {
        let event = json!({ "type": event_type, "data": { "amount": 1 } });
        Ok(text(&self.publish_event(event).await?, "id").to_owned())
    }

    /// Publishes `n` events of one ordering key one after the other, and returns their ids: one worker serves them all, and so counts all their failures.
    pub(crate) async fn publish_in_order(&self, event_type: &str, n: usize) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for _ in 0..n {
            let event = json!({ "type": event_type, "data": {}, "orderingKey": "one" });
            ids.push(text(&self.publish_event(event).await?, "id").to_owned());
        }
        Ok(ids)
    }

    /// Publishes `n` events one after the other, and returns their ids.
    pub(crate) async fn publish_many(&self, event_type: &str, n: usize) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for _ in 0..n {
            ids.push(self.publish(event_type).await?);
        }
        Ok(ids)
    }

    pub(crate) async fn get_endpoint(&self, id: &str) -> Result<Value> {
        let answer = self.rest.get(&format!("{TENANT}/endpoints/{id}")).await?.ok()?;
        Ok(answer["endpoint"].clone())
    }

    /// Waits until an endpoint looks as wanted, and returns it.
    pub(crate) async fn endpoint_when(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(format!("endpoint {id}: {what}"), async || {
            let endpoint = self.get_endpoint(id).await?;
            Ok(wanted(&endpoint).then_some(endpoint))
        })
        .await
    }

    /// Calls a verb of an endpoint, such as `pause`.
    pub(crate) async fn verb(&self, id: &str, verb: &str, body: Value) -> Result<Answer> {
        self.rest.post(&format!("{TENANT}/endpoints/{id}:{verb}"), body).await
    }

    /// Reads a delivery; none while it is not known.
    pub(crate) async fn delivery(&self, endpoint: &str, event: &str) -> Result<Option<Value>> {
        let path = format!("{TENANT}/endpoints/{endpoint}/deliveries/{event}");
        let answer = self.rest.get(&path).await?;
        if answer.status.as_u16() == 404 {
            return Ok(None);
        }
        Ok(Some(answer.ok()?["delivery"].clone()))
    }

    /// Waits until a delivery is in a state, and returns it.
    pub(crate) async fn delivery_in(
        &self,
        endpoint: &str,
        event: &str,
        state: &str,
    ) -> Result<Value> {
        self.delivery_when(endpoint, event, state, |delivery| text(delivery, "state") == state)
            .await
    }

    /// Waits until a delivery looks as wanted, and returns it.
    pub(crate) async fn delivery_when(
        &self,
        endpoint: &str,
        event: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = until(format!("delivery of {event} to {endpoint}: {what}"), async || {
            let delivery = self.delivery(endpoint, event).await?;
            Ok(delivery.filter(|delivery| wanted(delivery)))
        });
        match found.await {
            Ok(delivery) => Ok(delivery),
            Err(error) => {
                let is = self.delivery(endpoint, event).await?.unwrap_or_default();
                let attempts = self.attempts(endpoint, event).await?;
                let attempts = serde_json::to_string(&attempts)?;
                Err(error.context(format!("it is {is}, its attempts {attempts}")))
            }
        }
    }

    /// Lists the attempts of a delivery, newest first.
    pub(crate) async fn attempts(&self, endpoint: &str, event: &str) -> Result<Vec<Value>> {
        let path = format!("{TENANT}/endpoints/{endpoint}/deliveries/{event}/attempts");
        let answer = self.rest.get(&path).await?.ok()?;
        Ok(answer["attempts"].as_array().cloned().unwrap_or_default())
    }

    /// Lists the dead letters of an endpoint, newest first.
    pub(crate) async fn dead_letters(&self, endpoint: &str) -> Result<Vec<Value>> {
        let path = format!("{TENANT}/endpoints/{endpoint}/deadLetters?pageSize=1000");
        let (mut letters, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.rest.get(&format!("{path}&pageToken={token}")).await?.ok()?;
            letters.extend(page["deadLetters"].as_array().cloned().unwrap_or_default());
            token = text(&page, "nextPageToken").to_owned();
            if token.is_empty() {
                return Ok(letters);
            }
        }
    }

    /// Waits for the dead letter of an event that satisfies `wanted`.
    pub(crate) async fn dead_letter_when(
        &self,
        endpoint: &str,
        event: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        until(format!("the dead letter of {event} to {endpoint}"), async || {
            let all = self.dead_letters(endpoint).await?;
            let found = all.into_iter().find(|letter| text(&letter["event"], "id") == event);
            Ok(found.filter(|letter| wanted(letter)))
        })
        .await
    }

    /// Waits for the dead letter of an event, and for the attempt that made it: the letter is durable first.
    pub(crate) async fn dead_letter(&self, endpoint: &str, event: &str) -> Result<Value> {
        let letter = self.dead_letter_when(endpoint, event, |_| true).await?;
        self.delivery_in(endpoint, event, "DEAD_LETTERED").await?;
        Ok(letter)
    }

    /// Begins a redrive, and returns the answer, whatever it is.
    pub(crate) async fn redrive(&self, letter: &Value) -> Result<Answer> {
        let name = text(letter, "name");
        ensure!(!name.is_empty(), "a dead letter has a name: {letter}");
        self.rest.post(&format!("/v1/{name}:redrive"), json!({})).await
    }
}

/// Says something that is to be seen although the scenario passes: libtest holds back what the macros print.
pub(crate) fn report(line: &str) {
    use std::io::Write;
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "e2e: {line}");
}
