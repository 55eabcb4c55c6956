//! The main job over gRPC, with health and reflection.

use anyhow::{Context, Result};
use postrider_e2e::{Receiver, Reply, hmac, until};
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use wire::api::v1::{
    CreateEndpointRequest, CreateEndpointResponse, DeadLetter, DeleteEndpointRequest,
    DeliveryPolicy, Endpoint, GetDeliveryRequest, GetEndpointRequest, ListAttemptsRequest,
    ListDeadLettersRequest, ListEndpointsRequest, NewEvent, PublishEventsRequest,
    RedriveDeadLetterRequest, RotateSecretRequest, Subscription, UpdateEndpointRequest, attempt,
    dead_letter, delivery, endpoint,
};
use wire::status::Details;

use crate::support::{answering, start};

const TENANT: &str = "tenants/default";
const SHOP: &str = "tenants/default/endpoints/shop";

async fn create(
    grpc: &postrider_e2e::Grpc,
    url: String,
) -> Result<CreateEndpointResponse, tonic::Status> {
    let request = CreateEndpointRequest {
        parent: TENANT.into(),
        endpoint_id: "shop".into(),
        endpoint: Some(Endpoint {
            url,
            delivery: Some(DeliveryPolicy { no_retries: true, ..DeliveryPolicy::default() }),
            ..Endpoint::default()
        }),
        subscriptions: vec![Subscription {
            event_types: vec!["payment.*".into()],
            ..Subscription::default()
        }],
        ..CreateEndpointRequest::default()
    };
    Ok(grpc.endpoints().create_endpoint(request).await?.into_inner())
}

async fn publish(grpc: &postrider_e2e::Grpc, data: &[u8]) -> Result<String, tonic::Status> {
    let request = PublishEventsRequest {
        parent: TENANT.into(),
        events: vec![NewEvent {
            r#type: "payment.completed".into(),
            data: data.to_vec().into(),
            ..NewEvent::default()
        }],
        ..PublishEventsRequest::default()
    };
    let answer = grpc.events().publish_events(request).await?.into_inner();
    Ok(answer.results.into_iter().next().unwrap_or_default().id)
}

async fn dead_letter_of(grpc: &postrider_e2e::Grpc, event: &str) -> Result<DeadLetter> {
    until("the dead letter", async || {
        let request = ListDeadLettersRequest { parent: SHOP.into(), ..Default::default() };
        let letters = grpc.dead_letters().list_dead_letters(request).await?.into_inner();
        let mut letters = letters.dead_letters.into_iter();
        Ok(letters.find(|letter| letter.event.as_ref().is_some_and(|e| e.id == event)))
    })
    .await
}

async fn state_of(grpc: &postrider_e2e::Grpc, event: &str) -> Result<delivery::State> {
    let name = format!("{SHOP}/deliveries/{event}");
    let answer = grpc.deliveries().get_delivery(GetDeliveryRequest { name }).await?.into_inner();
    Ok(answer.delivery.context("a delivery")?.state())
}

#[tokio::test]
async fn the_main_job_works_over_grpc() -> Result<()> {
    let (server, _) = start().await?;
    let receiver = Receiver::start().await?;
    receiver.reply([Reply::status(422)]);
    let grpc = server.grpc()?;
    let made = create(&grpc, receiver.url("/hook")).await?;
    let secret = made.secret.context("its secret")?.key;
    let endpoint = made.endpoint.context("the endpoint")?;
    assert_eq!((endpoint.name.as_str(), endpoint.state()), (SHOP, endpoint::State::Active));

    let data = br#"{ "amount" : 1.0 }"#;
    let event = publish(&grpc, data).await?;
    let request = receiver.wait_for_event(&event, 1).await?.remove(0);
    assert!(hmac::verifies_standard(&secret, &request));
    assert!(request.body.windows(data.len()).any(|part| part == data), "the bytes are kept");

    let letter = dead_letter_of(&grpc, &event).await?;
    assert_eq!(letter.reason(), dead_letter::Reason::Rejected);
    receiver.reply([Reply::status(200)]);
    let redrive = RedriveDeadLetterRequest { name: letter.name, ..Default::default() };
    let begun = grpc.dead_letters().redrive_dead_letter(redrive).await?.into_inner();
    assert_eq!(begun.delivery, format!("{SHOP}/deliveries/{event}"));
    until("the redrive succeeds", async || {
        Ok((state_of(&grpc, &event).await? == delivery::State::Succeeded).then_some(()))
    })
    .await?;
    let list = ListAttemptsRequest { parent: begun.delivery, ..Default::default() };
    let attempts = grpc.deliveries().list_attempts(list).await?.into_inner().attempts;
    let triggers: Vec<_> = attempts.iter().map(|a| a.trigger()).collect();
    assert_eq!(triggers, [attempt::Trigger::Redrive, attempt::Trigger::Event]);
    Ok(())
}

