//! Lanes of shards that no topic has any more: nobody delivers what waits there.

use std::collections::{BTreeMap, BTreeSet};

use domain::{BacklogKey, LaneRow, Shard};
use eventlog_kafka::{Kafka, Settings};
use ports::{BacklogStore as _, Clock as _, EventLog as _, LaneStore as _};
use runtime::SystemClock;
use store_scylla::Store;

use super::Report;
use crate::failure::Failure;

/// Lanes that are read at once.
const PAGE: usize = 500;

/// What lies in the shards of one topic.
#[derive(Default)]
struct Left {
    shards: usize,
    lanes: usize,
    waiting: usize,
}

/// Tells of lanes whose shards are of no topic that is read.
pub(super) async fn of_nobody(
    kafka: &Kafka,
    store: &Store,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let what = "every lane is in a shard that is read";
    let left = match left(kafka, store).await {
        Ok(left) => left,
        Err(error) => return report.tell(what, Some(error.to_string())),
    };
    if left.is_empty() {
        return report.tell(what, None);
    }
    for (number, left) in left {
        let Left { shards, lanes, waiting } = left;
        let what = format!("{lanes} lane(s) in {shards} shard(s) of topic number {number}");
        if waiting == 0 {
            report.tell(&format!("{what}, which is not read: nothing waits there"), None)?;
            continue;
        }
        let problem = match number {
            0 => "the topic of events has fewer partitions than it had, and nobody delivers what waits there: give it back as many".to_owned(),
            _ => format!(
                "deliveries wait in {waiting} of them, and nobody makes them: name the topic in kafka.topics again under number {number} until they are gone"
            ),
        };
        report.tell(&what, Some(problem))?;
    }
    Ok(())
}

async fn left(kafka: &Kafka, store: &Store) -> ports::Result<BTreeMap<u16, Left>> {
    let read: BTreeSet<Shard> = kafka.log().shards().all().collect();
    let mut found: BTreeMap<u16, Left> = BTreeMap::new();
    let shards = store.shards_with_lanes().await?;
    for shard in shards.into_iter().filter(|shard| !read.contains(shard)) {
        let left = found.entry(Settings::number_of(shard)).or_default();
        left.shards += 1;
        let mut after = None;
        loop {
            let page = store.of_shard(shard, after, PAGE).await?;
            for lane in &page {
                left.lanes += 1;
                left.waiting += usize::from(waits(store, lane).await?);
            }
            after = page.last().map(|lane| lane.key.endpoint);
            if page.len() < PAGE {
                break;
            }
        }
    }
    Ok(found)
}

/// Whether a lane has something to deliver: what its owner last said, else what lies behind its cursor.
async fn waits(store: &Store, lane: &LaneRow) -> ports::Result<bool> {
    if lane.waiting > 0 || lane.skip_from.is_some() {
        return Ok(true);
    }
    let upto = BacklogKey::end_of(SystemClock::new().now());
    let page = store.page(lane.key, lane.cursor, upto, 1).await?;
    Ok(!page.rows.is_empty() || page.next_due.is_some())
}
