//! Takes records from the log, decodes and matches them, and acks what is handed off.

mod repeats;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::record::Poison;
use domain::{
    EndpointUid, Epoch, Event, LaneRow, LineRow, LogPosition, Position, Revision, Shard, TenantId,
};
use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use ports::{Ack, AckError, Consumer, ConsumerItem, Lease, LogRecord};
use runtime::Shutdown;
use tokio::sync::mpsc;

use self::repeats::Decided;
use crate::calls::{cause, next_wait, remedy, within};
use crate::config::{Config, Deps};
use crate::former::Former;
use crate::poison::PoisonWatch;
use crate::progress::Follower;
use crate::recent::Recent;
use crate::tenants::{TenantView, Tenants};

/// What the loop hears of the log.
pub(crate) enum FromLog {
    /// A shard is ours: its lanes, and the tenants that they belong to.
    Assigned {
        shard: Shard,
        epoch: Epoch,
        acked: Option<Position>,
        head: Position,
        lease: Lease,
        lanes: Vec<LaneRow>,
        lines: Vec<LineRow>,
        views: Vec<Arc<TenantView>>,
    },
    /// Records of a shard with the endpoints that they match, and the tenants' views that they were matched with.
    Records { records: Vec<MatchedRecord>, views: Vec<Arc<TenantView>> },
    /// Another worker waits for a shard.
    Leaving(Shard),
    /// A shard is ours no more.
    Revoked(Shard),
}

/// A record with the endpoints that it matches; `None` where it is no event, or a repeat of one.
pub(crate) struct MatchedRecord {
    pub(crate) at: LogPosition,
    pub(crate) bytes: usize,
    pub(crate) matched: Option<Matched>,
}

/// An event with the endpoints that it matches.
type Matched = (Arc<Event>, Vec<EndpointUid>);

/// What the log is told of the shards that were handed off.
#[derive(Default)]
pub(crate) struct HandedOff {
    /// The newest position of each shard.
    pub(crate) acks: BTreeMap<Shard, (Epoch, Position)>,
    /// Shards of which nothing is under way any more, for the workers that wait for them.
    pub(crate) released: BTreeMap<Shard, Epoch>,
}

impl HandedOff {
    /// Adds what came later.
    fn add(&mut self, later: Self) {
        self.acks.extend(later.acks);
        self.released.extend(later.released);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.released.is_empty()
    }

    /// There is nothing to tell of a shard any more.
    pub(crate) fn forget(&mut self, shard: Shard) {
        self.acks.remove(&shard);
        self.released.remove(&shard);
    }
}

const RETRY: Duration = Duration::from_millis(250);
/// Wait before a position that could not be saved is saved again: longer than positions of a shard under load are apart, which need no retry.
const ACK_RETRY: Duration = Duration::from_secs(1);
/// Lanes that are read at once at a take-over.
const LANES_PAGE: usize = 500;
/// Items of the log that are prepared at once: a take-over of several shards reads them together. Each holds at most 1 MiB.
const PREPARING_MAX: usize = 8;
/// Tenants that are loaded at once for one item.
const TENANTS_AT_ONCE: usize = 32;

pub(crate) struct Reader {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) poison: PoisonWatch,
    pub(crate) former: Former,
    pub(crate) progress: Follower,
    pub(crate) recent: Recent,
}

