//! `EventService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::event_service_server::EventService;

use super::{event, publish, request, time, watch};
use crate::app::{
    App, EndpointName, EventName, PageRequest, TimeRange, Violation, WatchEvents, parse_tenant,
};

/// `EventService` over the application.
pub(crate) struct Events(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl EventService for Events {
    async fn get_event(
        &self,
        request: Request<v1::GetEventRequest>,
    ) -> Answer<v1::GetEventResponse> {
        let name = EventName::parse("name", &request.into_inner().name)?;
        let event = Some(event::to_wire(&self.0.event(&name).await?));
        Ok(Response::new(v1::GetEventResponse { event }))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Answer<v1::ListEventsResponse> {
        let call = request.into_inner();
        let tenant = parse_tenant("parent", &call.parent)?;
        let range = TimeRange {
            start: time::from_wire("start_time", call.start_time)?,
            end: time::from_wire("end_time", call.end_time)?,
        };
        let page = PageRequest::parse(call.page_size, call.page_token)?;
        let page = self.0.list_events(&tenant, range, &page).await?;
        Ok(Response::new(v1::ListEventsResponse {
            events: page.items.iter().map(event::to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    async fn publish_events(
        &self,
        request: Request<v1::PublishEventsRequest>,
    ) -> Answer<v1::PublishEventsResponse> {
        let trace = publish::traceparent(request.metadata());
        let bounds = publish::Bounds {
            event_bytes_max: self.0.config.event_bytes_max,
            now: self.0.deps.clock.now(),
        };
        let call = publish::from_wire(request.into_inner(), trace, bounds)?;
        let results = self.0.publish(call).await?;
        Ok(Response::new(publish::to_wire(results)))
    }

    async fn resend_event(
        &self,
        request: Request<v1::ResendEventRequest>,
    ) -> Answer<v1::ResendEventResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("ResendEvent", &id, &call);
        let (repeat, name) = request::both(repeat, EventName::parse("name", &call.name))?;
        let endpoint = resend_target(&name, &call.endpoint)?;
        let (app, endpoint) = (&self.0, endpoint.as_ref());
        let deliveries = app.resend(&name, endpoint, repeat.as_ref()).await?;
        Ok(Response::new(v1::ResendEventResponse {
            deliveries: deliveries.iter().map(ToString::to_string).collect(),
        }))
    }

    type WatchEventsStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let call = request.into_inner();
        let call = WatchEvents {
            tenant: parse_tenant("parent", &call.parent)?,
            event_types: watch::event_types(&call.event_types)?,
            token: call.resume_token,
        };
        let told = self.0.watch_events(call).await?;
        let told = told.map(|told| Ok(watch::event_to_wire(told?)));
        Ok(Response::new(Box::pin(told)))
    }
}

/// Reads the endpoint of a resend; it must be of the event's tenant (TE-1).
fn resend_target(event: &EventName, text: &str) -> Result<Option<EndpointName>, Violation> {
    if text.is_empty() {
        return Ok(None);
    }
    let name = EndpointName::parse("endpoint", text)?;
    if name.tenant != event.tenant {
        return Err(Violation::new(
            "endpoint",
            format!("not an endpoint of tenants/{}, whose event it is", event.tenant),
        ));
    }
    Ok(Some(name))
}
