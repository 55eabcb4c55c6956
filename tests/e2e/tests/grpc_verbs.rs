//! The verbs that the main job does not need, over raw gRPC.

use anyhow::{Context, Result};
use postrider_e2e::{Grpc, Reply, until};
use tonic::Code;
use wire::api::v1::{
    CancelDeliveryRequest, CreateSubscriptionRequest, DeleteSubscriptionRequest,
    DisableEndpointRequest, GetDeadLetterRequest, GetEndpointRequest, GetEventRequest,
    GetSubscriptionRequest, ListDeadLettersRequest, ListDeliveriesRequest, ListEventsRequest,
    ListSubscriptionsRequest, PauseEndpointRequest, ResendEventRequest, ResumeEndpointRequest,
    Subscription, TestEndpointRequest, UpdateSubscriptionRequest, delivery, endpoint,
};

use crate::support::{answering, quick, start};

const TENANT: &str = "tenants/default";
const SHOP: &str = "tenants/default/endpoints/shop";

async fn state(grpc: &Grpc) -> Result<endpoint::State> {
    let answer = grpc.endpoints().get_endpoint(GetEndpointRequest { name: SHOP.into() }).await?;
    Ok(answer.into_inner().endpoint.context("the endpoint")?.state())
}

#[tokio::test]
async fn an_endpoint_is_paused_resumed_disabled_and_tested_over_grpc() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), quick(0)).await?;
    let grpc = server.grpc()?;
    let name = || SHOP.to_owned();
    let pause = PauseEndpointRequest { name: name(), ..Default::default() };
    let paused = grpc.endpoints().pause_endpoint(pause).await?.into_inner().endpoint;
    assert_eq!(paused.context("it")?.state(), endpoint::State::Paused);
    let held = api.publish("a.b").await?;
    let resume = || ResumeEndpointRequest { name: name(), ..Default::default() };
    grpc.endpoints().resume_endpoint(resume()).await?;
    assert_eq!(state(&grpc).await?, endpoint::State::Active);
    receiver.wait_for_event(&held, 1).await?;

    let disable = DisableEndpointRequest { name: name(), ..Default::default() };
    grpc.endpoints().disable_endpoint(disable).await?;
    assert_eq!(state(&grpc).await?, endpoint::State::Disabled);
    grpc.endpoints().resume_endpoint(resume()).await?;
    let stale = PauseEndpointRequest { name: name(), etag: "1".into(), ..Default::default() };
    let refused = grpc.endpoints().pause_endpoint(stale).await.unwrap_err();
    assert_eq!(wire::status::reason(&refused).as_deref(), Some("ETAG_MISMATCH"));

    let test = TestEndpointRequest {
        name: name(),
        event_type: "shop.tested".into(),
        ..Default::default()
    };
    let tested = grpc.endpoints().test_endpoint(test).await?.into_inner();
    let id = tested.event.rsplit('/').next().unwrap_or_default().to_owned();
    let request = receiver.wait_for_event(&id, 1).await?.remove(0);
    assert_eq!(request.json()?["type"], "shop.tested");
    assert_eq!(tested.delivery, format!("{SHOP}/deliveries/{id}"));
    Ok(())
}

