//! What the in-memory log and store take of a delivery's CPU time: they are made for tests, and their cost is not the engine's.
//!
//! Measured alone after a run, on the same thread: its records are read once more, its facts recorded once more. A clock around the worker's own calls would
//! count what other threads do while this one is interrupted.

use std::time::Duration;

use anyhow::{Result, anyhow};
use domain::{Fact, FactKind};
use ports::{ConsumerItem, EventLog as _, EventStore as _};
use testkit::MemoryStore;

use super::world::World;
use crate::figures::micros_each;
use crate::usage::Cpu;

/// Facts of one call: writes of a few milliseconds.
const FACTS_BATCH: usize = 64;
/// CPU time is counted in hundredths of a second: work is repeated until it took so long, a few times at most.
const LONG_ENOUGH: Duration = Duration::from_millis(300);
const ROUNDS_MAX: u16 = 10;

/// What the ports of a run cost alone.
pub(super) struct Alone {
    /// Reading and recording, microseconds a delivery.
    pub(super) micros: f64,
    /// Attempts that the run recorded.
    pub(super) recorded: u64,
}

/// Repeats the calls of a run in which `records` were read.
pub(super) async fn alone(world: &World, records: u64, fan_out: u64) -> Result<Alone> {
    let mut facts = world.store.all_facts();
    facts.retain(|fact| matches!(fact.kind, FactKind::Attempt(_)));
    facts.sort_by_key(|fact| fact.time);
    let recorded = u64::try_from(facts.len())?;
    let (before, mut rounds) = (Cpu::of_this_thread()?, 0);
    let mut used = Duration::ZERO;
    while used < LONG_ENOUGH && rounds < ROUNDS_MAX {
        rounds += 1;
        record(&world.empty_store(), &facts).await?;
        used = Cpu::of_this_thread()?.since(before).total();
    }
    let recording = micros_each(used, recorded * u64::from(rounds));
    let (before, mut rounds) = (Cpu::of_this_thread()?, 0);
    let mut used = Duration::ZERO;
    while used < LONG_ENOUGH && rounds < ROUNDS_MAX {
        rounds += 1;
        read(world, &format!("again-{rounds}"), records).await?;
        used = Cpu::of_this_thread()?.since(before).total();
    }
    let reading = micros_each(used, records * fan_out * u64::from(rounds));
    Ok(Alone { micros: recording + reading, recorded })
}

async fn record(store: &MemoryStore, facts: &[Fact]) -> Result<()> {
    for batch in facts.chunks(FACTS_BATCH) {
        store.record(batch).await?;
    }
    Ok(())
}

async fn read(world: &World, group: &str, records: u64) -> Result<()> {
    let mut consumer = world.log.consume(group).await?;
    let mut left = records;
    while left > 0 {
        match consumer.next().await? {
            ConsumerItem::Records { records, .. } => {
                left = left.saturating_sub(u64::try_from(records.len())?);
            }
            ConsumerItem::Assigned { .. } => {}
            item @ (ConsumerItem::Leaving { .. }
            | ConsumerItem::Revoked { .. }
            | ConsumerItem::Gap { .. }) => {
                return Err(anyhow!("a log that nobody else reads said {item:?}"));
            }
        }
    }
    Ok(())
}
