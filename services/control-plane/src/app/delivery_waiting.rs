//! Deliveries that wait in the backlog and had no attempt: no request of theirs can be listed yet.
//!
//! The lanes of an endpoint, one a shard, are merged by due time. Each gives a bounded part after the cursor; what is merged is certain up to the
//! least of the parts' ends. A row is looked up once, and left out when its delivery had an attempt: then the list by attempts has it.

use std::collections::BTreeSet;

use domain::{
    BacklogKey, BacklogRow, Endpoint, EventRef, FactKind, LaneKey, Seq, Shard, Timestamp,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::deliveries::view;
use super::{App, DeliveryView, Error};

/// Rows that are read of one lane at once.
const ROWS_PAGE: usize = 200;
/// Rows that one call looks up.
const ROWS_MAX: usize = 2_000;
/// Lanes that are read at once.
const READS_AT_ONCE: usize = 16;

/// The order of a list: due time, the row's number in its lane, and the shard.
pub(super) type Key = (i64, u64, u16);

/// What a call found.
pub(super) struct Waiting {
    pub(super) items: Vec<DeliveryView>,
    /// Where the next page goes on; `None` when nothing more waits.
    pub(super) next: Option<Key>,
}

/// The rows of all lanes that come next, as far as their order is certain.
struct Merged {
    rows: Vec<(Key, BacklogRow)>,
    is_end: bool,
}

impl App {
    /// Lists what waits and had no attempt, what is due first first: at most `limit`, after `after`.
    pub(super) async fn waiting(
        &self,
        endpoint: &Endpoint,
        mut after: Option<Key>,
        limit: usize,
    ) -> Result<Waiting, Error> {
        let mut items = Vec::new();
        let mut seen: BTreeSet<EventRef> = BTreeSet::new();
        let mut looked_up = 0;
        loop {
            let merged = self.next_rows(endpoint, after).await?;
            for (key, row) in merged.rows {
                if items.len() >= limit || looked_up >= ROWS_MAX {
                    return Ok(Waiting { items, next: after });
                }
                after = Some(key);
                // A later number has attempts before it.
                if row.number == 1 && seen.insert(row.event.clone()) {
                    looked_up += 1;
                    items.extend(self.untried(endpoint, &row).await?);
                }
            }
            if merged.is_end {
                return Ok(Waiting { items, next: None });
            }
        }
    }

    async fn next_rows(&self, endpoint: &Endpoint, after: Option<Key>) -> Result<Merged, Error> {
        let parts: Vec<(Shard, ports::BacklogPage)> = stream::iter(self.deps.log.shards().all())
            .map(|shard| self.lane_part(endpoint, shard, after))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let (mut rows, mut certain): (_, Option<Key>) = (Vec::new(), None);
        for (shard, part) in parts {
            let key = |row: &BacklogRow| (row.key.due.as_millis(), row.key.seq.0, shard.0);
            if part.next_due.is_some() {
                let end = part.rows.last().map(key);
                certain = [certain, end].into_iter().flatten().min();
            }
            rows.extend(part.rows.into_iter().map(|row| (key(&row), row)));
        }
        let is_new = |key: &Key| after.is_none_or(|after| *key > after);
        rows.retain(|(key, _)| is_new(key) && certain.is_none_or(|certain| *key <= certain));
        rows.sort_by_key(|(key, _)| *key);
        Ok(Merged { rows, is_end: certain.is_none() })
    }

    /// The part of a lane that follows `after`. It may begin with the row at `after` itself, which another lane has too.
    async fn lane_part(
        &self,
        endpoint: &Endpoint,
        shard: Shard,
        after: Option<Key>,
    ) -> Result<(Shard, ports::BacklogPage), Error> {
        let lane = LaneKey { shard, endpoint: endpoint.uid };
        let cursor = self.deps.lanes.get(lane).await?.map_or(BacklogKey::START, |row| row.cursor);
        let after = after.map_or(BacklogKey::START, |(due, seq, _)| before(due, seq));
        let all = BacklogKey::end_of(Timestamp::MAX);
        let page = self.deps.backlog.page(lane, cursor.max(after), all, ROWS_PAGE).await?;
        Ok((shard, page))
    }

    /// The delivery of a row, unless it had an attempt.
    async fn untried(
        &self,
        endpoint: &Endpoint,
        row: &BacklogRow,
    ) -> Result<Option<DeliveryView>, Error> {
        let loaded = self.deps.events.load(&row.event, endpoint.uid).await?;
        if loaded.facts.iter().any(|fact| matches!(fact.kind, FactKind::Attempt(_))) {
            return Ok(None);
        }
        let event = match loaded.event {
            Some(event) => Some(event),
            None => self.event_at(&row.event).await?,
        };
        Ok(Some(view(endpoint, row.event.clone(), &loaded.facts, event)))
    }
}

/// The key just before a row's.
fn before(due: i64, seq: u64) -> BacklogKey {
    match seq.checked_sub(1) {
        Some(seq) => BacklogKey { due: Timestamp::from_millis(due), seq: Seq(seq) },
        None => BacklogKey::end_of(Timestamp::from_millis(due.saturating_sub(1))),
    }
}