#[tokio::test]
async fn subscriptions_are_made_read_changed_and_deleted_over_grpc() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    api.subscribe("shop", &receiver.url("/"), quick(0), &["a.*"]).await?;
    let mut client = server.grpc()?.subscriptions();
    let wants = |pattern: &str| Subscription {
        event_types: vec![pattern.to_owned()],
        ..Subscription::default()
    };
    let create = CreateSubscriptionRequest {
        parent: SHOP.into(),
        subscription_id: "second".into(),
        subscription: Some(wants("b.*")),
        ..Default::default()
    };
    let made = client.create_subscription(create.clone()).await?.into_inner().subscription;
    let made = made.context("it")?;
    assert_eq!(made.name, format!("{SHOP}/subscriptions/second"));
    let taken = client.create_subscription(create).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    let get = || GetSubscriptionRequest { name: made.name.clone() };
    assert_eq!(client.get_subscription(get()).await?.into_inner().subscription, Some(made.clone()));

    let change = Subscription { name: made.name.clone(), ..wants("c.*") };
    let update = UpdateSubscriptionRequest { subscription: Some(change), ..Default::default() };
    let changed = client.update_subscription(update.clone()).await?.into_inner().subscription;
    let changed = changed.context("it")?;
    assert_eq!(changed.event_types, ["c.*"]);
    assert_ne!(changed.etag, made.etag);
    let same = client.update_subscription(update).await?.into_inner().subscription;
    assert_eq!(same, Some(changed), "what changes nothing writes nothing");

    let list = ListSubscriptionsRequest { parent: SHOP.into(), ..Default::default() };
    assert_eq!(client.list_subscriptions(list).await?.into_inner().subscriptions.len(), 2);
    let stale = DeleteSubscriptionRequest {
        name: made.name.clone(),
        etag: made.etag.clone(),
        ..Default::default()
    };
    assert_eq!(client.delete_subscription(stale).await.unwrap_err().code(), Code::Aborted);
    let delete = DeleteSubscriptionRequest { name: made.name.clone(), ..Default::default() };
    client.delete_subscription(delete).await?;
    assert_eq!(client.get_subscription(get()).await.unwrap_err().code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn events_are_read_listed_and_resent_over_grpc() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(200).await?;
    api.endpoint("shop", &receiver.url("/"), quick(0)).await?;
    let (first, second) = (api.publish("a.one").await?, api.publish("a.two").await?);
    let mut client = server.grpc()?.events();
    let name = format!("{TENANT}/events/{first}");
    let get = GetEventRequest { name: name.clone() };
    let event = client.get_event(get).await?.into_inner().event.context("the event")?;
    assert_eq!((event.id.as_str(), event.r#type.as_str()), (first.as_str(), "a.one"));
    assert_eq!(&event.data[..], br#"{"amount":1}"#);
    let list = ListEventsRequest { parent: TENANT.into(), ..Default::default() };
    let listed = client.list_events(list).await?.into_inner().events;
    let mut ids: Vec<_> = listed.into_iter().map(|event| event.id).collect();
    ids.sort();
    let mut expected = vec![first.clone(), second];
    expected.sort();
    assert_eq!(ids, expected);

    receiver.wait_for_event(&first, 1).await?;
    let resend = ResendEventRequest { name, ..Default::default() };
    let resent = client.resend_event(resend).await?.into_inner().deliveries;
    assert_eq!(resent, [format!("{SHOP}/deliveries/{first}")]);
    receiver.wait_for_event(&first, 2).await?;
    let nobody = GetEventRequest { name: format!("{TENANT}/events/nobody") };
    assert_eq!(client.get_event(nobody).await.unwrap_err().code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn a_delivery_is_cancelled_and_a_dead_letter_read_over_grpc() -> Result<()> {
    let (server, api) = start().await?;
    let receiver = answering(500).await?;
    let slow = serde_json::json!({ "retrySchedule": ["3600s"] });
    api.subscribe("shop", &receiver.url("/"), slow, &["a.*"]).await?;
    let id = api.publish("a.b").await?;
    api.delivery_when("shop", &id, "a first attempt", |d| d["attemptCount"] == 1).await?;
    let grpc = server.grpc()?;
    let name = format!("{SHOP}/deliveries/{id}");
    let cancel = || CancelDeliveryRequest { name: name.clone(), ..Default::default() };
    grpc.deliveries().cancel_delivery(cancel()).await?;
    api.delivery_in("shop", &id, "CANCELLED").await?;
    let refused = grpc.deliveries().cancel_delivery(cancel()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(wire::status::reason(&refused).as_deref(), Some("DELIVERY_NOT_PENDING"));
    let list = ListDeliveriesRequest { parent: SHOP.into(), ..Default::default() };
    let listed = grpc.deliveries().list_deliveries(list).await?.into_inner().deliveries;
    assert_eq!((listed.len(), listed[0].state()), (1, delivery::State::Cancelled));

    receiver.reply([Reply::status(400)]);
    let rejected = api.publish("a.c").await?;
    let letter = until("the dead letter", async || {
        let list = ListDeadLettersRequest { parent: SHOP.into(), ..Default::default() };
        let all = grpc.dead_letters().list_dead_letters(list).await?.into_inner().dead_letters;
        Ok(all.into_iter().next())
    })
    .await?;
    let get = GetDeadLetterRequest { name: letter.name.clone() };
    let got = grpc.dead_letters().get_dead_letter(get).await?.into_inner().dead_letter;
    let event = got.context("it")?.event.context("its event")?;
    assert_eq!((event.id, &event.data[..]), (rejected, &br#"{"amount":1}"#[..]));
    let get = GetDeadLetterRequest { name: format!("{SHOP}/deadLetters/nobody") };
    assert!(grpc.dead_letters().get_dead_letter(get).await.is_err());
    Ok(())
}
