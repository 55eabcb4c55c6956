//! Finding one event: among what outlives the log, else by its row, else in the log around the time in its id.

use std::sync::Arc;

use domain::{Event, EventRef, LogPosition, Position, Shard, TenantId, Timestamp};
use ports::{LogRecord, StoredEvent};

use super::publish::event_row_key;
use super::{App, Error, EventName};
use std::time::Duration;

/// Facts of one event that are read at once.
pub(crate) const FACTS_MAX: usize = 1_000;
/// How far before the time in its id a record may lie: clocks differ.
const BEFORE: Duration = Duration::from_secs(5);
/// How far behind the time in its id a record may lie: appends wait.
const BEHIND: Duration = Duration::from_secs(60);
/// Records that one search in the log looks at, over all shards.
const SEARCH_RECORDS_MAX: usize = 50_000;
/// Records that are read at once.
const SEARCH_PAGE: usize = 500;

impl App {
    /// Reads an event.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or its retention has ended.
    pub(crate) async fn event(&self, name: &EventName) -> Result<StoredEvent, Error> {
        self.find_event(name).await?.ok_or_else(|| Error::NotFound(name.to_string()))
    }

    pub(crate) async fn find_event(&self, name: &EventName) -> Result<Option<StoredEvent>, Error> {
        let EventName { tenant, event } = name;
        if let Some(found) = self.deps.events.find(tenant, event).await? {
            return Ok(Some(found));
        }
        let facts = self.deps.events.facts(tenant, event, FACTS_MAX).await?;
        if let Some(fact) = facts.last()
            && let Some(found) = self.read_log(name, fact.event.at).await?
        {
            return Ok(Some(found));
        }
        if let Some(found) = self.find_by_row(name).await? {
            return Ok(Some(found));
        }
        self.find_by_time(name).await
    }

    /// Reads the event of a reference, wherever it is.
    pub(crate) async fn event_at(&self, at: &EventRef) -> Result<Option<Arc<Event>>, Error> {
        let name = EventName { tenant: at.tenant.clone(), event: at.id.clone() };
        if let Some(found) = self.read_log(&name, at.at).await? {
            return Ok(Some(found.event));
        }
        let found = self.deps.events.find(&at.tenant, &at.id).await?;
        Ok(found.map(|found| found.event))
    }

    async fn find_by_row(&self, name: &EventName) -> Result<Option<StoredEvent>, Error> {
        let by_id = event_row_key(&name.event);
        let keys = [name.event.as_str(), by_id.as_str()];
        let rows = self.deps.idempotency.get(&name.tenant, &keys).await?;
        for row in rows.into_iter().flatten() {
            if row.event == name.event
                && let Some(found) = self.read_log(name, row.at).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn read_log(
        &self,
        name: &EventName,
        at: LogPosition,
    ) -> Result<Option<StoredEvent>, Error> {
        if !at.is_in_log() {
            return Ok(None);
        }
        let found = self.deps.log.read(at).await?;
        Ok(found
            .and_then(|found| self.decode(&found, &name.tenant))
            .filter(|found| found.at.id == name.event))
    }

    /// Looks around the time in the id; first where an event without ordering key lies.
    async fn find_by_time(&self, name: &EventName) -> Result<Option<StoredEvent>, Error> {
        let Some(ms) = name.event.embedded_time_ms() else {
            return Ok(None);
        };
        let time = Timestamp::from_millis(ms);
        let shards = self.deps.log.shards();
        let likely = shards.of_key(name.event.as_str().as_bytes());
        let others = shards.all().filter(|shard| *shard != likely);
        let mut left = SEARCH_RECORDS_MAX;
        for shard in std::iter::once(likely).chain(others) {
            let from = self.deps.log.position_at(shard, time - BEFORE).await?;
            let to = self.deps.log.position_at(shard, time + BEHIND).await?;
            let found = self.search(name, shard, (from, to), &mut left).await?;
            if found.is_some() || left == 0 {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn search(
        &self,
        name: &EventName,
        shard: Shard,
        (from, to): (Position, Position),
        left: &mut usize,
    ) -> Result<Option<StoredEvent>, Error> {
        let mut from = Some(from);
        while let Some(start) = from.filter(|start| *start < to && *left > 0) {
            let limit = SEARCH_PAGE.min(*left);
            let page = self.deps.log.read_range(shard, start, to, limit).await?;
            *left = left.saturating_sub(page.records.len().max(1));
            let found = page
                .records
                .iter()
                .filter_map(|found| self.decode(found, &name.tenant))
                .find(|found| found.at.id == name.event);
            if found.is_some() {
                return Ok(found);
            }
            from = page.next;
        }
        Ok(None)
    }

    /// Reads a record as an event of `tenant`; `None` when it is another's, or none at all.
    pub(crate) fn decode(&self, found: &LogRecord, tenant: &TenantId) -> Option<StoredEvent> {
        let event = found.event(&self.config.api_version).ok()?;
        if event.tenant != *tenant {
            return None;
        }
        Some(StoredEvent {
            at: EventRef { tenant: event.tenant.clone(), id: event.id.clone(), at: found.at },
            event: Arc::new(event),
        })
    }
}
