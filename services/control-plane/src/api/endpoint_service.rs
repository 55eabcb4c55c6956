//! `EndpointService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::endpoint_service_server::EndpointService;

use super::endpoint_mask::Patch;
use super::{endpoint, request};
use crate::app::{
    App, EndpointName, EndpointView, EventName, Faults, PageRequest, StateVerb, parse_tenant,
};

/// `EndpointService` over the application.
pub(crate) struct Endpoints(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl EndpointService for Endpoints {
    async fn create_endpoint(
        &self,
        request: Request<v1::CreateEndpointRequest>,
    ) -> Answer<v1::CreateEndpointResponse> {
        let call = endpoint::create(request.into_inner(), &self.0.config.egress)?;
        let created = self.0.create_endpoint(call).await?;
        Ok(Response::new(endpoint::created(created)))
    }

    async fn get_endpoint(
        &self,
        request: Request<v1::GetEndpointRequest>,
    ) -> Answer<v1::GetEndpointResponse> {
        let name = EndpointName::parse("name", &request.into_inner().name)?;
        let endpoint = Some(endpoint::to_wire(self.0.get_endpoint(&name).await?));
        Ok(Response::new(v1::GetEndpointResponse { endpoint }))
    }

    async fn list_endpoints(
        &self,
        request: Request<v1::ListEndpointsRequest>,
    ) -> Answer<v1::ListEndpointsResponse> {
        let call = request.into_inner();
        let tenant = parse_tenant("parent", &call.parent);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let (tenant, page) = request::both(tenant, page)?;
        let page = self.0.list_endpoints(&tenant, &page).await?;
        Ok(Response::new(v1::ListEndpointsResponse {
            endpoints: page.items.into_iter().map(endpoint::to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    async fn update_endpoint(
        &self,
        request: Request<v1::UpdateEndpointRequest>,
    ) -> Answer<v1::UpdateEndpointResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let mut faults = Faults::default();
        let repeat = faults.take(request::request_id("UpdateEndpoint", &id, &call)).flatten();
        let values = call.endpoint.unwrap_or_default();
        let name = faults.take(EndpointName::parse("endpoint.name", &values.name));
        let etag = values.etag.clone();
        let patch = Patch::parse(&mut faults, values, call.update_mask);
        let name = faults.need(name)?;
        let how = (repeat.as_ref(), call.validate_only);
        let apply = |current| patch.apply(faults.clone(), current, &self.0.config.egress);
        let updated = self.0.update_endpoint(&name, apply, &etag, how).await?;
        let endpoint = Some(endpoint::to_wire(updated));
        Ok(Response::new(v1::UpdateEndpointResponse { endpoint }))
    }

    async fn delete_endpoint(
        &self,
        request: Request<v1::DeleteEndpointRequest>,
    ) -> Answer<v1::DeleteEndpointResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("DeleteEndpoint", &id, &call);
        let (repeat, name) = request::both(repeat, EndpointName::parse("name", &call.name))?;
        self.0.delete_endpoint(&name, &call.etag, repeat.as_ref()).await?;
        Ok(Response::new(v1::DeleteEndpointResponse {}))
    }

    async fn pause_endpoint(
        &self,
        request: Request<v1::PauseEndpointRequest>,
    ) -> Answer<v1::PauseEndpointResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("PauseEndpoint", &id, &call);
        let (repeat, name) = request::both(repeat, EndpointName::parse("name", &call.name))?;
        let (app, verb) = (&self.0, StateVerb::Pause);
        let view = app.change_state(&name, verb, &call.etag, repeat.as_ref());
        let endpoint = shown(view.await?);
        Ok(Response::new(v1::PauseEndpointResponse { endpoint }))
    }

    async fn resume_endpoint(
        &self,
        request: Request<v1::ResumeEndpointRequest>,
    ) -> Answer<v1::ResumeEndpointResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("ResumeEndpoint", &id, &call);
        let (repeat, name) = request::both(repeat, EndpointName::parse("name", &call.name))?;
        let catch_up = call.catch_up.unwrap_or(true);
        let (app, verb) = (&self.0, StateVerb::Resume { catch_up });
        let view = app.change_state(&name, verb, &call.etag, repeat.as_ref());
        let endpoint = shown(view.await?);
        Ok(Response::new(v1::ResumeEndpointResponse { endpoint }))
    }

    async fn disable_endpoint(
        &self,
        request: Request<v1::DisableEndpointRequest>,
    ) -> Answer<v1::DisableEndpointResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("DisableEndpoint", &id, &call);
        let (repeat, name) = request::both(repeat, EndpointName::parse("name", &call.name))?;
        let (app, verb) = (&self.0, StateVerb::Disable);
        let view = app.change_state(&name, verb, &call.etag, repeat.as_ref());
        let endpoint = shown(view.await?);
        Ok(Response::new(v1::DisableEndpointResponse { endpoint }))
    }

    async fn test_endpoint(
        &self,
        request: Request<v1::TestEndpointRequest>,
    ) -> Answer<v1::TestEndpointResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("TestEndpoint", &id, &call);
        let (repeat, name) = request::both(repeat, EndpointName::parse("name", &call.name))?;
        let event_type = endpoint::test_type(&call.event_type)?;
        let (app, tenant) = (&self.0, name.tenant.clone());
        let delivery = app.test_endpoint(&name, event_type, repeat.as_ref()).await?;
        let event = delivery.event.clone();
        Ok(Response::new(v1::TestEndpointResponse {
            event: EventName { tenant, event }.to_string(),
            delivery: delivery.to_string(),
        }))
    }

    async fn rotate_secret(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Answer<v1::RotateSecretResponse> {
        let call = endpoint::rotate(request.into_inner())?;
        let rotated = self.0.rotate_secret(call).await?;
        Ok(Response::new(endpoint::rotated(rotated)))
    }
}

fn shown(view: EndpointView) -> Option<v1::Endpoint> {
    Some(endpoint::to_wire(view))
}
