//! A replay: the shards of the log one after the other, each from the start of the range to its end.

use domain::{CommandId, CommandKind, EventPattern, JobCursor, Position, Shard, Timestamp, limits};

use super::window::Started;
use super::{Stop, Work, run_of};
use crate::app::commands::Order;
use crate::app::resend::matcher;
use crate::app::seed::uuid_v7;

/// Records of one page.
const PAGE: usize = 250;

/// The range and the filter of one.
pub(super) struct Range<'j> {
    pub(super) endpoint: domain::EndpointUid,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) event_types: &'j [EventPattern],
}

impl Work {
    /// Replays one page. Returns whether there is more.
    pub(super) async fn replay_page(&mut self, range: &Range<'_>) -> Result<bool, Stop> {
        let log = self.app.deps.log.clone();
        if self.job.counts.total.is_none() {
            let mut total = 0;
            for shard in log.shards().all() {
                let start = log.position_at(shard, range.start).await?;
                let end = log.position_at(shard, range.end).await?;
                total += end.0.saturating_sub(start.0);
            }
            self.job.counts.total = Some(total);
        }
        let Some((shard, next)) = self.place(range).await? else {
            return Ok(false);
        };
        let low = log.bounds(shard).await?.low;
        if low > next && self.job.error.is_empty() {
            let lost = low.0 - next.0;
            self.job.error = format!(
                "the log has let {lost} records go before they were replayed; all others were"
            );
        }
        let end = log.position_at(shard, range.end).await?;
        let page = log.read_range(shard, next.max(low), end, PAGE).await?;
        self.send_page(range, shard, &page.records).await?;
        self.job.counts.looked_at += page.records.len() as u64;
        self.job.cursor = JobCursor::Log { shard, next: page.next.unwrap_or(end.max(next)) };
        Ok(true)
    }

    /// Where to read on: the first shard that is not read to the end of the range.
    async fn place(&self, range: &Range<'_>) -> Result<Option<(Shard, Position)>, Stop> {
        let log = &self.app.deps.log;
        let (at, next) = match self.job.cursor {
            JobCursor::Log { shard, next } => (Some(shard), Some(next)),
            JobCursor::Start | JobCursor::Letters { .. } => (None, None),
        };
        for shard in log.shards().all().filter(|shard| at.is_none_or(|at| *shard >= at)) {
            let from = match next.filter(|_| at == Some(shard)) {
                Some(next) => next,
                None => log.position_at(shard, range.start).await?,
            };
            if from < log.position_at(shard, range.end).await? {
                return Ok(Some((shard, from)));
            }
        }
        Ok(None)
    }

    async fn send_page(
        &mut self,
        range: &Range<'_>,
        shard: Shard,
        records: &[ports::LogRecord],
    ) -> Result<(), Stop> {
        let (app, tenant) = (self.app.clone(), self.job.tenant.clone());
        let config = app.tenant(&tenant).await?;
        if !config.endpoints.iter().any(|config| config.endpoint.uid == range.endpoint) {
            return Err(Stop::deleted());
        }
        let matcher = matcher(&config);
        let now = app.deps.clock.now();
        let mut events = Vec::new();
        for record in records {
            let Some(found) = app.decode(record, &tenant) else { continue };
            let wanted = |pattern: &EventPattern| pattern.matches(&found.event.event_type);
            let is_wanted = range.event_types.is_empty() || range.event_types.iter().any(wanted);
            if is_wanted && matcher.matches_endpoint(&found.event, range.endpoint) {
                events.push(found);
            }
        }
        let mut orders = Vec::with_capacity(events.len());
        for found in &events {
            let run = run_of(&self.job, &found.at.at.packed().to_be_bytes());
            orders.push(Order {
                id: CommandId(uuid_v7(now, &app.deps.rng.next_u128().to_be_bytes())),
                shard,
                time: now,
                endpoint: range.endpoint,
                kind: CommandKind::Replay { event: found.at.clone(), run },
            });
            self.window.push(Started { event: found.at.clone(), endpoint: range.endpoint, run });
        }
        if !events.is_empty() {
            // What waits may outlive the record.
            app.deps.events.put_events(&events).await?;
            app.send(&tenant, orders).await?;
        }
        self.job.counts.done += events.len() as u64;
        Ok(())
    }
}

/// A page and what waited before it stay within what the architecture allows.
const _: () = assert!(super::window::WINDOW_MAX + PAGE <= limits::JOB_AHEAD_MAX);
