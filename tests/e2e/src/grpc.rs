//! gRPC, through the generated clients.

use anyhow::{Context, Result};
use tonic::transport::{Channel, Endpoint};
use wire::api::v1::dead_letter_service_client::DeadLetterServiceClient;
use wire::api::v1::delivery_service_client::DeliveryServiceClient;
use wire::api::v1::endpoint_service_client::EndpointServiceClient;
use wire::api::v1::event_service_client::EventServiceClient;
use wire::api::v1::event_type_service_client::EventTypeServiceClient;
use wire::api::v1::subscription_service_client::SubscriptionServiceClient;

use crate::DEADLINE;

/// Clients of every service, over one connection.
#[derive(Clone, Debug)]
pub struct Grpc {
    channel: Channel,
}

impl Grpc {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).context("the server's address")?;
        Ok(Self { channel: endpoint.timeout(DEADLINE).connect_lazy() })
    }

    /// Returns the connection, for a client that is not listed here.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns a client of `EndpointService`.
    #[must_use]
    pub fn endpoints(&self) -> EndpointServiceClient<Channel> {
        EndpointServiceClient::new(self.channel())
    }

    /// Returns a client of `SubscriptionService`.
    #[must_use]
    pub fn subscriptions(&self) -> SubscriptionServiceClient<Channel> {
        SubscriptionServiceClient::new(self.channel())
    }

    /// Returns a client of `EventService`.
    #[must_use]
    pub fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel())
    }

    /// Returns a client of `EventTypeService`.
    #[must_use]
    pub fn event_types(&self) -> EventTypeServiceClient<Channel> {
        EventTypeServiceClient::new(self.channel())
    }

    /// Returns a client of `DeliveryService`.
    #[must_use]
    pub fn deliveries(&self) -> DeliveryServiceClient<Channel> {
        DeliveryServiceClient::new(self.channel())
    }

    /// Returns a client of `DeadLetterService`.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetterServiceClient<Channel> {
        DeadLetterServiceClient::new(self.channel())
    }
}
