//! The store of a cluster killed, frozen and started again under load, alone and together with Postrider: nothing that was acknowledged is lost, and what arrives
//! twice was in flight when Postrider was killed. A store that is away costs no duplicates at all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Cassandra, Options, Receiver, Rest, Server, clients, until};
use serde_json::json;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::kill::{
    Chance, HEALTHY, Twice, assert_recorded_once, make_endpoints, seed, twice, wait_for_all,
};
use crate::support::{Api, TENANT, report};

/// What is done to the store and to Postrider, one after the other.
const ROUNDS: [Fault; 4] =
    [Fault::StoreKilled, Fault::StoreFrozen, Fault::PostriderKilled, Fault::BothKilled];
const REPEATS_LONG: usize = 4;
const PUBLISHERS: usize = 3;
/// Between two tries of a publisher that was not answered.
const AGAIN: Duration = Duration::from_millis(50);
/// Attempts that are in flight or not recorded yet when a process dies: twice `delivery.in_flight`, at most (`limits::UNWRITTEN_FACTOR`).
const PER_KILL_MAX: usize = 2 * 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// SIGKILL of the store, and a start.
    StoreKilled,
    /// SIGSTOP of the store for longer than a request waits, and SIGCONT.
    StoreFrozen,
    /// SIGKILL of Postrider, and a start.
    PostriderKilled,
    /// SIGKILL of the store, then of Postrider, which has outcomes that it could not record; then both start.
    BothKilled,
}

/// Publishes to whatever process runs now, and keeps what was acknowledged.
struct Load {
    rest: Mutex<Rest>,
    acked: Mutex<BTreeSet<String>>,
    /// Published again because a call had failed: one that failed after its events were in the log puts them there twice, with one id (DL-7).
    repeated: Mutex<BTreeSet<String>>,
    count: watch::Sender<usize>,
    ends: AtomicBool,
    next: AtomicUsize,
}

impl Load {
    fn new(server: &Server) -> Arc<Self> {
        Arc::new(Self {
            rest: Mutex::new(server.rest()),
            acked: Mutex::default(),
            repeated: Mutex::default(),
            count: watch::Sender::new(0),
            ends: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        })
    }

    async fn publish(&self) {
        while !self.ends.load(Ordering::Acquire) {
            let batch = self.next.fetch_add(1, Ordering::Relaxed);
            let ids: Vec<String> = (0..4).map(|n| format!("f{batch}-{n}")).collect();
            let event =
                |id: &String| json!({ "id": id, "type": "load.sent", "data": { "id": id } });
            let events: Vec<_> = ids.iter().map(event).collect();
            // The same events again until they are acknowledged, as a publisher does: the ids make that safe.
            let mut ticks = interval(AGAIN);
            while !self.is_acknowledged(&events).await && !self.ends.load(Ordering::Acquire) {
                self.repeated.lock().await.extend(ids.iter().cloned());
                ticks.tick().await;
            }
            if !self.ends.load(Ordering::Acquire) {
                self.acked.lock().await.extend(ids);
                self.count.send_modify(|count| *count += 1);
            }
        }
    }

    async fn is_acknowledged(&self, events: &[serde_json::Value]) -> bool {
        let rest = self.rest.lock().await.clone();
        let path = format!("{TENANT}/events:publish");
        let answer = rest.post(&path, json!({ "events": events })).await;
        let Some(answer) = answer.ok().and_then(|answer| answer.ok().ok()) else { return false };
        let failed = |r: &serde_json::Value| r.get("error").is_some_and(|e| !e.is_null());
        let results = answer["results"].as_array();
        results.is_some_and(|all| all.len() == events.len() && !all.iter().any(failed))
    }

    /// Waits until so many more batches were acknowledged.
    async fn flows(&self, batches: usize) -> Result<()> {
        let target = *self.count.borrow() + batches;
        until("events flow", async || Ok((*self.count.borrow() >= target).then_some(()))).await
    }
}

async fn ready(server: &Server, wanted: bool) -> Result<()> {
    until(format!("/readyz says {wanted}"), async || {
        let answer = server.rest().get("/readyz").await?;
        let says = answer.status.is_success();
        if !wanted && !says {
            let reasons = answer.json["reasons"].to_string();
            ensure!(reasons.contains("store does not answer"), "why it is not ready: {reasons}");
        }
        Ok((says == wanted).then_some(()))
    })
    .await
}

