//! Publishers: through the API, and plain producers that write to the log themselves.
//!
//! The API's part is its contract in short (`control-plane/src/app/publish.rs`): the tenant's revision is stamped, a key is looked up, the record appended, the
//! key remembered, then answered.

use domain::record::encode;
use domain::{ApiVersion, Content, ContentType, Event, EventId, EventType, LogPosition, Timestamp};
use ports::{Clock as _, ConfigStore as _, EventLog as _, IdempotencyRow, IdempotencyStore};
use testkit::Fault;

use crate::model::Model;
use crate::plan::{Publish, TYPES};
use crate::world::{World, tenant};

/// Keys are new twice a day: none is repeated once it may be forgotten.
const KEY_PERIOD_MS: i64 = 12 * 3_600 * 1_000;

impl World {
    /// Publishes a batch, event by event.
    pub(crate) async fn publish(&mut self, batch: &Publish, model: &mut Model) {
        for _ in 0..batch.count {
            let event = self.event(batch);
            if batch.is_plain {
                self.append(event, batch.fault, model).await;
            } else {
                self.publish_by_api(event, batch.fault, model).await;
            }
        }
        self.settle().await;
    }

    fn event(&self, batch: &Publish) -> Event {
        let now = self.clock.now();
        let period = now.as_millis().div_euclid(KEY_PERIOD_MS);
        let origin = if batch.is_plain { "plain" } else { "api" };
        let key = batch.idempotency_key.map(|number| format!("{origin}-{number}-{period}"));
        // All events of a key are alike but for their ids, as repeats are.
        let event_type = match batch.idempotency_key {
            Some(number) => type_of(number),
            None => batch.event_type,
        };
        let id = match &key {
            Some(key) if !batch.is_plain => EventId::of_key(&tenant(), key),
            Some(_) | None => {
                EventId::parse(&format!("evt_{:032x}", self.chance.bits())).expect("an event id")
            }
        };
        let data = format!("{{\"name\":\"{}\"}}", key.as_deref().unwrap_or(id.as_str()));
        let ordering_key = batch.ordering_keys.filter(|_| key.is_none());
        Event {
            tenant: tenant(),
            id,
            event_type: EventType::parse(event_type).expect("a type"),
            created_at: now,
            api_version: ApiVersion::parse("2026-01-01").expect("a version"),
            content_type: ContentType::json(),
            data: data.into(),
            ordering_key: ordering_key.map(|count| format!("o{}", self.chance.below(count)).into()),
            idempotency_key: key.map(Into::into),
            channels: Vec::new(),
            deliver_at: batch.ahead.map(|ahead| now + ahead),
            revision: None,
            traceparent: None,
        }
    }

    async fn publish_by_api(&self, event: Event, fault: Option<Fault>, model: &mut Model) {
        let revision = self.memory.revision(&tenant()).await.expect("the memory store reads");
        let event = Event { revision, ..event };
        let Some(key) = event.idempotency_key.clone() else {
            self.append(event, fault, model).await;
            return;
        };
        let known = IdempotencyStore::get(&self.memory, &tenant(), &[&*key]).await;
        if known.expect("the memory store reads").into_iter().flatten().next().is_some() {
            return;
        }
        let body_hash = Content::of(&event, &self.config.api_version).hash(&key);
        let (id, time) = (event.id.clone(), self.clock.now());
        if let Some(at) = self.append(event, fault, model).await {
            let row = IdempotencyRow { event: id, at, body_hash, time };
            let put = IdempotencyStore::put(&self.memory, &tenant(), &[(&*key, row)]).await;
            put.expect("the memory store writes");
        }
    }

    /// Appends a record; `None` when the publisher hears no answer.
    async fn append(
        &self,
        event: Event,
        fault: Option<Fault>,
        model: &mut Model,
    ) -> Option<LogPosition> {
        if matches!(fault, Some(Fault::Unavailable | Fault::Full | Fault::UnknownLost)) {
            return None;
        }
        let mut appended = self.log.append(vec![encode(&event)]).await;
        let answer = appended.pop().expect("one answer a record");
        let at = answer.expect("the memory log takes a record").at;
        let now: Timestamp = self.clock.now();
        model.published(at, event, now, fault.is_none(), &self.endpoints);
        fault.is_none().then_some(at)
    }
}

fn type_of(key: u64) -> &'static str {
    let index = usize::try_from(key).unwrap_or(0) % TYPES.len();
    TYPES.get(index).copied().unwrap_or("payment.completed")
}
