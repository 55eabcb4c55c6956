//! Bodies of events, and references to them.

use std::sync::Arc;

use domain::{ApiVersion, ContentType, Event, EventId, EventRef, EventType, LogPosition, Revision};

use super::{In, Out, Read};

const FORMAT: u8 = 1;

pub fn encode_event(event: &Event) -> Vec<u8> {
    let mut out = Out::new(FORMAT, event.data.len() + 192);
    out.text(event.tenant.as_str())
        .text(event.id.as_str())
        .text(event.event_type.as_str())
        .time(event.created_at)
        .text(event.api_version.as_str())
        .text(event.content_type.as_str())
        .bytes(&event.data);
    for key in [&event.ordering_key, &event.idempotency_key] {
        out.option(key.as_deref(), |out, key| {
            out.text(key);
        });
    }
    out.list(event.channels.iter(), |out, channel| {
        out.text(channel);
    });
    out.option(event.deliver_at, |out, time| {
        out.time(time);
    });
    out.option(event.revision, |out, revision| {
        out.uint(revision.0);
    });
    out.option(event.traceparent.as_deref(), |out, trace| {
        out.text(trace);
    });
    out.end()
}

pub fn decode_event(bytes: &[u8]) -> Read<Event> {
    let mut input = In::new(bytes, FORMAT, "event")?;
    let event = Event {
        tenant: input.tenant()?,
        id: input.event_id()?,
        event_type: EventType::parse(input.text()?).map_err(|_| input.damaged())?,
        created_at: input.time()?,
        api_version: ApiVersion::parse(input.text()?).map_err(|_| input.damaged())?,
        content_type: ContentType::parse(input.text()?).map_err(|_| input.damaged())?,
        data: input.owned()?,
        ordering_key: input.option(In::shared)?,
        idempotency_key: input.option(In::shared)?,
        channels: input.list(In::shared)?,
        deliver_at: input.option(In::time)?,
        revision: input.option(|input| input.uint().map(Revision))?,
        traceparent: input.option(In::shared)?,
    };
    input.end()?;
    Ok(event)
}

impl Out {
    pub(crate) fn event_ref(&mut self, event: &EventRef) -> &mut Self {
        self.text(event.tenant.as_str()).text(event.id.as_str()).int(event.at.packed())
    }
}

impl In<'_> {
    pub(crate) fn shared(&mut self) -> Read<Arc<str>> {
        self.text().map(Arc::from)
    }

    pub(crate) fn event_id(&mut self) -> Read<EventId> {
        EventId::parse(self.text()?).map_err(|_| self.damaged())
    }

    pub(crate) fn event_ref(&mut self) -> Read<EventRef> {
        Ok(EventRef {
            tenant: self.tenant()?,
            id: self.event_id()?,
            at: LogPosition::from_packed(self.int()?),
        })
    }
}
