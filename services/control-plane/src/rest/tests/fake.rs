//! Two services that record what reached them.

use std::sync::{Arc, Mutex};

use tonic::service::Routes;
use tonic::{Request, Response, Status};
use wire::api::v1::endpoint_service_server::{EndpointService, EndpointServiceServer};
use wire::api::v1::event_service_server::{EventService, EventServiceServer};
use wire::api::v1::*;

#[derive(Debug, Default)]
struct Seen {
    authorization: Option<String>,
    created: Option<CreateEndpointRequest>,
    updated: Option<UpdateEndpointRequest>,
    paused: Option<PauseEndpointRequest>,
    listed: Option<ListEventsRequest>,
    published: Option<PublishEventsRequest>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fake {
    seen: Arc<Mutex<Seen>>,
    failure: Option<Status>,
    append_failure: Option<Status>,
    event: Event,
}

impl Fake {
    pub(super) fn failing(mut self, status: Status) -> Self {
        self.failure = Some(status);
        self
    }

    /// The last event of a batch cannot be appended.
    pub(super) fn failing_to_append(mut self, status: Status) -> Self {
        self.append_failure = Some(status);
        self
    }

    pub(super) fn with_event(mut self, content_type: &str, data: &[u8]) -> Self {
        self.event.content_type = content_type.to_owned();
        self.event.data = bytes::Bytes::copy_from_slice(data);
        self
    }

    pub(super) fn routes(&self) -> Routes {
        Routes::new(EndpointServiceServer::new(self.clone())).add_service(
            EventServiceServer::new(self.clone())
                .max_decoding_message_size(super::REQUEST_BYTES_MAX),
        )
    }

    pub(super) fn created(&self) -> CreateEndpointRequest {
        self.seen.lock().unwrap().created.clone().unwrap()
    }

    pub(super) fn updated(&self) -> UpdateEndpointRequest {
        self.seen.lock().unwrap().updated.clone().unwrap()
    }

    pub(super) fn paused(&self) -> PauseEndpointRequest {
        self.seen.lock().unwrap().paused.clone().unwrap()
    }

    pub(super) fn listed(&self) -> ListEventsRequest {
        self.seen.lock().unwrap().listed.clone().unwrap()
    }

    pub(super) fn published(&self) -> PublishEventsRequest {
        self.seen.lock().unwrap().published.clone().unwrap()
    }

    pub(super) fn authorization(&self) -> Option<String> {
        self.seen.lock().unwrap().authorization.clone()
    }

    pub(super) fn was_called(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.created.is_some() || seen.published.is_some()
    }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        state: endpoint::State::Paused.into(),
        create_time: Some(prost_types::Timestamp { seconds: 1_785_585_600, nanos: 0 }),
        delivery: Some(DeliveryPolicy {
            timeout: Some(prost_types::Duration { seconds: 3, nanos: 500_000_000 }),
            rate_limit: 100.0,
            ..Default::default()
        }),
        health: Some(EndpointHealth::default()),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl EndpointService for Fake {
    async fn create_endpoint(
        &self,
        request: Request<CreateEndpointRequest>,
    ) -> Result<Response<CreateEndpointResponse>, Status> {
        let mut seen = self.seen.lock().unwrap();
        let authorization = request.metadata().get("authorization");
        seen.authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        seen.created = Some(request.into_inner());
        Ok(Response::new(CreateEndpointResponse::default()))
    }

    async fn get_endpoint(
        &self,
        request: Request<GetEndpointRequest>,
    ) -> Result<Response<GetEndpointResponse>, Status> {
        let endpoint = Some(endpoint(&request.into_inner().name));
        Ok(Response::new(GetEndpointResponse { endpoint }))
    }

    async fn list_endpoints(
        &self,
        _: Request<ListEndpointsRequest>,
    ) -> Result<Response<ListEndpointsResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn update_endpoint(
        &self,
        request: Request<UpdateEndpointRequest>,
    ) -> Result<Response<UpdateEndpointResponse>, Status> {
        self.seen.lock().unwrap().updated = Some(request.into_inner());
        Ok(Response::new(UpdateEndpointResponse::default()))
    }

    async fn delete_endpoint(
        &self,
        _: Request<DeleteEndpointRequest>,
    ) -> Result<Response<DeleteEndpointResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn pause_endpoint(
        &self,
        request: Request<PauseEndpointRequest>,
    ) -> Result<Response<PauseEndpointResponse>, Status> {
        self.seen.lock().unwrap().paused = Some(request.into_inner());
        Ok(Response::new(PauseEndpointResponse::default()))
    }

    async fn resume_endpoint(
        &self,
        _: Request<ResumeEndpointRequest>,
    ) -> Result<Response<ResumeEndpointResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn disable_endpoint(
        &self,
        _: Request<DisableEndpointRequest>,
    ) -> Result<Response<DisableEndpointResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn test_endpoint(
        &self,
        _: Request<TestEndpointRequest>,
    ) -> Result<Response<TestEndpointResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn rotate_secret(
        &self,
        _: Request<RotateSecretRequest>,
    ) -> Result<Response<RotateSecretResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}

#[tonic::async_trait]
impl EventService for Fake {
    async fn get_event(
        &self,
        _: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        Ok(Response::new(GetEventResponse { event: Some(self.event.clone()) }))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        self.seen.lock().unwrap().listed = Some(request.into_inner());
        Ok(Response::new(ListEventsResponse::default()))
    }

    async fn publish_events(
        &self,
        request: Request<PublishEventsRequest>,
    ) -> Result<Response<PublishEventsResponse>, Status> {
        if let Some(status) = &self.failure {
            return Err(status.clone());
        }
        let request = request.into_inner();
        let result = |index| PublishResult { id: format!("evt_{index}"), ..Default::default() };
        let mut results: Vec<_> = (0..request.events.len()).map(result).collect();
        if let (Some(error), Some(last)) = (&self.append_failure, results.last_mut()) {
            last.error = Some(wire::status::to_rpc(error));
        }
        self.seen.lock().unwrap().published = Some(request);
        Ok(Response::new(PublishEventsResponse { results }))
    }

    async fn resend_event(
        &self,
        _: Request<ResendEventRequest>,
    ) -> Result<Response<ResendEventResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    type WatchEventsStream = tokio_stream::Empty<Result<WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        _: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}
