//! What the engine wants to read: pages of the backlog, bodies and facts, ranges of the log. And its one change of configuration.

mod queue;

use std::sync::Arc;

use delivery::{Effect, LoadToken, LoadedDelivery};
use domain::{
    BacklogKey, EndpointState, EndpointUid, Event, EventRef, FactKind, LaneKey, LastKnown, Line,
    LogPosition, Position, Revision, RunId, RunState, Shard, TenantId, Timestamp,
};
use ports::{Applied, Hint, LogRecord, StateChange};

pub(crate) use self::queue::{LookOwner, LookQueue};
use crate::calls::within;
use crate::config::{Config, Deps};
use crate::notices::{Notices, Of};
use crate::tenants::{TenantView, Tenants};
use crate::worker::Input;

/// Does what the engine wants to know.
#[derive(Clone)]
pub(crate) struct Looks {
    pub(crate) deps: Deps,
    pub(crate) config: Arc<Config>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) notices: Notices,
}

/// One look.
#[derive(Debug)]
pub(crate) enum Look {
    Page { lane: LaneKey, after: BacklogKey, upto: BacklogKey, limit: usize },
    Line { lane: LaneKey, line: Line, from: Position, before: Option<Position>, limit: usize },
    Load { token: LoadToken, endpoint: EndpointUid, event: EventRef, run: RunId, body: bool },
    Scan { lane: LaneKey, tenant: TenantId, from: Position, to: Position, limit: usize },
    SetState { tenant: TenantId, endpoint: EndpointUid, from: EndpointState, to: EndpointState },
}

impl Look {
    /// The look that an effect asks for; the effect itself when it is something else. `tenant_of` names the tenant of a lane's endpoint.
    pub(crate) fn from_effect(
        effect: Effect,
        tenant_of: impl Fn(EndpointUid) -> Option<TenantId>,
    ) -> Result<Option<Self>, Effect> {
        Ok(Some(match effect {
            Effect::ReadBacklog { lane, after, upto, limit } => {
                Self::Page { lane, after, upto, limit }
            }
            Effect::ReadLine { lane, line, from, before, limit } => {
                Self::Line { lane, line, from, before, limit }
            }
            Effect::Load { token, endpoint, event, run, body } => {
                Self::Load { token, endpoint, event, run, body }
            }
            Effect::SetState { tenant, endpoint, from, to } => {
                Self::SetState { tenant, endpoint, from, to }
            }
            Effect::Scan { lane, from, to, limit } => match tenant_of(lane.endpoint) {
                Some(tenant) => Self::Scan { lane, tenant, from, to, limit },
                None => return Ok(None),
            },
            other @ (Effect::Attempt(_)
            | Effect::Observe(_)
            | Effect::Write(_)
            | Effect::Ack { .. }) => {
                return Err(other);
            }
        }))
    }
}

impl Look {
    /// The shard whose owner the answer is for. Answers with a token of their own name none.
    pub(crate) fn shard(&self) -> Option<Shard> {
        match self {
            Self::Page { lane, .. } | Self::Line { lane, .. } | Self::Scan { lane, .. } => {
                Some(lane.shard)
            }
            Self::Load { .. } | Self::SetState { .. } => None,
        }
    }
}

impl Looks {
    /// Looks once.
    async fn look(&self, look: &Look) -> ports::Result<Input> {
        if let Look::SetState { .. } = look {
            // Its calls have a deadline each: a slow hint does not undo a change.
            return self.try_look(look).await;
        }
        within(&*self.deps.clock, self.try_look(look)).await
    }

    async fn try_look(&self, look: &Look) -> ports::Result<Input> {
        match look {
            Look::Page { lane, after, upto, limit } => {
                let page = self.deps.backlog.page(*lane, *after, *upto, *limit).await?;
                Ok(Input::Page(*lane, page))
            }
            Look::Line { lane, line, from, before, limit } => {
                let rows = self.deps.lines.read(*lane, *line, *from, *before, *limit).await?;
                Ok(Input::Line(*lane, *line, rows))
            }
            Look::Load { token, endpoint, event, run, body } => {
                Ok(Input::Loaded(*token, self.load(*endpoint, event, *run, *body).await?))
            }
            Look::Scan { lane, tenant, from, to, limit } => {
                self.scan(*lane, tenant, (*from, *to), *limit).await
            }
            Look::SetState { tenant, endpoint, from, to } => {
                let revision = self.set_state(tenant, *endpoint, *from, *to).await?;
                let view =
                    if revision.is_none() { self.tenants.reload(tenant).await? } else { None };
                // Also of what was there already: a change whose answer was lost is one of ours.
                if let Some(revision) = revision.or(view.as_ref().map(|view| view.revision)) {
                    self.hint(tenant, revision).await;
                }
                Ok(Input::StateSet(*endpoint, *to, revision, view))
            }
        }
    }