impl Reader {
    /// Reads until the shutdown begins, and tells the log what is handed off until the loop has gone. Nothing that waits for the store keeps that waiting.
    pub(crate) async fn run(
        self,
        items: mpsc::Sender<FromLog>,
        mut told: mpsc::Receiver<HandedOff>,
        shutdown: Shutdown,
    ) {
        let Some(mut consumer) = self.join(&shutdown).await else { return };
        self.progress.joined(self.deps.clock.monotonic());
        let mut preparing = FuturesOrdered::new();
        let mut ready: Option<FromLog> = None;
        // What comes next is prepared after what is under way has been handed over.
        let mut settling = false;
        // What the log did not take is told again, also when nothing follows it: until then its shard looks as if it stood still.
        let mut owed = HandedOff::default();
        loop {
            settling &= !preparing.is_empty() || ready.is_some();
            let has_place = preparing.len() < PREPARING_MAX && !settling;
            tokio::select! {
                biased;
                handed_off = told.recv() => match handed_off {
                    Some(handed_off) => {
                        owed.add(handed_off);
                        owed = self.tell(&mut *consumer, owed).await;
                    }
                    None => return,
                },
                () = self.deps.clock.sleep(ACK_RETRY), if !owed.is_empty() => {
                    owed = self.tell(&mut *consumer, owed).await;
                }
                // What was taken from the log and not handed over is not acked: it is given again after the start.
                () = shutdown.cancelled() => break,
                place = items.reserve(), if ready.is_some() => match (place, ready.take()) {
                    (Ok(place), Some(item)) => {
                        if let FromLog::Revoked(shard) = &item {
                            self.former.begin(*shard);
                        }
                        place.send(item);
                    }
                    (Ok(_), None) => {}
                    (Err(_), _) => return,
                },
                Some(item) = preparing.next(), if ready.is_none() => ready = item,
                next = consumer.next(), if has_place => {
                    settling = settles(&next);
                    preparing.push_back(self.prepare(next));
                }
            }
        }
        drop(preparing);
        while let Some(handed_off) = told.recv().await {
            owed.add(handed_off);
            owed = self.tell(&mut *consumer, owed).await;
        }
    }

    async fn join(&self, shutdown: &Shutdown) -> Option<Box<dyn Consumer>> {
        loop {
            match self.deps.log.consume(&self.config.group).await {
                Ok(consumer) => return Some(consumer),
                Err(error) => self.say_unreadable(&error),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                () = self.deps.clock.sleep(RETRY) => {}
            }
        }
    }

    async fn prepare(&self, item: ports::Result<ConsumerItem>) -> Option<FromLog> {
        match item {
            Ok(ConsumerItem::Assigned { shard, epoch, acked, head, lease }) => {
                self.progress.assigned(shard, acked, &lease);
                self.poison.forget(shard);
                self.former.ended(shard, &*self.deps.clock).await;
                let (lanes, lines, views) = self.take_over(shard).await;
                Some(FromLog::Assigned { shard, epoch, acked, head, lease, lanes, lines, views })
            }
            Ok(ConsumerItem::Records { shard, records }) => {
                self.match_records(shard, records).await
            }
            Ok(ConsumerItem::Leaving { shard }) => Some(FromLog::Leaving(shard)),
            Ok(ConsumerItem::Revoked { shard }) => {
                self.progress.revoked(shard);
                Some(FromLog::Revoked(shard))
            }
            Ok(ConsumerItem::Gap { shard, from, to }) => {
                self.deps.metrics.records_lost(to.0.saturating_sub(from.0));
                tracing::error!(
                    shard = shard.0,
                    from = from.0,
                    to = to.0,
                    "events are lost: the log's retention passed what was not delivered yet; make the retention longer or the workers faster",
                );
                None
            }
            Err(error) => {
                self.say_unreadable(&error);
                self.deps.clock.sleep(RETRY).await;
                None
            }
        }
    }

    fn say_unreadable(&self, error: &ports::Error) {
        let cause = cause(error);
        let why = cause.clone().unwrap_or_else(|| error.to_string());
        if self.progress.unreadable(why, self.deps.clock.monotonic()) {
            tracing::warn!(%error, cause, "cannot read the event log: what it holds waits, and it is tried again until it can be read");
        }
    }

