//! The reference: what was published, and who was to get it.

use domain::{EndpointUid, Event, EventPattern, EventRef, LogPosition, Timestamp};

use crate::world::Known;

/// What publishers did in one history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: Vec<Published>,
}

/// One record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) event: EventRef,
    /// When its first attempt is due.
    pub(crate) due: Timestamp,
    /// Its publisher was told that it is durable.
    pub(crate) acknowledged: bool,
    /// Endpoints that matched it and were there.
    pub(crate) wanted: Vec<EndpointUid>,
    /// What repeats have in common: the idempotency key, else the id.
    pub(crate) identity: String,
    /// It has an idempotency key.
    pub(crate) keyed: bool,
    /// Its ordering key, unless it has a time of its own.
    pub(crate) order: Option<String>,
}

impl Model {
    pub(crate) fn published(
        &mut self,
        at: LogPosition,
        event: Event,
        time: Timestamp,
        acknowledged: bool,
        endpoints: &[Known],
    ) {
        let there = endpoints.iter().filter(|known| !known.is_deleted);
        let wanted = there.filter(|known| wants(known, event.event_type.as_str()));
        let key = event.idempotency_key.as_deref();
        self.records.push(Published {
            due: event.deliver_at.map_or(time, |at| at.max(time)),
            acknowledged,
            wanted: wanted.map(|known| known.uid).collect(),
            identity: key.unwrap_or(event.id.as_str()).to_owned(),
            keyed: key.is_some(),
            order: event.ordering_key.filter(|_| event.deliver_at.is_none()).map(|k| k.to_string()),
            event: EventRef { tenant: event.tenant, id: event.id, at },
        });
    }

    /// The events that an endpoint was to get, oldest first. Those with a key are left out: a person who takes up a repeat makes a second event of it.
    pub(crate) fn wanted_by(&self, endpoint: EndpointUid) -> Vec<EventRef> {
        let mine =
            self.records.iter().filter(|record| !record.keyed && record.wanted.contains(&endpoint));
        mine.map(|record| record.event.clone()).collect()
    }
}

fn wants(known: &Known, event_type: &str) -> bool {
    known.plan.patterns.iter().any(|pattern| match pattern {
        EventPattern::All => true,
        EventPattern::Prefix(prefix) => event_type.starts_with(&**prefix),
        EventPattern::Exact(exact) => exact.as_str() == event_type,
    })
}
