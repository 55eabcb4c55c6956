//! `EventTypeService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::event_type_service_server::EventTypeService;

use super::{event_type, request};
use crate::app::{App, EventTypeName, Faults, PageRequest, parse_tenant};

/// `EventTypeService` over the application.
pub(crate) struct EventTypes(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl EventTypeService for EventTypes {
    async fn create_event_type(
        &self,
        request: Request<v1::CreateEventTypeRequest>,
    ) -> Answer<v1::CreateEventTypeResponse> {
        let call = event_type::create(request.into_inner())?;
        let made = self.0.create_event_type(call).await?;
        let event_type = Some(event_type::to_wire(made));
        Ok(Response::new(v1::CreateEventTypeResponse { event_type }))
    }

    async fn get_event_type(
        &self,
        request: Request<v1::GetEventTypeRequest>,
    ) -> Answer<v1::GetEventTypeResponse> {
        let name = EventTypeName::parse("name", &request.into_inner().name)?;
        let found = self.0.get_event_type(&name).await?;
        let event_type = Some(event_type::to_wire(found));
        Ok(Response::new(v1::GetEventTypeResponse { event_type }))
    }

    async fn list_event_types(
        &self,
        request: Request<v1::ListEventTypesRequest>,
    ) -> Answer<v1::ListEventTypesResponse> {
        let call = request.into_inner();
        let parent = parse_tenant("parent", &call.parent);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let (tenant, page) = request::both(parent, page)?;
        let page = self.0.list_event_types(&tenant, &page).await?;
        let items = page.items.into_iter();
        Ok(Response::new(v1::ListEventTypesResponse {
            event_types: items.map(event_type::entry_to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    async fn update_event_type(
        &self,
        request: Request<v1::UpdateEventTypeRequest>,
    ) -> Answer<v1::UpdateEventTypeResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let mut faults = Faults::default();
        let repeat = faults.take(request::request_id("UpdateEventType", &id, &call)).flatten();
        let values = call.event_type.unwrap_or_default();
        let name = faults.take(EventTypeName::parse("event_type.name", &values.name));
        let etag = values.etag.clone();
        let patch = event_type::Patch::parse(&mut faults, values, call.update_mask);
        let name = faults.need(name)?;
        let how = (repeat.as_ref(), call.validate_only);
        let apply = |current| patch.apply(faults.clone(), current);
        let updated = self.0.update_event_type(&name, apply, &etag, how).await?;
        let event_type = Some(event_type::to_wire(updated));
        Ok(Response::new(v1::UpdateEventTypeResponse { event_type }))
    }

    async fn delete_event_type(
        &self,
        request: Request<v1::DeleteEventTypeRequest>,
    ) -> Answer<v1::DeleteEventTypeResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("DeleteEventType", &id, &call);
        let (repeat, name) = request::both(repeat, EventTypeName::parse("name", &call.name))?;
        self.0.delete_event_type(&name, &call.etag, repeat.as_ref()).await?;
        Ok(Response::new(v1::DeleteEventTypeResponse {}))
    }
}