/// One fault in the middle of the load; the process that runs afterwards.
async fn strike(
    fault: Fault,
    mut server: Server,
    store: &mut Cassandra,
    load: &Load,
) -> Result<Server> {
    match fault {
        Fault::StoreKilled => {
            store.kill().await?;
            ready(&server, false).await?;
            store.start_again().await?;
            let said = server.logs().matches("a dependency failed a call").count();
            ensure!((1..=20).contains(&said), "{said} lines, with publishers that never rest");
        }
        Fault::StoreFrozen => {
            store.signal("STOP").await?;
            ready(&server, false).await?;
            store.signal("CONT").await?;
        }
        Fault::PostriderKilled => {
            server = server.kill().await?.start().await?;
        }
        Fault::BothKilled => {
            store.kill().await?;
            ready(&server, false).await?;
            let stopped = server.kill().await?;
            // Postrider is there first, and waits.
            let (started, serves) = tokio::join!(stopped.start(), store.start_again());
            serves?;
            server = started?;
            let logs = server.logs();
            ensure!(logs.matches("the start waits for the store").count() == 1, "{logs}");
            ensure!(logs.contains("the store answers; the start goes on"), "{logs}");
        }
    }
    *load.rest.lock().await = server.rest();
    ready(&server, true).await?;
    Ok(server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_dies_or_stands_still_loses_nothing() -> Result<()> {
    let Some(mut store) = Cassandra::start().await? else {
        report(
            "left out: a store of its own to kill (POSTRIDER_CASSANDRA is not set; `make test` sets it)",
        );
        return Ok(());
    };
    let seed = seed()?;
    let mut chance = Chance(seed);
    let receiver = Receiver::start().await?;
    let mut server = Options::default().store_on(store.address().await?).start().await?;
    make_endpoints(&Api::of(&server), &receiver).await?;
    let load = Load::new(&server);
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let load = Arc::clone(&load);
        publishers.spawn(async move { load.publish().await });
    }
    let repeats = if clients::long_forms() { REPEATS_LONG } else { 1 };
    let faults: Vec<Fault> = (0..repeats).flat_map(|_| ROUNDS).collect();
    let mut kills = 0;
    for fault in &faults {
        load.flows(5 + chance.below(60)).await?;
        let before = duplicates(&receiver, &load).await;
        server = strike(*fault, server, &mut store, &load)
            .await
            .with_context(|| format!("{fault:?}, seed {seed}"))?;
        load.flows(10).await?;
        if matches!(fault, Fault::StoreKilled | Fault::StoreFrozen) {
            // A batch that is repeated meanwhile takes what it doubled before out of the count.
            let new = duplicates(&receiver, &load).await.saturating_sub(before);
            ensure!(
                new == 0,
                "{fault:?}: {new} duplicates without a kill of postrider, seed {seed}"
            );
        } else {
            kills += 1;
        }
    }
    load.ends.store(true, Ordering::Release);
    while let Some(ended) = publishers.join_next().await {
        ended?;
    }
    let acked = load.acked.lock().await.clone();
    wait_for_all(&receiver, &acked).await.with_context(|| format!("seed {seed}"))?;
    let duplicates = duplicates(&receiver, &load).await;
    report(&format!(
        "store faults: seed {seed}, {faults:?}, {} events acknowledged, {} requests, {duplicates} duplicates of {} that may be in flight at {kills} kills; {} events were published again",
        acked.len(),
        receiver.count(),
        PER_KILL_MAX * kills,
        load.repeated.lock().await.len(),
    ));
    ensure!(duplicates <= PER_KILL_MAX * kills, "{duplicates} duplicates, seed {seed}");
    ledgers_agree(&Api::of(&server), &receiver, &load).await.with_context(|| format!("seed {seed}"))
}

/// What arrived more than once, but for what was published more than once.
async fn doubled(receiver: &Receiver, load: &Load) -> Vec<Twice> {
    let repeated = load.repeated.lock().await;
    twice(receiver).into_iter().filter(|twice| !repeated.contains(&twice.event)).collect()
}

async fn duplicates(receiver: &Receiver, load: &Load) -> usize {
    doubled(receiver, load).await.iter().map(|twice| twice.times.len() - 1).sum()
}

/// What the receivers saw and what the store has of it. At a healthy endpoint an attempt of its own for each request: one that a kill left unrecorded was made
/// again, and so is among the doubled. A failure that a kill left unrecorded is not made again: its successor was durable first.
async fn ledgers_agree(api: &Api, receiver: &Receiver, load: &Load) -> Result<()> {
    let twice = doubled(receiver, load).await;
    let repeated = load.repeated.lock().await.clone();
    for doubled in &twice {
        assert_recorded_once(api, doubled.path.trim_start_matches('/'), &doubled.event).await?;
    }
    let doubled: BTreeSet<(&str, &str)> = twice.iter().map(|t| (&*t.path, &*t.event)).collect();
    for path in HEALTHY {
        let requests = receiver.requests_to(path);
        let events: BTreeSet<&str> = requests.iter().map(|request| request.event_id()).collect();
        let single = events
            .into_iter()
            .filter(|event| !doubled.contains(&(path, *event)) && !repeated.contains(*event));
        // A sample: each is a call.
        for event in single.step_by(7) {
            let sent = requests.iter().filter(|request| request.event_id() == event).count();
            let endpoint = path.trim_start_matches('/');
            until(format!("{sent} attempts of {event} at {endpoint}"), async || {
                let attempts = api.attempts(endpoint, event).await?;
                ensure!(
                    attempts.len() <= sent,
                    "{event} at {endpoint}: {sent} requests, {attempts:?}"
                );
                Ok((attempts.len() == sent).then_some(()))
            })
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_wants_a_login_says_so_in_one_line() -> Result<()> {
    let Some(store) = Cassandra::start_with_login().await? else {
        report(
            "left out: a store with a login (POSTRIDER_CASSANDRA is not set; `make test` sets it)",
        );
        return Ok(());
    };
    let address = store.address().await?;
    let login = |user: &str, password: &str| {
        Options::default()
            .store_on(address.clone())
            .env("POSTRIDER_SCYLLA__USER", user)
            .env("POSTRIDER_SCYLLA__PASSWORD", password)
    };
    let server = login("cassandra", "cassandra").start().await?;
    let stopped = server.terminate().await?;
    for (options, user) in [(login("cassandra", "wrong"), "cassandra"), (login("ada", "x"), "ada")]
    {
        let said = match stopped.try_with(options).await {
            Ok(_) => anyhow::bail!("it started with a wrong login"),
            Err(error) => format!("{error:#}"),
        };
        for word in ["refuses the login", user, "scylla.user and scylla.password"] {
            ensure!(said.contains(word), "`{word}` is not in: {said}");
        }
        ensure!(!said.contains("wrong"), "the password is not shown: {said}");
    }
    Ok(())
}
