//! The gRPC services: protobuf in, a call of [`App`], protobuf out. Handlers are three lines; what a field means is in the module of its resource.

mod attempt;
mod dead_letter;
mod dead_letter_service;
mod delivery;
mod delivery_service;
mod endpoint;
mod endpoint_mask;
mod endpoint_service;
mod event;
mod event_service;
mod event_type;
mod event_type_service;
mod job;
mod job_service;
mod policy;
mod publish;
mod request;
mod secret;
pub(crate) mod status;
mod subscription;
mod subscription_service;
pub(crate) mod time;
mod watch;

use std::sync::Arc;

use tonic::service::Routes;
use tower::util::MapResponseLayer;
use wire::api::v1::dead_letter_service_server::DeadLetterServiceServer;
use wire::api::v1::delivery_service_server::DeliveryServiceServer;
use wire::api::v1::endpoint_service_server::EndpointServiceServer;
use wire::api::v1::event_service_server::EventServiceServer;
use wire::api::v1::event_type_service_server::EventTypeServiceServer;
use wire::api::v1::job_service_server::JobServiceServer;
use wire::api::v1::subscription_service_server::SubscriptionServiceServer;

use crate::app::{App, Config, Deps, JobRunner};
use crate::rest::REQUEST_BYTES_MAX;

/// Builds the services of the API over the ports, and what works off the jobs that are asked for.
///
/// The routes go to [`crate::server::Server::new`], which adds health, reflection and REST.
#[must_use]
pub fn build(config: Config, deps: Deps) -> (Routes, JobRunner) {
    let app = Arc::new(App::new(config, deps));
    let endpoints = endpoint_service::Endpoints(Arc::clone(&app));
    let subscriptions = subscription_service::Subscriptions(Arc::clone(&app));
    let events = event_service::Events(Arc::clone(&app));
    let event_types = event_type_service::EventTypes(Arc::clone(&app));
    let deliveries = delivery_service::Deliveries(Arc::clone(&app));
    let dead_letters = dead_letter_service::DeadLetters(Arc::clone(&app));
    let jobs = job_service::Jobs(Arc::clone(&app));
    let runner = JobRunner::new(Arc::clone(&app));
    let routes = Routes::new(EndpointServiceServer::new(endpoints))
        .add_service(SubscriptionServiceServer::new(subscriptions))
        .add_service(EventServiceServer::new(events).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(EventTypeServiceServer::new(event_types))
        .add_service(DeliveryServiceServer::new(deliveries))
        .add_service(DeadLetterServiceServer::new(dead_letters))
        .add_service(JobServiceServer::new(jobs));
    let look = MapResponseLayer::new(move |answer: axum::response::Response| {
        if let Some(error) = status::fault(&answer) {
            app.outage.note(error);
        }
        answer
    });
    (Routes::from(routes.into_axum_router().layer(look)), runner)
}
