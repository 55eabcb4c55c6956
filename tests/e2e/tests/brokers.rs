//! Three brokers, of which first the leader dies under load and then two at once: each publish has a definite answer, and nothing that was acknowledged is
//! lost (DL-1).
//!
//! What was refused may arrive all the same: whoever was not answered in time cannot know, and publishes again under the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Brokers, Options, Receiver, Reply, Rest, Server, clients, until};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::producers::python;
use crate::support::{Api, TENANT, report, text};

/// Attempts that a worker may have in flight.
const IN_FLIGHT: usize = 32;
/// Workers, where roles are apart.
const WORKERS: usize = 3;
/// Callers of the API, one call after the other each.
const CALLERS: usize = 4;
/// Events of one call.
const BATCH: usize = 4;
/// From one call of a caller to its next.
const PAUSE: Duration = Duration::from_millis(50);
/// Events that flow before and after each outage.
const FLOW: usize = 200;
/// Refused events that are waited for while two brokers are away.
const REFUSED: usize = 2 * CALLERS * BATCH;

/// What became of the calls.
#[derive(Default)]
struct Ledger {
    acked: Vec<String>,
    /// Events that were not acknowledged.
    refused: usize,
    /// What was said of them, with how often.
    told: BTreeMap<String, usize>,
    /// When the last event was acknowledged, and the longest time from one to the next.
    last: Option<Instant>,
    gap: Duration,
    /// Acknowledged, of those that were made while two brokers were away.
    acked_without_quorum: usize,
}

