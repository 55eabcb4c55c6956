//! The listener with real sockets on loopback.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use wire::api::v1::event_service_client::EventServiceClient;
use wire::api::v1::event_service_server::{EventService, EventServiceServer};
use wire::api::v1::*;

use super::*;

/// Publishing says who was let in; getting an event never answers, and says when it began.
struct Fake {
    stuck: watch::Sender<bool>,
}

#[tonic::async_trait]
impl EventService for Fake {
    async fn get_event(
        &self,
        _: tonic::Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        self.stuck.send_replace(true);
        std::future::pending().await
    }

    async fn list_events(
        &self,
        _: tonic::Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Ok(Response::new(ListEventsResponse::default()))
    }

    async fn publish_events(
        &self,
        request: tonic::Request<PublishEventsRequest>,
    ) -> Result<Response<PublishEventsResponse>, Status> {
        let principal = request.extensions().get::<Principal>().expect("every caller has a name");
        let result = PublishResult { id: principal.name.clone(), ..Default::default() };
        Ok(Response::new(PublishEventsResponse { results: vec![result] }))
    }

    async fn resend_event(
        &self,
        _: tonic::Request<ResendEventRequest>,
    ) -> Result<Response<ResendEventResponse>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }

    type WatchEventsStream = tokio_stream::Empty<Result<WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        _: tonic::Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        Err(Status::unimplemented("not in this fake"))
    }
}

struct Running {
    address: std::net::SocketAddr,
    readiness: watch::Sender<Readiness>,
    stuck: watch::Receiver<bool>,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), Error>>,
}

#[expect(clippy::disallowed_methods, reason = "the test joins it")]
async fn start(options: ServerOptions) -> Running {
    let (readiness, seen) = watch::channel(Readiness::ready());
    let (stuck_sender, stuck) = watch::channel(false);
    let routes = Routes::new(EventServiceServer::new(Fake { stuck: stuck_sender }));
    let server = Server::new(routes, seen, options).expect("builds");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server.serve(listener, shutdown.clone()));
    Running { address, readiness, stuck, shutdown, server }
}

