//! Killed with SIGKILL at random moments under load: what was acknowledged arrives (DL-1, OP-1), and what arrives twice
//! was in flight (DL-4).
//!
//! In flight is an attempt from its request until its row is durable: the receiver may have answered it. So a kill makes
//! arrive twice at most what the endpoints may have in flight and what may wait to be recorded; each duplicate has a kill
//! between its arrivals. An attempt that was recorded and was made again all the same would be recorded twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use postrider_e2e::{Receiver, Reply, Rest, Server, Stopped, clients, until};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{Api, TENANT, report};

const ROUNDS: usize = 4;
const ROUNDS_LONG: usize = 24;
/// Clients that publish at the same time, each waiting for its answer.
const PUBLISHERS: usize = 4;
/// The endpoints, by their paths at the receiver. The last one fails every second request.
pub(crate) const HEALTHY: [&str; 3] = ["/a", "/b", "/c"];
pub(crate) const FLAKY: &str = "/flaky";
/// Attempts that one endpoint may have in flight.
const CONCURRENCY: usize = 16;
/// Attempts that all endpoints together may have in flight when the process is killed.
const IN_FLIGHT_MAX: usize = CONCURRENCY * (HEALTHY.len() + 1);
/// Outcomes that may not be recorded yet when the process is killed: what the worker's channel to its recorder holds, and the batch that is being
/// written (`delivery-worker`: 1 024 and 512).
const UNRECORDED_MAX: usize = 1_024 + 512;
/// What one kill may make arrive twice.
const PER_KILL_MAX: usize = IN_FLIGHT_MAX + UNRECORDED_MAX;

/// Chance with a seed that can be given again: splitmix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap_or(0)
    }
}

/// What was acknowledged, in any round.
pub(crate) struct Acks {
    ids: Mutex<BTreeSet<String>>,
    count: watch::Sender<usize>,
}

impl Acks {
    fn add(&self, ids: Vec<String>) {
        let n = ids.len();
        if let Ok(mut all) = self.ids.lock() {
            all.extend(ids);
        }
        self.count.send_modify(|count| *count += n);
    }

    async fn reach(&self, n: usize) {
        // The sender lives in `self`.
        let _ = self.count.subscribe().wait_for(|count| *count >= n).await;
    }

    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.ids.lock().map(|ids| ids.clone()).unwrap_or_default()
    }
}

