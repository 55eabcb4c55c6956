//! One connection that publishes.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::Channel;
use wire::api::v1::event_service_client::EventServiceClient;
use wire::api::v1::{NewEvent, PublishEventsRequest};

use crate::options::Api;
use crate::postrider::Postrider;

/// An event to publish.
pub(crate) struct Event {
    pub(crate) group: u64,
    pub(crate) data: Bytes,
    /// When it is due, where that is later; over gRPC alone.
    pub(crate) deliver_time: Option<SystemTime>,
}

/// The type of the events of a group of endpoints.
pub(crate) fn event_type(group: u64) -> String {
    format!("load.group{group}")
}

/// A connection for publishing.
pub(crate) enum Publisher {
    Grpc(EventServiceClient<Channel>),
    Rest { sender: SendRequest<Full<Bytes>>, host: String },
}

impl Publisher {
    pub(crate) async fn connect(api: Api, server: &Postrider) -> Result<Self> {
        match api {
            Api::Grpc => Ok(Self::Grpc(EventServiceClient::new(server.connect().await?))),
            Api::Rest => {
                let stream = TcpStream::connect(server.authority()).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                // Ends with the sender; its errors come out of the calls.
                tokio::spawn(connection);
                Ok(Self::Rest { sender, host: server.authority().to_owned() })
            }
        }
    }

    /// Publishes a batch; returns how many events are durable.
    pub(crate) async fn publish(&mut self, events: Vec<Event>) -> Result<usize> {
        match self {
            Self::Grpc(client) => {
                let events = events.into_iter().map(|event| NewEvent {
                    r#type: event_type(event.group),
                    data: event.data,
                    deliver_time: event.deliver_time.map(Into::into),
                    ..NewEvent::default()
                });
                let request = PublishEventsRequest {
                    parent: "tenants/default".into(),
                    events: events.collect(),
                    validate_only: false,
                };
                let results = client.publish_events(request).await?.into_inner().results;
                Ok(results.iter().filter(|result| result.error.is_none()).count())
            }
            Self::Rest { sender, host } => {
                let count = events.len();
                let request = Request::post("/v1/tenants/default/events:publish")
                    .header(HOST, host.as_str())
                    .header(CONTENT_TYPE, "application/json")
                    .body(Full::new(body(&events)))?;
                sender.ready().await.context("the connection to postrider")?;
                let answer = sender.send_request(request).await?;
                let status = answer.status();
                let text = answer.into_body().collect().await?.to_bytes();
                ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
                let failed = text.windows(8).filter(|part| part == b"\"error\":").count();
                Ok(count.saturating_sub(failed))
            }
        }
    }
}

fn body(events: &[Event]) -> Bytes {
    let size: usize = events.iter().map(|event| event.data.len() + 48).sum();
    let mut body = Vec::with_capacity(size + 16);
    body.extend_from_slice(b"{\"events\":[");
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"type\":\"");
        body.extend_from_slice(event_type(event.group).as_bytes());
        body.extend_from_slice(b"\",\"data\":");
        body.extend_from_slice(&event.data);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body.into()
}