impl Running {
    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn rest(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> (StatusCode, Json) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let call = async {
            let response = sender.send_request(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice(&body).unwrap())
        };
        tokio::select! {
            answer = call => answer,
            ended = connection => panic!("the connection ended first: {ended:?}"),
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.server.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn one_port_serves_grpc_rest_and_pages() {
    let running = start(ServerOptions::default()).await;
    let mut client = EventServiceClient::new(running.channel().await);
    let answer = client.publish_events(PublishEventsRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.results[0].id, "anyone");

    let (status, answer) = running.rest("POST", "/v1/tenants/t/events:publish", None, "{}").await;
    assert_eq!((status, &answer["results"][0]["id"]), (StatusCode::OK, &Json::from("anyone")));
    assert_eq!(running.rest("GET", "/healthz", None, "").await.1["status"], "ok");
    assert_eq!(running.rest("GET", "/openapi.json", None, "").await.1["openapi"], "3.1.0");
    assert_eq!(running.rest("GET", "/", None, "").await.1["rest"], "/v1");
    assert_eq!(running.rest("GET", "/v2", None, "").await.0, StatusCode::NOT_FOUND);
    assert_eq!(running.rest("POST", "/healthz", None, "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    running.stop().await;
}

#[tokio::test]
async fn credentials_are_checked_the_same_for_grpc_and_rest() {
    let token = "a-token-of-enough-bytes";
    let auth = Arc::new(StaticToken::new(token).unwrap());
    let running = start(ServerOptions { auth, ..ServerOptions::default() }).await;
    let path = "/v1/tenants/t/events:publish";
    let (status, answer) = running.rest("POST", path, None, "{}").await;
    assert_eq!(
        (status, &answer["error"]["status"]),
        (StatusCode::UNAUTHORIZED, &Json::from("UNAUTHENTICATED"))
    );
    assert_eq!(running.rest("POST", path, Some("wrong"), "{}").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(running.rest("POST", path, Some(token), "{}").await.0, StatusCode::OK);

    let channel = running.channel().await;
    let mut client = EventServiceClient::new(channel.clone());
    let denied = client.publish_events(PublishEventsRequest::default()).await.unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated);
    let mut request = tonic::Request::new(PublishEventsRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert!(client.publish_events(request).await.is_ok());
    // Health says nothing but whether we serve: it is open. Reflection is not.
    assert!(HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.is_ok());
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(channel);
    let denied = reflection.server_reflection_info(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated);
    running.stop().await;
}

#[tokio::test]
async fn reflection_lists_the_services() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let running = start(ServerOptions::default()).await;
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(running.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|service| service.name == "postrider.api.v1.EventService"));
    running.stop().await;
}

#[tokio::test]
async fn readiness_is_what_it_is_told_until_shutdown() {
    let running = start(ServerOptions::default()).await;
    assert_eq!(running.rest("GET", "/readyz", None, "").await.0, StatusCode::OK);
    running.readiness.send_replace(Readiness::not_ready("the store is away"));
    let (status, answer) = running.rest("GET", "/readyz", None, "").await;
    assert_eq!(
        (status, &answer["reasons"][0]),
        (StatusCode::SERVICE_UNAVAILABLE, &Json::from("the store is away"))
    );
    let mut health = HealthClient::new(running.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().status != 2 {}
    running.readiness.send_replace(Readiness::ready());
    while watch.message().await.unwrap().unwrap().status != 1 {}
    running.stop().await;
}

#[tokio::test]
async fn calls_have_a_deadline() {
    let options =
        ServerOptions { call_timeout: Duration::from_millis(50), ..ServerOptions::default() };
    let running = start(options).await;
    let (status, answer) = running.rest("GET", "/v1/tenants/t/events/e", None, "").await;
    assert_eq!(
        (status, &answer["error"]["status"]),
        (StatusCode::GATEWAY_TIMEOUT, &Json::from("DEADLINE_EXCEEDED"))
    );
    let mut client = EventServiceClient::new(running.channel().await);
    assert_eq!(
        client.get_event(GetEventRequest::default()).await.unwrap_err().code(),
        Code::DeadlineExceeded
    );
    running.stop().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test joins it")]
async fn calls_over_the_limit_are_told_to_wait() {
    let running = start(ServerOptions { calls_max: 1, ..ServerOptions::default() }).await;
    let mut client = EventServiceClient::new(running.channel().await);
    let mut stuck = running.stuck.clone();
    let waiting = tokio::spawn(async move { client.get_event(GetEventRequest::default()).await });
    stuck.wait_for(|stuck| *stuck).await.unwrap();
    let (status, answer) = running.rest("GET", "/v1/tenants/t/events", None, "").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer["error"]["details"][0]["reason"], "TOO_MANY_CALLS");
    waiting.abort();
    running.stop().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test joins it")]
async fn shutdown_ends_with_silent_peers_and_stuck_calls() {
    let options =
        ServerOptions { drain_timeout: Duration::from_millis(200), ..ServerOptions::default() };
    let running = start(options).await;
    // One that opens TCP and never speaks, one that greets and never answers GOAWAY, one whose call never ends.
    let silent = TcpStream::connect(running.address).await.unwrap();
    let mut deaf = TcpStream::connect(running.address).await.unwrap();
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    deaf.read_exact(&mut [0; 9]).await.unwrap();
    let mut client = EventServiceClient::new(running.channel().await);
    let mut stuck = running.stuck.clone();
    let call = tokio::spawn(async move { client.get_event(GetEventRequest::default()).await });
    stuck.wait_for(|stuck| *stuck).await.unwrap();

    running.stop().await;
    assert!(call.await.unwrap().is_err());
    drop((silent, deaf));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test joins it")]
async fn calls_finish_during_the_drain() {
    let running = start(ServerOptions {
        call_timeout: Duration::from_millis(300),
        ..ServerOptions::default()
    })
    .await;
    let mut client = EventServiceClient::new(running.channel().await);
    let mut stuck = running.stuck.clone();
    let (sender, ended) = oneshot::channel();
    let call = tokio::spawn(async move {
        sender.send(client.get_event(GetEventRequest::default()).await).unwrap()
    });
    stuck.wait_for(|stuck| *stuck).await.unwrap();
    running.stop().await;
    // It ran into its own deadline, not into the end of the server.
    assert_eq!(ended.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    call.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_never_speaks_is_closed() {
    let running = start(ServerOptions {
        head_timeout: Duration::from_millis(50),
        ..ServerOptions::default()
    })
    .await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    running.stop().await;
}
