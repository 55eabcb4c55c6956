//! Killed with SIGKILL in the middle of redrives: no dead letter is lost, and none stays taken for ever (OP-1).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use postrider_e2e::{Receiver, Reply, Server, clients, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Api, report, text};

const ROUNDS: usize = 4;
const ROUNDS_LONG: usize = 16;
/// Events that become dead letters in each round.
const EVENTS: usize = 24;
/// Callers that redrive at the same time, each waiting for its answers.
const CALLERS: usize = 6;

fn redriving(letter: &Value) -> bool {
    letter["redriving"] == true
}

fn event_of(letter: &Value) -> String {
    text(&letter["event"], "id").to_owned()
}

/// Redrives letters one after the other; gives those without an answer: the process is gone.
async fn redrive_all(api: Api, letters: Vec<Value>) -> Vec<Value> {
    let mut unanswered = Vec::new();
    for letter in letters {
        if api.redrive(&letter).await.is_err() {
            unanswered.push(letter);
        }
    }
    unanswered
}

/// Makes dead letters, redrives all there are, and kills the process after so many of the requests. Gives the calls without an answer.
async fn round(
    server: &Server,
    receiver: &Receiver,
    kill_after: usize,
    events: &mut BTreeSet<String>,
) -> Result<Vec<Value>> {
    let api = Api::of(server);
    receiver.reply([Reply::status(400)]);
    let new = api.publish_many("payment.completed", EVENTS).await?;
    for id in &new {
        api.dead_letter_when("shop", id, |_| true).await?;
    }
    events.extend(new);
    let mixed = [500, 200, 400, 500, 200].map(Reply::status);
    receiver.reply((0..1_000).flat_map(|_| mixed.clone()));
    let before = receiver.count();
    let letters = api.dead_letters("shop").await?;
    let mut callers = JoinSet::new();
    for part in letters.chunks(letters.len().div_ceil(CALLERS)) {
        callers.spawn(redrive_all(api.clone(), part.to_vec()));
    }
    receiver.reaches(before + kill_after).await?;
    server.signal("KILL").await?;
    let mut unanswered = Vec::new();
    while let Some(caller) = callers.join_next().await {
        unanswered.extend(caller?);
    }
    Ok(unanswered)
}

/// The letters that are listed, and that read alone are what the list says; none while one is on its way.
async fn at_rest(api: &Api) -> Result<Option<Vec<Value>>> {
    let letters = api.dead_letters("shop").await?;
    for letter in &letters {
        let alone = api.rest.get(&format!("/v1/{}", text(letter, "name"))).await?;
        if redriving(letter) || alone.status != 200 || redriving(&alone.json["deadLetter"]) {
            return Ok(None);
        }
    }
    Ok(Some(letters))
}

/// Tells what became of the deliveries that were not delivered.
async fn unfinished(api: &Api, events: &BTreeSet<String>) -> Result<String> {
    let mut lines = vec![format!("the endpoint: {}", api.get_endpoint("shop").await?)];
    for letter in api.dead_letters("shop").await? {
        let alone = api.rest.get(&format!("/v1/{}", text(&letter, "name"))).await?;
        lines.push(format!("listed: {letter}"));
        lines.push(format!("alone: {}", alone.text()));
    }
    for id in events {
        let delivery = api.delivery("shop", id).await?.unwrap_or_default();
        if text(&delivery, "state") != "SUCCEEDED" {
            lines.push(format!("delivery of {id}: {delivery}"));
        }
    }
    Ok(lines.join("\n"))
}

/// The letters once all are at rest and every other event was delivered. A letter that comes back goes to the top of its list: one that does so while
/// the list is read may be passed over, and is on the next.
async fn ended(api: &Api, events: &BTreeSet<String>) -> Result<Option<Vec<Value>>> {
    let Some(letters) = at_rest(api).await? else { return Ok(None) };
    let listed: BTreeSet<String> = letters.iter().map(event_of).collect();
    ensure!(listed.len() == letters.len(), "an event has one letter");
    for id in events.difference(&listed) {
        let delivery = api.delivery("shop", id).await?;
        if delivery.is_none_or(|delivery| text(&delivery, "state") != "SUCCEEDED") {
            return Ok(None);
        }
    }
    Ok(Some(letters))
}

/// Waits until each event was delivered, or its letter is listed and no redrive holds it.
async fn all_have_ended(api: &Api, events: &BTreeSet<String>) -> Result<Vec<Value>> {
    let looked = until("each event to be delivered, or listed and not on its way", async || {
        ended(api, events).await
    });
    match looked.await {
        Ok(letters) => Ok(letters),
        Err(error) => Err(error.context(unfinished(api, events).await?)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_redrives_no_dead_letter_stays_taken() -> Result<()> {
    let rounds = if clients::long_forms() { ROUNDS_LONG } else { ROUNDS };
    let receiver = Receiver::start().await?;
    let mut server = Server::start().await?;
    let policy = json!({ "retrySchedule": ["0.1s", "0.1s"], "maxConcurrency": 4 });
    Api::of(&server).endpoint("shop", &receiver.url("/"), policy).await?;
    let mut events = BTreeSet::new();
    let mut unanswered = Vec::new();
    for number in 0..rounds {
        // Now at the first request, now in the middle, now near the end.
        let kill_after = 1 + (number * 7) % EVENTS;
        unanswered.extend(round(&server, &receiver, kill_after, &mut events).await?);
        server = server.kill().await?.start().await?;
    }
    // Whoever got no answer asks again, as clients do.
    let api = Api::of(&server);
    let repeated = unanswered.len();
    let again = redrive_all(api.clone(), unanswered).await;
    ensure!(again.is_empty(), "{} calls without an answer", again.len());
    let letters = all_have_ended(&api, &events).await?;
    report(&format!(
        "kill in redrives: {rounds} kills, {} dead letters, {repeated} calls repeated, {} letters back, {} requests",
        events.len(),
        letters.len(),
        receiver.count(),
    ));
    receiver.reply([Reply::status(200)]);
    for letter in &letters {
        api.redrive(letter).await?.ok()?;
    }
    for id in &events {
        api.delivery_in("shop", id, "SUCCEEDED").await?;
    }
    until("no letter is left", async || {
        Ok(api.dead_letters("shop").await?.is_empty().then_some(()))
    })
    .await
}
