//! Listing events: the shards of the log read backwards and merged, newest first.
//!
//! # Theory of operation
//!
//! Positions of a shard increase with time, and the log reads forwards only: so each shard is read in windows of positions, from its end downwards, and
//! windows grow while they hold nothing of the tenant. The newest event of all shards is known once every shard has one in hand or is read to its beginning.
//! A call looks at a bounded number of positions; when they are used up it answers with what it has, maybe nothing, and a token to go on.
//! The token holds, for each shard, the position below which nothing has been given yet.

use std::collections::BTreeMap;

use domain::{Position, Shard, TenantId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ports::StoredEvent;

use super::page::ListName;
use super::{App, Error, Page, PageRequest};

/// Positions in a shard's first window.
const WINDOW_FIRST: u64 = 64;
/// Positions in a shard's largest window.
const WINDOW_MAX: u64 = 4_096;
/// Positions that one call looks at.
const POSITIONS_MAX: u64 = 100_000;
/// Records that are read at once.
const READ_MAX: usize = 256;
/// Bytes of data in one page; the last event may exceed them.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Shards whose bounds are read at once.
const READS_AT_ONCE: usize = 16;

/// Only events that the log took within this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TimeRange {
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
}

/// One shard on its way down.
struct Descent {
    shard: Shard,
    low: Position,
    /// Nothing at or above this has to be read any more.
    below: Position,
    window: u64,
    /// Events in hand, oldest first, each with the log's time.
    ready: Vec<(Timestamp, StoredEvent)>,
    /// The log's time of the oldest record read: everything below is older.
    horizon: Timestamp,
}

impl Descent {
    fn is_read(&self) -> bool {
        self.below <= self.low
    }

    fn needs_reading(&self) -> bool {
        self.ready.is_empty() && !self.is_read()
    }

    /// Where the next page goes on: below what was given.
    fn cursor(&self) -> Position {
        match self.ready.last() {
            Some((_, event)) => event.at.at.position.next(),
            None => self.below,
        }
    }

    fn is_done(&self) -> bool {
        self.ready.is_empty() && self.is_read()
    }
}

impl App {
    /// Lists a tenant's events, newest first, as far back as the log goes.
    pub(crate) async fn list_events(
        &self,
        tenant: &TenantId,
        range: TimeRange,
        page: &PageRequest,
    ) -> Result<Page<StoredEvent>, Error> {
        let parent = format!("tenants/{tenant}");
        let filter = format!("{:?} {:?}", range.start, range.end);
        let list = ListName(&["events", &parent, &filter]);
        let below: Option<BTreeMap<u16, u64>> = self.open_token(&list, &page.token)?;
        self.tenant(tenant).await?;
        let mut shards = self.descents(range, below.as_ref()).await?;
        let (mut items, mut bytes, mut left) = (Vec::new(), 0, POSITIONS_MAX);
        while items.len() < page.size && bytes < PAGE_BYTES_MAX {
            self.read_shards(tenant, &mut shards, &mut left).await?;
            let Some(event) = take_newest(&mut shards) else {
                break;
            };
            bytes += event.event.data.len();
            items.push(event);
        }
        let next = if shards.iter().all(Descent::is_done) {
            String::new()
        } else {
            let cursors: BTreeMap<u16, u64> =
                shards.iter().map(|shard| (shard.shard.0, shard.cursor().0)).collect();
            self.make_token(&list, &cursors)
        };
        Ok(Page { items, next })
    }

    async fn descents(
        &self,
        range: TimeRange,
        below: Option<&BTreeMap<u16, u64>>,
    ) -> Result<Vec<Descent>, Error> {
        stream::iter(self.deps.log.shards().all())
            .map(|shard| {
                let below = below.map(|all| all.get(&shard.0).copied().unwrap_or(0));
                self.descent(shard, range, below.map(Position))
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn descent(
        &self,
        shard: Shard,
        range: TimeRange,
        below: Option<Position>,
    ) -> Result<Descent, Error> {
        let log = &self.deps.log;
        let bounds = log.bounds(shard).await?;
        let low = match range.start {
            Some(start) => log.position_at(shard, start).await?.max(bounds.low),
            None => bounds.low,
        };
        let below = match (below, range.end) {
            (Some(below), _) => below,
            (None, Some(end)) => log.position_at(shard, end).await?.min(bounds.next),
            (None, None) => bounds.next,
        };
        Ok(Descent {
            shard,
            low,
            below,
            window: WINDOW_FIRST,
            ready: Vec::new(),
            horizon: Timestamp::MAX,
        })
    }

    /// Reads on until every shard has an event in hand or is read, or the positions are used up.
    async fn read_shards(
        &self,
        tenant: &TenantId,
        shards: &mut [Descent],
        left: &mut u64,
    ) -> Result<(), Error> {
        for shard in shards {
            while shard.needs_reading() && *left > 0 {
                self.read_window(tenant, shard, left).await?;
            }
        }
        Ok(())
    }

    async fn read_window(
        &self,
        tenant: &TenantId,
        shard: &mut Descent,
        left: &mut u64,
    ) -> Result<(), Error> {
        let window = shard.window.min(*left);
        let from = Position(shard.below.0.saturating_sub(window)).max(shard.low);
        let mut start = Some(from);
        while let Some(at) = start.filter(|at| *at < shard.below) {
            let page = self.deps.log.read_range(shard.shard, at, shard.below, READ_MAX).await?;
            if let Some(oldest) = page.records.first() {
                shard.horizon = shard.horizon.min(oldest.time);
            }
            let ours = page
                .records
                .iter()
                .filter_map(|found| Some((found.time, self.decode(found, tenant)?)));
            shard.ready.extend(ours);
            start = page.next;
        }
        shard.below = from;
        *left = left.saturating_sub(window.max(1));
        shard.window = (shard.window * 2).min(WINDOW_MAX);
        Ok(())
    }
}

/// Takes the newest event in hand, unless a shard that was not read far enough may have a newer one.
fn take_newest(shards: &mut [Descent]) -> Option<StoredEvent> {
    let unread =
        shards.iter().filter(|shard| shard.needs_reading()).map(|shard| shard.horizon).max();
    let newest = shards
        .iter_mut()
        .filter_map(|shard| Some((shard.ready.last()?.0, shard)))
        .max_by_key(|(time, _)| *time);
    let (time, shard) = newest?;
    if unread.is_some_and(|horizon| horizon > time) {
        return None;
    }
    shard.ready.pop().map(|(_, event)| event)
}
