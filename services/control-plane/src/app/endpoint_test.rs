//! Test events: to one endpoint alone, outside of the log.

use std::sync::Arc;

use bytes::Bytes;
use domain::{CommandKind, ContentType, Event, EventRef, EventType, LogPosition, Position};
use ports::StoredEvent;

use super::commands::Order;
use super::{App, DeliveryName, EndpointName, Error, RequestId, Seed};

impl App {
    /// Sends a test event at once, whatever the endpoint's state says. Gives its delivery, where the attempt appears.
    pub(crate) async fn test_endpoint(
        &self,
        name: &EndpointName,
        event_type: EventType,
        request: Option<&RequestId>,
    ) -> Result<DeliveryName, Error> {
        let endpoint = self.endpoint_config(name).await?.endpoint;
        let seed = self.seed(&name.tenant, request).await?;
        let event = self.test_event(name, event_type, seed);
        let at = event.at.clone();
        let shard = self.shard_for(&at, endpoint.uid);
        self.deps.events.put_events(&[event]).await?;
        let order = Order {
            id: seed.command("test"),
            shard,
            time: seed.time(),
            endpoint: endpoint.uid,
            kind: CommandKind::Test { event: at.clone(), run: seed.run("test") },
        };
        self.send(&name.tenant, vec![order]).await?;
        Ok(DeliveryName { endpoint: name.clone(), event: at.id })
    }

    fn test_event(&self, name: &EndpointName, event_type: EventType, seed: Seed) -> StoredEvent {
        let id = seed.event_id();
        let data = serde_json::json!({
            "message": "This is a test event from Postrider.",
            "endpoint": name.to_string(),
        });
        let place = LogPosition::off_log(Position(place_of(seed)));
        StoredEvent {
            at: EventRef { tenant: name.tenant.clone(), id: id.clone(), at: place },
            event: Arc::new(Event {
                tenant: name.tenant.clone(),
                id,
                event_type,
                created_at: seed.time(),
                api_version: self.config.api_version.clone(),
                content_type: ContentType::json(),
                data: Bytes::from(data.to_string()),
                ordering_key: None,
                idempotency_key: None,
                channels: Vec::new(),
                deliver_at: None,
                revision: None,
                traceparent: None,
            }),
        }
    }
}

/// A place outside of the log: 40 bits, as many as a packed position holds.
fn place_of(seed: Seed) -> u64 {
    let bits = seed.uuid("place").as_u128() & ((1 << 40) - 1);
    u64::try_from(bits).unwrap_or(0)
}