impl Ledger {
    fn take(&mut self, ids: Vec<String>, answer: &Value, without_quorum: bool) -> Result<()> {
        let results = answer["results"].as_array().context("results")?;
        ensure!(results.len() == ids.len(), "an answer for each event: {answer}");
        for (id, result) in ids.into_iter().zip(results) {
            if result["error"].is_null() {
                self.acked_without_quorum += usize::from(without_quorum);
                self.acked.push(id);
                let now = Instant::now();
                let last = self.last.replace(now).unwrap_or(now);
                self.gap = self.gap.max(now - last);
            } else {
                self.refused += 1;
                let said = text(&result["error"], "message").to_owned();
                *self.told.entry(said).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Calls the API until it is told to stop.
struct Load {
    ledger: Arc<Mutex<Ledger>>,
    /// (events acknowledged, events refused)
    count: watch::Sender<(usize, usize)>,
    has_quorum: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    callers: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    fn start(server: &Server) -> Self {
        let mut load = Self {
            ledger: Arc::default(),
            count: watch::Sender::default(),
            has_quorum: watch::Sender::new(true),
            stop: watch::Sender::default(),
            callers: Vec::new(),
        };
        for caller in 0..CALLERS {
            let called = load.call(caller, server.rest());
            load.callers.push(tokio::spawn(called));
        }
        load
    }

    fn call(&self, caller: usize, rest: Rest) -> impl Future<Output = Result<()>> + use<> {
        let (ledger, count) = (self.ledger.clone(), self.count.clone());
        let (quorum, stopped) = (self.has_quorum.subscribe(), self.stop.subscribe());
        async move {
            let path = format!("{TENANT}/events:publish");
            // The load's pace: nothing waits for it.
            let mut turns = tokio::time::interval(PAUSE);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for call in 0.. {
                turns.tick().await;
                if *stopped.borrow() {
                    break;
                }
                let ids: Vec<String> =
                    (0..BATCH).map(|n| format!("api-{caller}-{call}-{n}")).collect();
                let event = |id: &String| json!({ "id": id, "type": "a.b", "data": {} });
                let events: Vec<Value> = ids.iter().map(event).collect();
                let began_without = !*quorum.borrow();
                // A call that gets no answer fails here, by the harness's deadline.
                let answer = rest.post(&path, json!({ "events": events })).await?.ok()?;
                let without_quorum = began_without && !*quorum.borrow();
                let so_far = {
                    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                    ledger.take(ids, &answer, without_quorum)?;
                    (ledger.acked.len(), ledger.refused)
                };
                count.send_replace(so_far);
            }
            Ok(())
        }
    }

    /// Waits until [`FLOW`] more events were acknowledged.
    async fn flow(&self, what: &str) -> Result<()> {
        let wanted = self.count.borrow().0 + FLOW;
        self.wait(format!("{FLOW} events to be acknowledged {what}"), |(acked, _)| acked >= wanted)
            .await
    }

    async fn wait(&self, what: String, is_met: impl Fn((usize, usize)) -> bool) -> Result<()> {
        until(what, async || {
            let failed = self.callers.iter().any(JoinHandle::is_finished);
            ensure!(!failed, "a call had no answer");
            Ok(is_met(*self.count.borrow()).then_some(()))
        })
        .await
    }

    async fn end(self) -> Result<Ledger> {
        self.stop.send_replace(true);
        for caller in self.callers {
            caller.await??;
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *ledger))
    }
}

/// A producer of librdkafka's that writes all the while.
struct Producer {
    child: Child,
}

impl Producer {
    fn start(brokers: &str, topic: &str) -> Result<Self> {
        let python = clients::python().context("POSTRIDER_PY_VENV names no Python")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/steady.py");
        let child = Command::new(python)
            .arg(script)
            .args([brokers, topic])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the producer")?;
        Ok(Self { child })
    }

    /// The ids that were acknowledged, and how many were not, each with an error.
    async fn end(mut self) -> Result<(Vec<String>, usize)> {
        drop(self.child.stdin.take());
        let mut said = String::new();
        let mut output = self.child.stdout.take().context("its output")?;
        output.read_to_string(&mut said).await?;
        ensure!(self.child.wait().await?.success(), "the producer has records without an answer");
        let said: Value = serde_json::from_str(&said)?;
        let acked = said["acknowledged"].as_array().context("what was acknowledged")?.iter();
        let acked = acked.filter_map(|id| id.as_str()).map(str::to_owned).collect();
        Ok((acked, said["failed"].as_array().map_or(0, Vec::len)))
    }
}

/// The number of each partition's leader, and how many copies are in sync.
async fn leaders(brokers: &str, topic: &str) -> Result<Vec<(usize, usize)>> {
    let said: BTreeMap<String, (i64, usize)> =
        serde_json::from_str(&python("leaders.py", &[brokers, topic]).await?)?;
    let leader = |(leader, in_sync): (i64, usize)| Some((usize::try_from(leader).ok()?, in_sync));
    Ok(said.into_values().filter_map(leader).collect())
}

async fn in_sync(brokers: &str, topic: &str) -> Result<()> {
    until("all copies to be in sync", async || {
        let leaders = leaders(brokers, topic).await?;
        Ok(leaders.iter().all(|(_, copies)| *copies == 3).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_die_lose_nothing_that_was_acknowledged() -> Result<()> {
    if !clients::long_forms() {
        report("left out: three brokers run in make test-long");
        return Ok(());
    }
    let (Some(mut brokers), Some(_)) = (Brokers::start().await?, clients::python()) else {
        report("left out: the runner can start no brokers, or has no Python client");
        return Ok(());
    };
    let addresses = brokers.addresses().await?;
    let options = Options::on_brokers(addresses.clone());
    let options = options.env("POSTRIDER_DELIVERY__IN_FLIGHT", IN_FLIGHT.to_string());
    let server = options.start().await?;
    let (_, topic) = server.events().context("a server on Kafka")?;
    let api = Api::of(&server);
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(200).after(Duration::from_millis(5))]);
    api.endpoint("shop", &receiver.url("/"), json!({})).await?;
    let load = Load::start(&server);
    let producer = Producer::start(&addresses, &topic)?;

    load.flow("at the start").await?;
    let (leader, _) = *leaders(&addresses, &topic).await?.first().context("a partition")?;
    brokers.kill(leader).await?;
    load.flow("after the leader died").await?;
    brokers.start_again(&[leader]).await?;
    in_sync(&addresses, &topic).await?;

    let (_, refused) = *load.count.borrow();
    for number in [1, 2] {
        brokers.kill(number).await?;
    }
    load.has_quorum.send_replace(false);
    let enough = refused + REFUSED;
    load.wait(format!("{REFUSED} events to be refused"), |(_, refused)| refused >= enough).await?;
    let said = server.rest().get("/readyz").await?.text();
    ensure!(said.contains("log.unconfirmed: the brokers did not confirm"), "{said}");
    load.has_quorum.send_replace(true);
    brokers.start_again(&[1, 2]).await?;
    load.flow("after the brokers came back").await?;

    let (direct, failed) = producer.end().await?;
    let ledger = load.end().await?;
    let acked: BTreeSet<&String> = ledger.acked.iter().chain(&direct).collect();
    until("every acknowledged event", async || {
        let seen = receiver.count_by_event();
        Ok(acked.iter().all(|id| seen.contains_key(*id)).then_some(()))
    })
    .await?;
    let seen = receiver.count_by_event();
    let duplicates = seen.values().sum::<usize>() - seen.len();
    // Each outage takes from every worker what it had in flight, at most.
    let bound = 2 * WORKERS * IN_FLIGHT;
    report(&format!(
        "three brokers: by the API {} events acknowledged and {} refused, by librdkafka {} and {failed}; {:.1} s at most from one that was acknowledged to the \
         next; {duplicates} duplicates of {bound} that may be; {} events arrived that were not acknowledged",
        ledger.acked.len(),
        ledger.refused,
        direct.len(),
        ledger.gap.as_secs_f64(),
        seen.len() - acked.len(),
    ));
    for (said, times) in &ledger.told {
        report(&format!("three brokers: {times} x {said}"));
        ensure!(said.ends_with("repeat the same call"), "advice: {said}");
    }
    ensure!(
        ledger.acked_without_quorum == 0,
        "acknowledged by one broker of three: {}",
        ledger.acked_without_quorum
    );
    ensure!(duplicates <= bound, "{duplicates} duplicates");
    ensure!(direct.len() > FLOW, "the producer went on");
    Ok(())
}