#[tokio::test]
async fn endpoints_are_listed_changed_rotated_and_deleted() -> Result<()> {
    let (server, _) = start().await?;
    let receiver = answering(200).await?;
    let grpc = server.grpc()?;
    let first = create(&grpc, receiver.url("/")).await?.secret.context("its secret")?.key;
    let list = ListEndpointsRequest { parent: TENANT.into(), ..Default::default() };
    assert_eq!(grpc.endpoints().list_endpoints(list).await?.into_inner().endpoints.len(), 1);

    let update = UpdateEndpointRequest {
        endpoint: Some(Endpoint {
            name: SHOP.into(),
            display_name: "Shop".into(),
            ..Endpoint::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into()] }),
        ..Default::default()
    };
    let updated = grpc.endpoints().update_endpoint(update).await?.into_inner();
    let updated = updated.endpoint.context("the endpoint")?;
    assert_eq!((updated.display_name.as_str(), updated.url), ("Shop", receiver.url("/")));

    let rotate = RotateSecretRequest { name: SHOP.into(), ..Default::default() };
    let second = grpc.endpoints().rotate_secret(rotate).await?.into_inner();
    let second = second.secret.context("the new secret")?.key;
    let event = publish(&grpc, b"1").await?;
    let request = receiver.wait_for_event(&event, 1).await?.remove(0);
    assert!(hmac::verifies_standard(&first, &request));
    assert!(hmac::verifies_standard(&second, &request));

    let delete = DeleteEndpointRequest { name: SHOP.into(), ..Default::default() };
    grpc.endpoints().delete_endpoint(delete).await?;
    let get = GetEndpointRequest { name: SHOP.into() };
    let gone = grpc.endpoints().get_endpoint(get).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn errors_carry_reason_and_fields_in_the_names_of_the_proto() -> Result<()> {
    let (server, _) = start().await?;
    let grpc = server.grpc()?;
    let refused = create(&grpc, "ftp://example.com".into()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let details = Details::of(&refused);
    let fields = details.bad_request.context("the fields")?.field_violations;
    assert_eq!(fields[0].field, "endpoint.url");
    assert_eq!(details.info.context("a reason")?.domain, "postrider.dev");

    let request = PublishEventsRequest {
        parent: TENANT.into(),
        events: vec![
            NewEvent { r#type: "a.b".into(), data: "1".into(), ..Default::default() },
            NewEvent { r#type: "a.b".into(), data: "not json".into(), ..Default::default() },
        ],
        ..Default::default()
    };
    let refused = grpc.events().publish_events(request).await.unwrap_err();
    let fields = Details::of(&refused).bad_request.context("the fields")?.field_violations;
    assert_eq!(fields[0].field, "events[1].data");
    Ok(())
}

#[tokio::test]
async fn health_says_that_it_serves() -> Result<()> {
    let (server, _) = start().await?;
    let mut client = HealthClient::new(server.grpc()?.channel());
    for service in ["", "postrider.api.v1.EventService"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = client.check(request).await?.into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "no.such.Service".into() };
    assert_eq!(client.check(unknown).await.unwrap_err().code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn reflection_lists_the_services_and_describes_them() -> Result<()> {
    let (server, _) = start().await?;
    let channel = server.grpc()?.channel();
    let answer = reflect(&channel, MessageRequest::ListServices(String::new())).await?;
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["Endpoint", "Subscription", "Event", "Delivery", "DeadLetter"] {
        let name = format!("postrider.api.v1.{service}Service");
        assert!(names.contains(&name.as_str()), "{name} is not in {names:?}");
    }
    let symbol = "postrider.api.v1.EventService.PublishEvents".to_owned();
    let answer = reflect(&channel, MessageRequest::FileContainingSymbol(symbol)).await?;
    assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{answer:?}");
    Ok(())
}

async fn reflect(channel: &Channel, ask: MessageRequest) -> Result<MessageResponse> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let stream = tokio_stream::once(request);
    let mut answers = client.server_reflection_info(stream).await?.into_inner();
    let answer = answers.message().await?.context("an answer")?;
    answer.message_response.context("its content")
}
