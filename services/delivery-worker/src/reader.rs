//! Takes records from the log, decodes and matches them, and acks what is handed off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::record::decode;
use domain::{
    EndpointUid, Epoch, Event, LaneRow, LogPosition, Position, Revision, Shard, TenantId,
};
use ports::{AckError, Consumer, ConsumerItem, LogRecord};
use runtime::Shutdown;
use tokio::sync::mpsc;

use crate::config::{Config, Deps};
use crate::tenants::{TenantView, Tenants};

/// What the loop hears of the log.
pub(crate) enum FromLog {
    /// A shard is ours: its lanes, and the tenants that they belong to.
    Assigned {
        shard: Shard,
        epoch: Epoch,
        acked: Option<Position>,
        head: Position,
        lanes: Vec<LaneRow>,
        views: Vec<Arc<TenantView>>,
    },
    /// Records of a shard with the endpoints that they match, and the tenants' views that they were matched with.
    Records { records: Vec<MatchedRecord>, views: Vec<Arc<TenantView>> },
    /// A shard is ours no more.
    Revoked(Shard),
}

/// A record with the endpoints that it matches; `None` where it is no event.
pub(crate) struct MatchedRecord {
    pub(crate) at: LogPosition,
    pub(crate) bytes: usize,
    pub(crate) matched: Option<(Arc<Event>, Vec<EndpointUid>)>,
}

/// Positions to ack: the newest of each shard.
pub(crate) type Acks = BTreeMap<Shard, (Epoch, Position)>;

const RETRY: Duration = Duration::from_millis(250);
/// Lanes that are read at once at a take-over.
const LANES_PAGE: usize = 500;

pub(crate) struct Reader {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    pub(crate) tenants: Arc<Tenants>,
}

impl Reader {
    /// Reads until the shutdown begins, and acks until the loop has gone.
    pub(crate) async fn run(
        self,
        items: mpsc::Sender<FromLog>,
        mut acks: mpsc::Receiver<Acks>,
        shutdown: Shutdown,
    ) {
        let Some(mut consumer) = self.join(&shutdown).await else { return };
        loop {
            // A place for the item first: what was taken from the log is never dropped.
            tokio::select! {
                biased;
                asked = acks.recv() => match asked {
                    Some(asked) => ack(&mut *consumer, asked).await,
                    None => return,
                },
                () = shutdown.cancelled() => break,
                place = items.reserve() => match place {
                    Ok(place) => {
                        let next = tokio::select! {
                            biased;
                            asked = acks.recv() => match asked {
                                Some(asked) => { ack(&mut *consumer, asked).await; continue }
                                None => return,
                            },
                            () = shutdown.cancelled() => break,
                            next = consumer.next() => next,
                        };
                        if let Some(item) = self.prepare(next).await {
                            place.send(item);
                        }
                    }
                    Err(_) => return,
                },
            }
        }
        while let Some(asked) = acks.recv().await {
            ack(&mut *consumer, asked).await;
        }
    }

