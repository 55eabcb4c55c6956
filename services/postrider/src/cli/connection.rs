//! The connection to the server: one channel, the caller's key, the caller's tenant.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use wire::api::v1::dead_letter_service_client::DeadLetterServiceClient;
use wire::api::v1::delivery_service_client::DeliveryServiceClient;
use wire::api::v1::endpoint_service_client::EndpointServiceClient;
use wire::api::v1::event_service_client::EventServiceClient;
use wire::api::v1::event_type_service_client::EventTypeServiceClient;
use wire::api::v1::job_service_client::JobServiceClient;
use wire::api::v1::subscription_service_client::SubscriptionServiceClient;

use super::Global;
use crate::failure::Failure;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer: a page of the largest events.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a certificate begins.
const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// A connected client.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    channel: Channel,
    key: ApiKey,
    tenant: String,
}

/// Adds `authorization` to every call.
#[derive(Clone)]
pub(crate) struct ApiKey(Option<MetadataValue<Ascii>>);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

impl Interceptor for ApiKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

/// The channel as the generated clients take it.
pub(crate) type Service = InterceptedService<Channel, ApiKey>;

macro_rules! service {
    ($(#[$doc:meta])* $method:ident, $client:ident) => {
        $(#[$doc])*
        pub(crate) fn $method(&self) -> $client<Service> {
            $client::with_interceptor(self.channel.clone(), self.key.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX)
        }
    };
}

impl Api {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Usage`] for an address or key that cannot be one, [`Failure::Unreachable`] when nobody answers there.
    pub(crate) async fn connect(global: &Global) -> Result<Self, Failure> {
        let server = &global.server;
        let endpoint = endpoint(server, global.ca_file.as_deref())?;
        let key = match &global.api_key {
            None => None,
            Some(key) => {
                let mut value: MetadataValue<Ascii> =
                    format!("Bearer {key}").parse().map_err(|_| {
                        Failure::Usage("--api-key has characters that no key has".to_owned())
                    })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .connect()
            .await
            .map_err(|error| Failure::Unreachable {
                server: server.clone(),
                cause: innermost(&error),
            })?;
        Ok(Self { channel, key: ApiKey(key), tenant: global.tenant.clone() })
    }

    /// The tenant's id.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    service!(
        /// Endpoints and their secrets.
        endpoints, EndpointServiceClient
    );
    service!(
        /// Subscriptions.
        subscriptions, SubscriptionServiceClient
    );
    service!(
        /// Events.
        events, EventServiceClient
    );
    service!(
        /// Registered event types.
        event_types, EventTypeServiceClient
    );
    service!(
        /// Deliveries and attempts.
        deliveries, DeliveryServiceClient
    );
    service!(
        /// Dead letters.
        dead_letters, DeadLetterServiceClient
    );
    service!(
        /// Jobs.
        jobs, JobServiceClient
    );
}

/// Where to connect, and whom to trust there: over https the public authorities, or those of `ca_file` alone.
fn endpoint(server: &str, ca_file: Option<&Path>) -> Result<Endpoint, Failure> {
    let (http, https) = (server.starts_with("http://"), server.starts_with("https://"));
    let endpoint = Endpoint::from_shared(server.to_owned()).ok().filter(|_| http || https);
    let endpoint = endpoint.ok_or_else(|| {
        let example = "http://127.0.0.1:7070 or https://postrider.example.com";
        Failure::Usage(format!("--server {server} is not an address such as {example}"))
    })?;
    if http {
        return Ok(endpoint);
    }
    let tls = match ca_file {
        None => ClientTlsConfig::new().with_webpki_roots(),
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| {
                Failure::Usage(format!("--ca-file {} cannot be read: {error}", file.display()))
            })?;
            if !pem.windows(PEM_CERTIFICATE.len()).any(|part| part == PEM_CERTIFICATE) {
                let file = file.display();
                return Err(Failure::Usage(format!("--ca-file {file} holds no PEM certificate")));
            }
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
    };
    endpoint.tls_config(tls).map_err(|error| {
        Failure::Usage(format!("--server {server}: TLS cannot be set up: {}", innermost(&error)))
    })
}

/// `transport error` says nothing; its last cause does.
fn innermost(error: &tonic::transport::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