/// Publishes batches until the process is gone; only what was answered with 200 counts.
async fn publish(rest: Rest, acks: Arc<Acks>, prefix: String, size: usize) {
    for batch in 0_usize.. {
        let ids: Vec<_> = (0..size).map(|n| format!("{prefix}-{batch}-{n}")).collect();
        let events: Vec<_> = ids
            .iter()
            .map(|id| json!({ "id": id, "type": "load.sent", "data": { "id": id } }))
            .collect();
        let path = format!("{TENANT}/events:publish");
        match rest.post(&path, json!({ "events": events })).await.and_then(|answer| answer.ok()) {
            Ok(answer) if answer["results"].as_array().is_some_and(|all| all.len() == size) => {
                let failed = |r: &serde_json::Value| r.get("error").is_some_and(|e| !e.is_null());
                let results = answer["results"].as_array().cloned().unwrap_or_default();
                let done = ids.into_iter().zip(results).filter(|(_, r)| !failed(r));
                acks.add(done.map(|(id, _)| id).collect());
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// When a process was killed, and how many requests the receiver had not answered then.
struct Kill {
    at: Instant,
    /// After all that it had sent was read and before the next one was started: what is entered before this is the killed one's, what is entered after it
    /// is not. A request lies in a socket until the receiver has its turn, so its process may be dead when it is entered.
    next: Instant,
    unanswered: usize,
    /// Requests that were entered between `at` and `next`.
    late: usize,
}

/// Loads the process until a random moment, and kills it.
async fn round(
    number: usize,
    server: Server,
    receiver: &Receiver,
    acks: &Arc<Acks>,
    chance: &mut Chance,
) -> Result<(Stopped, Kill)> {
    let mut publishers = JoinSet::new();
    for n in 0..PUBLISHERS {
        let size = 1 + chance.below(8);
        let prefix = format!("r{number}-p{n}");
        publishers.spawn(publish(server.rest(), Arc::clone(acks), prefix, size));
    }
    let acked = *acks.count.borrow();
    // Now by what was acknowledged, now by what arrived: a little after a start, or far into the load.
    let far = 1 + chance.below(300);
    if chance.below(2) == 0 {
        acks.reach(acked + far).await;
    } else {
        receiver.reaches(receiver.count() + far).await?;
    }
    server.signal("KILL").await?;
    let (at, unanswered, before) = (Instant::now(), receiver.in_flight(), receiver.count());
    while publishers.join_next().await.is_some() {}
    // It is dead already; this collects it.
    let dead = server.kill().await?;
    receiver.settled().await?;
    let (next, late) = (Instant::now(), receiver.count() - before);
    Ok((dead, Kill { at, next, unanswered, late }))
}

pub(crate) async fn make_endpoints(api: &Api, receiver: &Receiver) -> Result<()> {
    let policy = || json!({ "retrySchedule": vec!["0.2s"; 20], "maxConcurrency": CONCURRENCY });
    for path in HEALTHY.into_iter().chain([FLAKY]) {
        api.endpoint(path.trim_start_matches('/'), &receiver.url(path), policy()).await?;
    }
    // A little work, so that requests are under way when the process dies.
    let working = |status| Reply::status(status).after(Duration::from_millis(3));
    receiver.reply([working(200)]);
    let flaky = (0..100_000).map(|n| working(if n % 2 == 0 { 500 } else { 200 }));
    receiver.reply_to(FLAKY, flaky);
    Ok(())
}

/// What arrived more than once, with the times of its arrivals, oldest first, and the numbers that it bore.
pub(crate) struct Twice {
    pub(crate) path: String,
    pub(crate) event: String,
    pub(crate) times: Vec<Instant>,
    numbers: Vec<u32>,
}

pub(crate) fn twice(receiver: &Receiver) -> Vec<Twice> {
    let mut arrivals: BTreeMap<(String, String, u32), Vec<(Instant, u32)>> = BTreeMap::new();
    for request in receiver.requests() {
        // A retry of the flaky endpoint is another attempt, not a duplicate.
        let attempt = if request.path == FLAKY { request.attempt() } else { 0 };
        let key = (request.path.clone(), request.event_id().to_owned(), attempt);
        arrivals.entry(key).or_default().push((request.at, request.attempt()));
    }
    let twice = arrivals.into_iter().filter(|(_, arrivals)| arrivals.len() > 1);
    twice
        .map(|((path, event, _), mut arrivals)| {
            arrivals.sort();
            let (times, numbers) = arrivals.into_iter().unzip();
            Twice { path, event, times, numbers }
        })
        .collect()
}

/// Counts the duplicates that each kill made, and how long before it the oldest of them had arrived. Two requests of one process are a bug.
fn duplicates_by_kill(twice: &[Twice], kills: &[Kill]) -> Result<(Vec<usize>, Option<Duration>)> {
    let mut counts = vec![0; kills.len()];
    let mut oldest = None;
    for Twice { path, event, times, numbers } in twice {
        for pair in times.windows(2) {
            let between = |kill: &Kill| pair[0] < kill.next && kill.next <= pair[1];
            let kill = kills.iter().position(between);
            let kill = kill.with_context(|| {
                let before = kills.iter().rev().find(|kill| kill.next <= pair[0]);
                format!(
                    "{event} came to {path} twice from one process, {:?} apart; the first time {:?} after its start; the attempts' numbers: {numbers:?}",
                    pair[1] - pair[0],
                    before.map(|kill| pair[0] - kill.next),
                )
            })?;
            counts[kill] += 1;
            oldest = oldest.max(Some(kills[kill].at.saturating_duration_since(pair[0])));
        }
    }
    Ok((counts, oldest))
}

/// A recorded attempt is not made again (DL-4).
pub(crate) async fn assert_recorded_once(api: &Api, endpoint: &str, event: &str) -> Result<()> {
    let attempts = api.attempts(endpoint, event).await?;
    let numbers: BTreeSet<_> = attempts.iter().map(|a| a["number"].as_i64()).collect();
    ensure!(numbers.len() == attempts.len(), "a number twice: {attempts:?}");
    let taken = attempts.iter().filter(|a| a["outcome"] == "SUCCEEDED").count();
    ensure!(
        taken <= 1,
        "{event} went to {endpoint} again although its success was recorded: {attempts:?}"
    );
    Ok(())
}

/// Waits until every acknowledged event was taken by every endpoint.
pub(crate) async fn wait_for_all(receiver: &Receiver, acked: &BTreeSet<String>) -> Result<()> {
    for path in HEALTHY.into_iter().chain([FLAKY]) {
        until(format!("{} acknowledged events at {path}", acked.len()), async || {
            let requests = receiver.requests_to(path);
            let seen: BTreeSet<&str> = requests.iter().map(|r| r.event_id()).collect();
            Ok(acked.iter().all(|id| seen.contains(id.as_str())).then_some(()))
        })
        .await
        .with_context(|| missing(receiver, path, acked))?;
    }
    Ok(())
}

fn missing(receiver: &Receiver, path: &str, acked: &BTreeSet<String>) -> String {
    let requests = receiver.requests_to(path);
    let seen: BTreeSet<&str> = requests.iter().map(|r| r.event_id()).collect();
    let missing: Vec<_> = acked.iter().filter(|id| !seen.contains(id.as_str())).collect();
    format!(
        "{} are missing at {path}, such as {:?}",
        missing.len(),
        missing.iter().take(5).collect::<Vec<_>>()
    )
}

pub(crate) fn seed() -> Result<u64> {
    match std::env::var("POSTRIDER_SEED") {
        Ok(seed) => Ok(seed.parse().context("POSTRIDER_SEED is a number")?),
        Err(_) => Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_acknowledged_is_lost() -> Result<()> {
    let rounds = if clients::long_forms() { ROUNDS_LONG } else { ROUNDS };
    let seed = seed()?;
    let mut chance = Chance(seed);
    let receiver = Receiver::start().await?;
    let mut server = Server::start().await?;
    make_endpoints(&Api::of(&server), &receiver).await?;
    let acks = Arc::new(Acks { ids: Mutex::default(), count: watch::Sender::new(0) });
    let mut kills = Vec::new();
    for number in 0..rounds {
        let (dead, kill) = round(number, server, &receiver, &acks, &mut chance).await?;
        kills.push(kill);
        server = dead.start().await.with_context(|| format!("seed {seed}"))?;
    }
    let acked = acks.all();
    wait_for_all(&receiver, &acked).await.with_context(|| format!("seed {seed}"))?;

    let twice = twice(&receiver);
    let (counts, oldest) =
        duplicates_by_kill(&twice, &kills).with_context(|| format!("seed {seed}"))?;
    let (duplicates, bound) = (counts.iter().sum::<usize>(), PER_KILL_MAX * kills.len());
    let unanswered: Vec<_> = kills.iter().map(|kill| kill.unanswered).collect();
    let late: Vec<_> = kills.iter().map(|kill| kill.late).collect();
    report(&format!(
        "kill: seed {seed}, {rounds} kills, {} events acknowledged, {} requests, {duplicates} duplicates of {bound} that may be \
         ({rounds} kills x {PER_KILL_MAX}), by kill: {counts:?}; the oldest had arrived {oldest:?} before its kill; \
         unanswered at the kills: {unanswered:?}; read after the kill: {late:?}",
        acked.len(),
        receiver.count(),
    ));
    for (count, unanswered) in counts.iter().zip(&unanswered) {
        ensure!(*count <= PER_KILL_MAX, "seed {seed}: {count} duplicates of one kill");
        ensure!(*unanswered <= IN_FLIGHT_MAX, "seed {seed}: {unanswered} in flight at a kill");
    }
    ensure!(duplicates <= bound, "seed {seed}: {duplicates} duplicates");
    let api = Api::of(&server);
    for Twice { path, event, .. } in &twice {
        assert_recorded_once(&api, path.trim_start_matches('/'), event)
            .await
            .with_context(|| format!("seed {seed}"))?;
    }
    for endpoint in HEALTHY {
        let letters = api.dead_letters(endpoint.trim_start_matches('/')).await?;
        ensure!(letters.is_empty(), "seed {seed}: dead letters of {endpoint}: {letters:?}");
    }
    Ok(())
}