    /// Reads the lanes of a shard, and the configuration of their tenants.
    async fn take_over(&self, shard: Shard) -> (Vec<LaneRow>, Vec<LineRow>, Vec<Arc<TenantView>>) {
        let mut lanes: Vec<LaneRow> = Vec::new();
        let mut told = false;
        loop {
            let after = lanes.last().map(|lane| lane.key.endpoint);
            let page = self.deps.lanes.of_shard(shard, after, LANES_PAGE);
            match within(&*self.deps.clock, page).await {
                Ok(page) => {
                    let is_last = page.len() < LANES_PAGE;
                    lanes.extend(page);
                    if is_last {
                        break;
                    }
                }
                Err(error) => {
                    let what = "the lanes of a shard that was taken over";
                    self.wait_after(&error, &mut told, what, &shard.0).await;
                }
            }
        }
        let tenants = lanes.iter().map(|lane| (lane.tenant.clone(), Revision(0)));
        let views = self.views(tenants.collect()).await;
        let lines = self.lines_of(shard, &mut told).await;
        (lanes, lines, views.into_values().collect())
    }

    /// Reads the lines of a shard that are open.
    async fn lines_of(&self, shard: Shard, told: &mut bool) -> Vec<LineRow> {
        let mut lines: Vec<LineRow> = Vec::new();
        loop {
            let after = lines.last().map(|line| (line.lane.endpoint, line.line));
            let page = self.deps.lines.of_shard(shard, after, LANES_PAGE);
            match within(&*self.deps.clock, page).await {
                Ok(page) if page.is_empty() => return lines,
                Ok(page) => lines.extend(page),
                Err(error) => {
                    let what = "the lines of a shard that was taken over";
                    self.wait_after(&error, told, what, &shard.0).await;
                }
            }
        }
    }

    /// Decodes and matches records. `None` for those of a shard that has stopped: they stay unacked, and are given again after the next assignment.
    async fn match_records(&self, shard: Shard, records: Vec<LogRecord>) -> Option<FromLog> {
        let places = records.iter().map(|record| (record.at.position, record.time));
        self.progress.read(shard, places, self.deps.clock.monotonic());
        self.deps.metrics.records_read(records.len());
        if self.poison.has_stopped(shard) {
            return None;
        }
        let decoded: Vec<Result<Arc<Event>, Poison>> =
            records.iter().map(|record| self.decode(record)).collect();
        let mut wanted: BTreeMap<TenantId, Revision> = BTreeMap::new();
        for event in decoded.iter().flatten() {
            let newest = wanted.entry(event.tenant.clone()).or_default();
            *newest = (*newest).max(event.revision.unwrap_or_default());
        }
        let views = self.views(wanted).await;
        let known = |event: Arc<Event>| {
            let unknown = || Poison {
                field: "postrider_tenant",
                reason: format!("there is no tenant {}", event.tenant),
            };
            let view = views.get(&event.tenant).ok_or_else(unknown)?;
            let uids = view.matcher.matching(&event).into_iter().collect();
            Ok(Some((event, uids)))
        };
        let mut decided: Vec<Decided> =
            decoded.into_iter().map(|event| event.and_then(known)).collect();
        self.leave_out_repeats(&records, &mut decided).await;
        if self.poison.stops_at(shard, decided.iter().map(Result::is_err)) {
            tracing::error!(
                shard = shard.0,
                "most records of a shard are no events: it stops, and nothing of it is passed over; correct their producer, then restart this process"
            );
            return None;
        }
        let mut matched = Vec::with_capacity(records.len());
        for (record, decided) in records.into_iter().zip(decided) {
            let bytes = record.record.size();
            let found = match decided {
                Ok(found) => found,
                Err(poison) => {
                    self.set_aside(&record, &poison).await;
                    None
                }
            };
            matched.push(MatchedRecord { at: record.at, bytes, matched: found });
        }
        Some(FromLog::Records { records: matched, views: views.into_values().collect() })
    }

    fn decode(&self, record: &LogRecord) -> Result<Arc<Event>, Poison> {
        record.event(&self.config.api_version).map(Arc::new)
    }

    /// Puts a record that is no event where a person finds it; waits for that as long as it must, since the shard goes on without it then.
    async fn set_aside(&self, record: &LogRecord, poison: &Poison) {
        tracing::error!(at = %record.at, %poison, "a record of the log is no event and is set aside");
        let mut told = false;
        loop {
            let call = self.deps.log.quarantine(record, poison);
            match within(&*self.deps.clock, call).await {
                Ok(()) => return self.deps.metrics.record_quarantined(),
                Err(error) => {
                    self.wait_after(&error, &mut told, "the quarantine", &record.at).await;
                }
            }
        }
    }