    async fn load(
        &self,
        endpoint: EndpointUid,
        at: &EventRef,
        run: RunId,
        body: bool,
    ) -> ports::Result<LoadedDelivery> {
        let loaded = self.deps.events.load(at, endpoint).await?;
        let stored = loaded.event.is_some();
        let mut event = loaded.event;
        if event.is_none() && body && at.at.is_in_log() {
            let record = self.deps.log.read(at.at).await?;
            event = record.and_then(|record| self.decode(&record)).map(Arc::new);
        }
        let is_attempt = |fact: &&domain::Fact| matches!(fact.kind, FactKind::Attempt(_));
        let attempts = loaded.facts.iter().filter(is_attempt).count();
        Ok(LoadedDelivery {
            event,
            stored,
            run: RunState::of(&loaded.facts, run),
            attempts_total: u32::try_from(attempts).unwrap_or(u32::MAX),
            last: LastKnown::of(&loaded.facts),
        })
    }

    async fn scan(
        &self,
        lane: LaneKey,
        tenant: &TenantId,
        (from, to): (Position, Position),
        limit: usize,
    ) -> ports::Result<Input> {
        let page = self.deps.log.read_range(lane.shard, from, to, limit).await?;
        let Some(view) = self.tenants.at_least(tenant, Revision(0)).await? else {
            return Ok(Input::Scanned(lane, Vec::new(), None));
        };
        self.report_gap(lane, &view, from, page.records.first()).await?;
        let mut matched: Vec<(Timestamp, EventRef, Arc<Event>)> = Vec::new();
        for record in &page.records {
            let Some(event) = self.decode(record).filter(|event| event.tenant == *tenant) else {
                continue;
            };
            if view.matcher.matches_endpoint(&event, lane.endpoint) {
                matched.push((record.time, reference(record.at, &event), Arc::new(event)));
            }
        }
        let firsts = self.firsts(tenant, matched).await?;
        Ok(Input::Scanned(lane, firsts, page.next))
    }

    /// Leaves out what the intake left out: plain producers' events whose key another one had before (DL-7). Keys are remembered for 24 h; of older ones both are
    /// delivered.
    async fn firsts(
        &self,
        tenant: &TenantId,
        matched: Vec<(Timestamp, EventRef, Arc<Event>)>,
    ) -> ports::Result<Vec<(EventRef, Arc<Event>)>> {
        let key_of = |event: &Event| match event.revision {
            // The API looked.
            Some(_) => None,
            None => event.idempotency_key.clone(),
        };
        let keyed: Vec<Option<Arc<str>>> =
            matched.iter().map(|(_, _, event)| key_of(event)).collect();
        let keys: Vec<&str> = keyed.iter().flatten().map(AsRef::as_ref).collect();
        let rows = if keys.is_empty() {
            Vec::new()
        } else {
            self.deps.idempotency.get(tenant, &keys).await?
        };
        let mut rows = rows.into_iter();
        let first = |((time, at, event), key): ((Timestamp, EventRef, _), Option<Arc<str>>)| {
            let row = key.and_then(|_| rows.next().flatten());
            let is_repeat = row.is_some_and(|row| row.at != at.at && row.time <= time);
            (!is_repeat).then_some((at, event))
        };
        Ok(matched.into_iter().zip(keyed).filter_map(first).collect())
    }

    /// Says so when the log does not hold all that is to be caught up any more (DL-8). Once: the mark moves past the gap with the answer.
    async fn report_gap(
        &self,
        lane: LaneKey,
        view: &TenantView,
        from: Position,
        first: Option<&LogRecord>,
    ) -> ports::Result<()> {
        if first.is_some_and(|first| first.at.position == from) {
            return Ok(());
        }
        let low = self.deps.log.bounds(lane.shard).await?.low;
        // Retention may have gone on since the page was read.
        let to = first.map_or(low, |first| low.min(first.at.position));
        if from < to {
            tracing::error!(
                tenant = %view.tenant, endpoint = %lane.endpoint, shard = lane.shard.0, from = from.0, to = to.0,
                events_at_most = to.0.saturating_sub(from.0),
                "data_gap: events that were skipped while an endpoint was disabled are lost to it: the log's retention passed them before it caught up; make the retention longer",
            );
            if let Some((spec, _)) = view.endpoints.get(&lane.endpoint) {
                let (uid, time) = (lane.endpoint, self.deps.clock.now());
                let of = Of { tenant: &view.tenant, uid, endpoint: &spec.id, time };
                self.notices.tell(Some(of.data_gap(from, to)));
            }
        }
        Ok(())
    }

    fn decode(&self, record: &LogRecord) -> Option<Event> {
        record.event(&self.config.api_version).ok()
    }

    async fn set_state(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        from: EndpointState,
        to: EndpointState,
    ) -> ports::Result<Option<Revision>> {
        let change = StateChange { from, to, time: self.deps.clock.now() };
        let applied = self.deps.config.set_state(tenant, endpoint, change);
        match within(&*self.deps.clock, applied).await? {
            Applied::Done(revision) => {
                tracing::info!(%tenant, %endpoint, ?from, ?to, "an endpoint changed its state");
                Ok(Some(revision))
            }
            Applied::Conflict | Applied::Exists | Applied::NotFound => Ok(None),
        }
    }

    async fn hint(&self, tenant: &TenantId, revision: Revision) {
        let hint = self.deps.feed.hint(Hint::Tenant(tenant.clone(), revision));
        if let Err(error) = within(&*self.deps.clock, hint).await {
            tracing::warn!(%error, "cannot send a hint; others learn of the change within 30 s");
        }
    }
}

fn reference(at: LogPosition, event: &Event) -> EventRef {
    EventRef { tenant: event.tenant.clone(), id: event.id.clone(), at }
}
