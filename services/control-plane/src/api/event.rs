//! Events on the wire.

use domain::Event;
use ports::StoredEvent;
use wire::api::v1;

use super::time;
use crate::app::EventName;

/// An event with its data.
pub(crate) fn to_wire(found: &StoredEvent) -> v1::Event {
    of_event(&found.event)
}

/// An event with its data.
pub(crate) fn of_event(event: &Event) -> v1::Event {
    let name = EventName { tenant: event.tenant.clone(), event: event.id.clone() };
    let text = |key: &Option<std::sync::Arc<str>>| key.as_deref().unwrap_or_default().to_owned();
    v1::Event {
        name: name.to_string(),
        id: event.id.to_string(),
        r#type: event.event_type.to_string(),
        data: event.data.clone(),
        content_type: event.content_type.as_str().to_owned(),
        api_version: event.api_version.as_str().to_owned(),
        idempotency_key: text(&event.idempotency_key),
        ordering_key: text(&event.ordering_key),
        channels: event.channels.iter().map(|c| c.to_string()).collect(),
        create_time: Some(time::to_wire(event.created_at)),
        deliver_time: event.deliver_at.map(time::to_wire),
    }
}
