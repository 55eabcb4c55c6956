//! A process that is killed at any point loses nothing that it acknowledged (OP-1).
//!
//! The test starts its own binary again as a writer, kills it by SIGKILL once it has acknowledged enough, and looks for everything that it said.
//! This does not test what a power failure does: the system's cache survives a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use domain::record::Record;
use domain::{
    AttemptId, EndpointUid, EventId, EventRef, Fact, FactKind, LogPosition, Position, RunId, Shard,
    TenantId, Timestamp,
};
use ports::conformance::acked;
use ports::{Ack, Consumer, ConsumerItem, EventLog, EventStore};
use postrider_embedded::{Embedded, Options};
use testkit::SimClock;

const DIR: &str = "POSTRIDER_TEST_KILL_DIR";
const ROUND: &str = "POSTRIDER_TEST_KILL_ROUND";
const ROUNDS: u64 = 6;
/// Acknowledgements of a round before the kill.
const ENOUGH: usize = 400;

fn open(dir: &Path) -> Embedded {
    let options = Options { free_space_floor: 0, ..Options::new(Arc::new(SimClock::default())) };
    Embedded::open(dir, options).expect("open")
}

fn uid() -> EndpointUid {
    EndpointUid::from_slice(&[7; 16]).expect("16 bytes")
}

/// The `number`th fact of a round: both parts of its id are in the event's name.
fn fact(round: u64, number: u64) -> Fact {
    let id = (u128::from(round) << 64 | u128::from(number)).to_be_bytes();
    Fact {
        event: EventRef {
            tenant: TenantId::default_tenant(),
            id: EventId::parse(&format!("evt_{round}_{number}")).expect("valid"),
            at: LogPosition { shard: Shard(0), position: Position(number) },
        },
        endpoint: uid(),
        run: RunId::LOG,
        id: AttemptId::from_slice(&id).expect("16 bytes"),
        time: Timestamp::from_millis(1_772_366_400_000),
        kind: FactKind::Cancelled,
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness tells its child process what to do")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The child process: writes until it is killed, and says what was acknowledged. Does nothing in an ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let (Some(dir), Some(round)) = (env(DIR), env(ROUND)) else {
        return;
    };
    let round: u64 = round.parse().expect("a number");
    let engine = open(Path::new(&dir));
    tokio::join!(
        append(&engine, "x"),
        append(&engine, "y"),
        record(&engine, round, 0),
        record(&engine, round, 1),
        acknowledge(&engine)
    );
}

/// One line in one write: a pipe never cuts it. The newline in front ends whatever the harness has begun.
fn say(kind: char, first: u64, second: u64) {
    let mut out = std::io::stdout().lock();
    let said = out.write_all(format!("\n{kind} {first} {second}\n").as_bytes());
    said.and_then(|()| out.flush()).expect("the parent listens");
}

async fn append(engine: &Embedded, key: &str) {
    let log = engine.log();
    for number in 0u64.. {
        let record = |n: u64| Record {
            key: Some(Bytes::from(format!("{key}{}", n % 5))),
            headers: Vec::new(),
            value: Some(Bytes::from(vec![b'v'; 600])),
        };
        let records = (number..number + 5).map(record).collect();
        for answer in log.append(records).await {
            let at = answer.expect("append").at;
            say('L', at.shard.0.into(), at.position.0);
        }
    }
}

async fn record(engine: &Embedded, round: u64, odd: u64) {
    let store = engine.store();
    for number in (odd..).step_by(2) {
        store.record(&[fact(round, number)]).await.expect("record");
        say('S', round, number);
    }
}

async fn acknowledge(engine: &Embedded) {
    let mut consumer = engine.log().consume("g").await.expect("consume");
    let mut epochs = BTreeMap::new();
    loop {
        match consumer.next().await.expect("next") {
            ConsumerItem::Assigned { shard, epoch, .. } => {
                epochs.insert(shard, epoch);
            }
            ConsumerItem::Records { shard, records } => {
                let upto = records.last().expect("records").at.position;
                let epoch = *epochs.get(&shard).expect("assigned before its records");
                let acked = acked(&mut *consumer, Ack { shard, epoch, upto }).await;
                acked.expect("ack");
                say('A', shard.0.into(), upto.0);
            }
            other @ (ConsumerItem::Leaving { .. }
            | ConsumerItem::Revoked { .. }
            | ConsumerItem::Gap { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

/// What a child said before it was killed.
#[derive(Default)]
struct Said {
    appended: Vec<LogPosition>,
    recorded: Vec<(u64, u64)>,
    acked: BTreeMap<Shard, Position>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let kind = words.next();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        // Lines of the harness are not ours.
        let (Some(first), Some(second)) = (number(), number()) else {
            return;
        };
        let shard = Shard(u16::try_from(first).unwrap_or(u16::MAX));
        let position = Position(second);
        match kind {
            Some("L") => self.appended.push(LogPosition { shard, position }),
            Some("S") => self.recorded.push((first, second)),
            Some("A") => {
                self.acked.insert(shard, position);
            }
            _ => {}
        }
    }

    fn count(&self) -> usize {
        self.appended.len().min(self.recorded.len())
    }
}

/// Starts a child, kills it when it has said enough, and hears the rest of what it said.
fn run_and_kill(dir: &Path, round: u64) -> Said {
    let mut child = Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process");
    let stdout = BufReader::new(child.stdout.take().expect("its output"));
    let mut said = Said::default();
    let mut lines = stdout.split(b'\n');
    let mut killed = false;
    while let Some(Ok(line)) = lines.next() {
        said.hear(&String::from_utf8_lossy(&line));
        if !killed && said.count() >= ENOUGH {
            child.kill().expect("kill");
            killed = true;
        }
    }
    let status = child.wait().expect("wait");
    assert!(killed && !status.success(), "the child ended by itself: {status}");
    said
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill() {
    if env(DIR).is_some() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut acked: BTreeMap<Shard, Position> = BTreeMap::new();
    let mut places: BTreeSet<LogPosition> = BTreeSet::new();
    for round in 0..ROUNDS {
        let said = run_and_kill(dir.path(), round);
        acked.extend(said.acked.iter().map(|(shard, at)| (*shard, *at)));
        let engine = open(dir.path());
        let (log, store) = (engine.log(), engine.store());
        for at in &said.appended {
            let found = log.read(*at).await.expect("read");
            assert!(found.is_some(), "round {round}: record {at} was acknowledged");
        }
        for (of_round, number) in &said.recorded {
            let fact = fact(*of_round, *number);
            let loaded = store.load(&fact.event, uid()).await.expect("load");
            assert_eq!(loaded.facts, [fact], "round {round}");
        }
        for at in &said.appended {
            assert!(places.insert(*at), "round {round}: {at} was given out twice");
        }
        check_acked(&log, &acked).await;
        assert_eq!(engine.check_integrity().await.expect("check"), None);
        engine.close().await;
    }
}

async fn check_acked(log: &Arc<postrider_embedded::Log>, expected: &BTreeMap<Shard, Position>) {
    let mut consumer = log.consume("g").await.expect("consume");
    for _ in log.shards().all() {
        if let ConsumerItem::Assigned { shard, acked, .. } = next(consumer.as_mut()).await {
            let said = expected.get(&shard).copied();
            assert!(acked >= said, "{shard:?} stands at {acked:?}, {said:?} was acknowledged");
        }
    }
}

async fn next(consumer: &mut dyn Consumer) -> ConsumerItem {
    consumer.next().await.expect("next")
}
