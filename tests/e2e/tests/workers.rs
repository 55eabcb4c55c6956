//! Workers that share a log: they come, go, crash and fall silent while events flow, and nothing is lost (DL-1, DL-2, DL-4).
//!
//! A client of Kafka's own watches the acked positions from the broker: none moves back, and what one passes has arrived. A record that waited for a place
//! may be passed before, as a row of the backlog (the hand-off rule): those are counted, and arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Options, Receiver, Reply, Server, clients, until};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::support::{Api, TENANT, report};

/// Attempts that a worker may have in flight.
const IN_FLIGHT: usize = 32;
/// Of how many acked records one may have been acked as a row of the backlog: with a quiet receiver that happens when the machine is busy alone.
const PARKED_SHARE: usize = 4;
/// Events of one publish call.
const BATCH: usize = 4;
/// From one publish call to the next.
const PUBLISH_EVERY: Duration = Duration::from_millis(40);
/// Events that flow before and after each change.
const FLOW: usize = 200;

/// Publishes until it is told to stop; how many events were acknowledged.
struct Publisher {
    acked: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Vec<String>>>,
}

impl Publisher {
    fn start(server: &Server) -> Self {
        let rest = server.rest();
        let (tell, acked) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut ids: Vec<String> = Vec::new();
            // The load's pace: nothing waits for it.
            let mut turns = tokio::time::interval(PUBLISH_EVERY);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !*stopped.borrow() {
                turns.tick().await;
                let batch: Vec<_> = (0..BATCH).map(|n| format!("w-{}", ids.len() + n)).collect();
                let event = |id: &String| json!({ "id": id, "type": "a.b", "data": {} });
                let events: Vec<Value> = batch.iter().map(event).collect();
                let path = format!("{TENANT}/events:publish");
                rest.post(&path, json!({ "events": events })).await?.ok()?;
                ids.extend(batch);
                tell.send_replace(ids.len());
            }
            Ok(ids)
        });
        Self { acked, stop, task }
    }

    /// Waits until so many more were acknowledged.
    async fn flow(&mut self) -> Result<usize> {
        let wanted = *self.acked.borrow() + FLOW;
        self.acked.wait_for(|acked| *acked >= wanted).await.context("publishing ended early")?;
        Ok(wanted)
    }

    async fn end(self) -> Result<Vec<String>> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

/// The acked positions as the broker tells them.
struct Watcher {
    child: Child,
}

