//! How fast the embedded engine takes records and facts on this machine: `cargo run --release -p postrider-embedded --example throughput`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::record::Record;
use domain::{
    Attempt, AttemptId, Disposition, EndpointUid, EventId, EventRef, Fact, FactKind, LogPosition,
    OutcomeKind, Position, RunId, Shard, TenantId, Timestamp, Trigger,
};
use ports::{EventLog, EventStore};
use postrider_embedded::{Embedded, Options};
use testkit::SimClock;

const CALLERS: u64 = 8;
const BATCH: u64 = 100;

fn record(n: u64) -> Record {
    Record {
        key: Some(Bytes::from(n.to_string())),
        headers: Vec::new(),
        value: Some(Bytes::from(vec![b'x'; 1_024])),
    }
}

fn fact(n: u64) -> Fact {
    let id = |kind: u128| (kind << 100 | u128::from(n)).to_be_bytes();
    let attempt = Attempt {
        number: 1,
        trigger: Trigger::Event,
        outcome: OutcomeKind::Answered(200),
        duration: Duration::from_millis(12),
        excerpt: Bytes::from_static(b"ok"),
        detail: String::new(),
        signatures: 2,
        disposition: Disposition::Delivered,
    };
    Fact {
        event: EventRef {
            tenant: TenantId::default_tenant(),
            id: EventId::parse(&format!("evt_{n:032}")).expect("valid"),
            at: LogPosition { shard: Shard(0), position: Position(n) },
        },
        endpoint: EndpointUid::from_slice(&(u128::from(n % 50)).to_be_bytes()).expect("16 bytes"),
        run: RunId::LOG,
        id: AttemptId::from_slice(&id(1)).expect("16 bytes"),
        time: Timestamp::from_millis(1_772_366_400_000),
        kind: FactKind::Attempt(attempt),
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}

fn say(what: &str, count: u64, began: std::time::Instant) -> std::io::Result<()> {
    let seconds = began.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    writeln!(std::io::stdout(), "{what}: {count} in {seconds:.2} s, {rate:.0}/s")
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = Options::new(Arc::new(SimClock::default()));
    let engine = Embedded::open(dir.path(), options).map_err(std::io::Error::other)?;

    let (log, rounds) = (engine.log(), 200);
    let append = |caller: u64| {
        let log = Arc::clone(&log);
        async move {
            for round in 0..rounds {
                let first = (caller * rounds + round) * BATCH;
                let records = (first..first + BATCH).map(record).collect();
                let answers = log.append(records).await;
                assert!(answers.iter().all(Result::is_ok), "append");
            }
        }
    };
    let began = stopwatch();
    tokio::join!(
        append(0),
        append(1),
        append(2),
        append(3),
        append(4),
        append(5),
        append(6),
        append(7)
    );
    say("append, 1 KB, batches of 100, 8 callers", CALLERS * rounds * BATCH, began)?;

    let (store, rounds) = (engine.store(), 100);
    let record = |caller: u64| {
        let store = Arc::clone(&store);
        async move {
            for round in 0..rounds {
                let first = (round * CALLERS + caller) * BATCH;
                let facts: Vec<Fact> = (first..first + BATCH).map(fact).collect();
                store.record(&facts).await.expect("record");
            }
        }
    };
    let began = stopwatch();
    tokio::join!(
        record(0),
        record(1),
        record(2),
        record(3),
        record(4),
        record(5),
        record(6),
        record(7)
    );
    say("attempts, batches of 100, 8 callers", CALLERS * rounds * BATCH, began)?;

    let began = stopwatch();
    for n in 0..20_000 {
        let fact = fact(n);
        let loaded = store.load(&fact.event, fact.endpoint).await;
        assert!(loaded.is_ok_and(|loaded| loaded.facts.len() == 1), "load");
    }
    say("load, one caller", 20_000, began)?;
    engine.close().await;
    Ok(())
}
