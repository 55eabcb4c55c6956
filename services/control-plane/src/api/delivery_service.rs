//! `DeliveryService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::delivery_service_server::DeliveryService;

use super::{attempt, delivery, request, watch};
use crate::app::{App, DeliveryName, EndpointScope, PageRequest, WatchDeliveries};

/// `DeliveryService` over the application.
pub(crate) struct Deliveries(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn get_delivery(
        &self,
        request: Request<v1::GetDeliveryRequest>,
    ) -> Answer<v1::GetDeliveryResponse> {
        let name = DeliveryName::parse("name", &request.into_inner().name)?;
        let delivery = Some(delivery::to_wire(self.0.delivery(&name).await?));
        Ok(Response::new(v1::GetDeliveryResponse { delivery }))
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Answer<v1::ListDeliveriesResponse> {
        let call = request.into_inner();
        let scope = EndpointScope::parse("parent", &call.parent)?;
        let event = delivery::event_filter(&scope, &call.event);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let (event, page) = request::both(event, page)?;
        let page = self.0.list_deliveries(&scope, event.as_ref(), &page).await?;
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: page.items.into_iter().map(delivery::to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    async fn cancel_delivery(
        &self,
        request: Request<v1::CancelDeliveryRequest>,
    ) -> Answer<v1::CancelDeliveryResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("CancelDelivery", &id, &call);
        let (repeat, name) = request::both(repeat, DeliveryName::parse("name", &call.name))?;
        let cancelled = self.0.cancel_delivery(&name, repeat.as_ref()).await?;
        let delivery = Some(delivery::to_wire(cancelled));
        Ok(Response::new(v1::CancelDeliveryResponse { delivery }))
    }

    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Answer<v1::ListAttemptsResponse> {
        let call = request.into_inner();
        let parent = EndpointScope::parse_delivery("parent", &call.parent);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let ((scope, event), page) = request::both(parent, page)?;
        let page = self.0.list_attempts(&scope, &event, &page).await?;
        Ok(Response::new(v1::ListAttemptsResponse {
            attempts: page.items.into_iter().map(attempt::to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    type WatchDeliveriesStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchDeliveriesResponse, Status>> + Send>>;

    async fn watch_deliveries(
        &self,
        request: Request<v1::WatchDeliveriesRequest>,
    ) -> Answer<Self::WatchDeliveriesStream> {
        let call = request.into_inner();
        let call = WatchDeliveries {
            scope: EndpointScope::parse("parent", &call.parent)?,
            event_types: watch::event_types(&call.event_types)?,
        };
        let told = self.0.watch_deliveries(call).await?;
        let told = told.map(|told| Ok(watch::attempt_to_wire(&told?)));
        Ok(Response::new(Box::pin(told)))
    }
}