impl Watcher {
    fn start(server: &Server, python: &Path) -> Result<Self> {
        let (broker, topic) = server.events().context("a server on Kafka")?;
        let group = topic.replace(".events", "-delivery");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/positions.py");
        let child = Command::new(python)
            .arg(script)
            .args([&broker, &topic, &group, "4"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("the watcher")?;
        Ok(Self { child })
    }

    async fn end(mut self) -> Result<Vec<Value>> {
        drop(self.child.stdin.take());
        let mut said = String::new();
        let mut output = self.child.stdout.take().context("its output")?;
        output.read_to_string(&mut said).await?;
        ensure!(self.child.wait().await?.success(), "the watcher failed: {said}");
        said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// Asserts that no position moved back or passed a record that never arrived; how many looks there were, and how many records were passed before they arrived.
fn assert_positions(said: &[Value], receiver: &Receiver) -> Result<(usize, usize)> {
    let mut first: BTreeMap<String, f64> = BTreeMap::new();
    for request in receiver.requests() {
        let at = request.time.duration_since(UNIX_EPOCH)?.as_secs_f64();
        let known = first.entry(request.event_id().to_owned()).or_insert(at);
        *known = known.min(at);
    }
    let (records, looks) = said.split_last().context("it said nothing")?;
    let mut ids: BTreeMap<(i64, i64), &str> = BTreeMap::new();
    for record in records["records"].as_array().context("records")? {
        let number = |n: usize| record[n].as_i64().context("a number");
        ids.insert((number(0)?, number(1)?), record[2].as_str().context("an id")?);
    }
    let mut before: BTreeMap<i64, i64> = BTreeMap::new();
    let mut parked = 0;
    for look in looks {
        let time = look["time"].as_f64().context("a time")?;
        for (partition, next) in look["committed"].as_object().context("positions")? {
            let (partition, next) = (partition.parse::<i64>()?, next.as_i64().context("one")?);
            let from = before.insert(partition, next).unwrap_or(0);
            ensure!(next >= from, "the position of {partition} moved back: {from}, {next}");
            for (_, id) in ids.range((partition, from)..(partition, next)) {
                let arrived = first.get(*id).with_context(|| format!("{id} never arrived"))?;
                parked += usize::from(*arrived > time);
            }
        }
    }
    Ok((looks.len(), parked))
}

fn duplicates(receiver: &Receiver) -> usize {
    let by_event = receiver.count_by_event();
    by_event.values().sum::<usize>() - by_event.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_join_leave_crash_and_fall_silent_and_nothing_is_lost() -> Result<()> {
    let Some(options) = Options::on_a_cluster() else { return Ok(()) };
    let Some(python) = clients::python() else {
        report("left out: no Python client");
        return Ok(());
    };
    let options = options.env("POSTRIDER_DELIVERY__IN_FLIGHT", IN_FLIGHT.to_string());
    let mut server = options.start().await?;
    let api = Api::of(&server);
    let receiver = Arc::new(Receiver::start().await?);
    receiver.reply([Reply::status(200).after(Duration::from_millis(5))]);
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let watcher = Watcher::start(&server, &python)?;
    let mut publisher = Publisher::start(&server);
    // All that was acknowledged before a change arrives after it: whoever owned it.
    let arrives = async |what: &str, acked: usize| {
        until(format!("{acked} events after {what}"), async || {
            Ok((receiver.count_by_event().len() >= acked).then_some(()))
        })
        .await
    };

    let acked = publisher.flow().await?;
    arrives("the start", acked).await?;
    server.add_worker().await?;
    let acked = publisher.flow().await?;
    arrives("a fourth worker joined", acked).await?;
    server.end_worker(0).await?;
    let acked = publisher.flow().await?;
    arrives("a worker left", acked).await?;
    let orderly = duplicates(&receiver);
    server.kill_worker(0).await?;
    let acked = publisher.flow().await?;
    arrives("a worker was killed", acked).await?;
    server.signal_worker(0, "STOP").await?;
    let acked = publisher.flow().await?;
    arrives("a worker fell silent", acked).await?;
    server.signal_worker(0, "CONT").await?;
    let acked = publisher.flow().await?;
    arrives("it woke", acked).await?;

    let ids: BTreeSet<String> = publisher.end().await?.into_iter().collect();
    until("every acknowledged event", async || {
        let seen = receiver.count_by_event();
        Ok(ids.iter().all(|id| seen.contains_key(id)).then_some(()))
    })
    .await?;
    let (looks, parked) = assert_positions(&watcher.end().await?, &receiver)?;
    let duplicates = duplicates(&receiver);
    // A join, a leave, a kill, a silence and its end: each takes over what was in flight at most.
    let bound = 5 * IN_FLIGHT;
    report(&format!(
        "workers: {} events acknowledged, {} requests, {duplicates} duplicates of {bound} that may be (5 changes x {IN_FLIGHT} in flight), \
         {orderly} of them by a join and a leave; \
         {looks} looks at the acked positions, {parked} events acked as rows of the backlog",
        ids.len(),
        receiver.count(),
    ));
    ensure!(duplicates <= bound, "{duplicates} duplicates");
    ensure!(parked <= ids.len() / PARKED_SHARE, "{parked} events were acked before they arrived");
    Ok(())
}

/// A store that one process alone can see holds what the workers of a group must share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_is_refused_while_another_worker_reads_the_topic() -> Result<()> {
    let Some(options) = Options::on_a_cluster() else { return Ok(()) };
    let server = options.start().await?;
    let embedded = ("POSTRIDER_STORE", "embedded");
    let said = server.refuses_beside(&[embedded]).await?;
    let advice = "there can be one: stop it, or use store = \"scylla\" in every process";
    ensure!(said.contains("another worker reads") && said.contains(advice), "{said}");
    let said = server.refuses_beside(&[embedded, ("POSTRIDER_ROLES", "delivery-worker")]).await?;
    ensure!(said.contains("run all roles here, or use store = \"scylla\""), "{said}");
    Ok(())
}