    async fn join(&self, shutdown: &Shutdown) -> Option<Box<dyn Consumer>> {
        loop {
            match self.deps.log.consume(&self.config.group).await {
                Ok(consumer) => return Some(consumer),
                Err(error) => tracing::warn!(%error, "cannot read the event log; trying again"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = self.deps.clock.sleep(RETRY) => {}
            }
        }
    }

    async fn prepare(&self, item: ports::Result<ConsumerItem>) -> Option<FromLog> {
        match item {
            Ok(ConsumerItem::Assigned { shard, epoch, acked, head }) => {
                let (lanes, views) = self.take_over(shard).await;
                Some(FromLog::Assigned { shard, epoch, acked, head, lanes, views })
            }
            Ok(ConsumerItem::Records { records, .. }) => Some(self.match_records(records).await),
            Ok(ConsumerItem::Revoked { shard }) => Some(FromLog::Revoked(shard)),
            Ok(ConsumerItem::Gap { shard, from, to }) => {
                tracing::error!(
                    shard = shard.0,
                    from = from.0,
                    to = to.0,
                    "events are lost: the log's retention passed what was not delivered yet; make the retention longer or the workers faster",
                );
                None
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the event log; trying again");
                self.deps.clock.sleep(RETRY).await;
                None
            }
        }
    }

    /// Reads the lanes of a shard, and the configuration of their tenants.
    async fn take_over(&self, shard: Shard) -> (Vec<LaneRow>, Vec<Arc<TenantView>>) {
        let mut lanes: Vec<LaneRow> = Vec::new();
        loop {
            let after = lanes.last().map(|lane| lane.key.endpoint);
            match self.deps.lanes.of_shard(shard, after, LANES_PAGE).await {
                Ok(page) => {
                    let is_last = page.len() < LANES_PAGE;
                    lanes.extend(page);
                    if is_last {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(shard = shard.0, %error, "cannot read the lanes of a shard; trying again");
                    self.deps.clock.sleep(RETRY).await;
                }
            }
        }
        let mut views = BTreeMap::new();
        for lane in &lanes {
            if !views.contains_key(&lane.tenant)
                && let Some(view) = self.view(&lane.tenant, Revision(0)).await
            {
                views.insert(lane.tenant.clone(), view);
            }
        }
        (lanes, views.into_values().collect())
    }

    async fn match_records(&self, records: Vec<LogRecord>) -> FromLog {
        let mut views: BTreeMap<TenantId, Arc<TenantView>> = BTreeMap::new();
        let mut matched = Vec::with_capacity(records.len());
        for record in records {
            let bytes = record.record.size();
            let event = match decode(
                &record.record,
                record.at,
                record.time,
                &self.config.api_version,
            ) {
                Ok(event) => Arc::new(event),
                Err(poison) => {
                    tracing::error!(at = %record.at, %poison, "a record of the log is no event and is passed over; it stays readable at this place");
                    matched.push(MatchedRecord { at: record.at, bytes, matched: None });
                    continue;
                }
            };
            let wanted = event.revision.unwrap_or_default();
            let cached = views.get(&event.tenant).filter(|view| view.revision >= wanted).cloned();
            let view = match cached {
                Some(view) => Some(view),
                None => self.view(&event.tenant, wanted).await,
            };
            let uids =
                view.as_ref().map(|view| view.matcher.matching(&event).into_iter().collect());
            if let Some(view) = view {
                views.insert(event.tenant.clone(), view);
            } else {
                tracing::error!(at = %record.at, tenant = %event.tenant, "a record names a tenant that does not exist and is passed over");
            }
            matched.push(MatchedRecord {
                at: record.at,
                bytes,
                matched: Some((event, uids.unwrap_or_default())),
            });
        }
        FromLog::Records { records: matched, views: views.into_values().collect() }
    }

    /// A tenant's view; waits for the store as long as it must (intake waits for the store, never for a receiver).
    async fn view(&self, tenant: &TenantId, revision: Revision) -> Option<Arc<TenantView>> {
        let mut told = false;
        loop {
            match self.tenants.at_least(tenant, revision).await {
                Ok(view) => return view,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%tenant, %error, "cannot read a tenant's configuration: its events wait, and it is tried again until it can be read");
                    }
                    self.deps.clock.sleep(RETRY).await;
                }
            }
        }
    }
}

async fn ack(consumer: &mut dyn Consumer, acks: Acks) {
    for (shard, (epoch, upto)) in acks {
        match consumer.ack(shard, epoch, upto).await {
            Ok(()) => {}
            Err(AckError::Fenced) => {
                tracing::info!(shard = shard.0, "a shard has another owner now")
            }
            Err(AckError::Port(error)) => {
                tracing::warn!(shard = shard.0, %error, "cannot save the position of a shard; the next one is saved instead");
            }
        }
    }
}