    /// The views of tenants, each at the given revision or newer. Those that do not exist are left out.
    async fn views(
        &self,
        wanted: BTreeMap<TenantId, Revision>,
    ) -> BTreeMap<TenantId, Arc<TenantView>> {
        let mut wanted = wanted.into_iter();
        let mut loading = FuturesUnordered::new();
        let mut views = BTreeMap::new();
        loop {
            while loading.len() < TENANTS_AT_ONCE
                && let Some((tenant, revision)) = wanted.next()
            {
                loading.push(self.view(tenant, revision));
            }
            let Some(view) = loading.next().await else { return views };
            views.extend(view.map(|view| (view.tenant.clone(), view)));
        }
    }

    /// A tenant's view; waits for the store as long as it must (intake waits for the store, never for a receiver).
    async fn view(&self, tenant: TenantId, revision: Revision) -> Option<Arc<TenantView>> {
        let mut told = false;
        loop {
            match self.tenants.at_least(&tenant, revision).await {
                Ok(view) => return view,
                Err(error) => {
                    let what = "a tenant's configuration";
                    self.wait_after(&error, &mut told, what, &tenant).await;
                }
            }
        }
    }

    /// Waits before something is read again, and says so once.
    async fn wait_after(
        &self,
        error: &ports::Error,
        told: &mut bool,
        what: &str,
        of: &(dyn std::fmt::Display + Sync),
    ) {
        if !std::mem::replace(told, true) {
            let cause = cause(error);
            if error.is_retryable() {
                tracing::warn!(what, %of, %error, cause, "cannot read what the intake needs: events wait, and it is tried again until it can be read");
            } else {
                let (kind, remedy) = (error.kind(), remedy(error));
                tracing::error!(what, %of, ?kind, %error, cause, remedy, "cannot read what the intake needs: events wait, and it is tried again every 30 s");
            }
        }
        self.deps.clock.sleep(next_wait(error, RETRY)).await;
    }

    /// Tells the log what is handed off. Returns what it did not take, and may take later.
    async fn tell(
        &self,
        consumer: &mut dyn Consumer,
        HandedOff { acks, released }: HandedOff,
    ) -> HandedOff {
        let mut owed = HandedOff::default();
        let acks: Vec<Ack> =
            acks.into_iter().map(|(shard, (epoch, upto))| Ack { shard, epoch, upto }).collect();
        let acking = async { Ok(consumer.ack(&acks).await) };
        let acked = within(&*self.deps.clock, acking).await;
        let acked =
            acked.unwrap_or_else(|error| acks.iter().map(|_| Err(error.again().into())).collect());
        for (Ack { shard, epoch, upto }, acked) in acks.into_iter().zip(acked) {
            match acked {
                Ok(()) => self.progress.acked(shard, upto, self.deps.clock.monotonic()),
                Err(AckError::Fenced) => {
                    tracing::info!(shard = shard.0, "a shard has another owner now");
                }
                Err(AckError::Port(error)) => {
                    tracing::warn!(shard = shard.0, %error, "cannot save the position of a shard; it is saved later");
                    owed.acks.insert(shard, (epoch, upto));
                }
            }
        }
        for (shard, epoch) in released {
            consumer.release(shard, epoch);
        }
        owed
    }
}

/// Whether what comes after this is prepared only once this has been handed over: a shard that comes back is read when its end here is known, and
/// a log that cannot be read is not asked again at once.
fn settles(item: &ports::Result<ConsumerItem>) -> bool {
    match item {
        Ok(ConsumerItem::Revoked { .. }) | Err(_) => true,
        Ok(
            ConsumerItem::Assigned { .. }
            | ConsumerItem::Records { .. }
            | ConsumerItem::Gap { .. }
            | ConsumerItem::Leaving { .. },
        ) => false,
    }
}
