//! `SubscriptionService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::subscription_service_server::SubscriptionService;

use super::{request, subscription};
use crate::app::{App, EndpointName, Faults, PageRequest, SubscriptionName};

/// `SubscriptionService` over the application.
pub(crate) struct Subscriptions(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SubscriptionService for Subscriptions {
    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Answer<v1::CreateSubscriptionResponse> {
        let call = subscription::create(request.into_inner())?;
        let made = self.0.create_subscription(call).await?;
        let subscription = Some(subscription::view_to_wire(made));
        Ok(Response::new(v1::CreateSubscriptionResponse { subscription }))
    }

    async fn get_subscription(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Answer<v1::GetSubscriptionResponse> {
        let name = SubscriptionName::parse("name", &request.into_inner().name)?;
        let found = self.0.get_subscription(&name).await?;
        let subscription = Some(subscription::view_to_wire(found));
        Ok(Response::new(v1::GetSubscriptionResponse { subscription }))
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Answer<v1::ListSubscriptionsResponse> {
        let call = request.into_inner();
        let parent = EndpointName::parse("parent", &call.parent);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let (parent, page) = request::both(parent, page)?;
        let page = self.0.list_subscriptions(&parent, &page).await?;
        let items = page.items.into_iter();
        Ok(Response::new(v1::ListSubscriptionsResponse {
            subscriptions: items.map(subscription::view_to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    async fn update_subscription(
        &self,
        request: Request<v1::UpdateSubscriptionRequest>,
    ) -> Answer<v1::UpdateSubscriptionResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let mut faults = Faults::default();
        let repeat = faults.take(request::request_id("UpdateSubscription", &id, &call)).flatten();
        let values = call.subscription.unwrap_or_default();
        let name = faults.take(SubscriptionName::parse("subscription.name", &values.name));
        let etag = values.etag.clone();
        let patch = subscription::Patch::parse(&mut faults, values, call.update_mask);
        let name = faults.need(name)?;
        let how = (repeat.as_ref(), call.validate_only);
        let apply = |current| patch.apply(faults.clone(), current);
        let updated = self.0.update_subscription(&name, apply, &etag, how).await?;
        let subscription = Some(subscription::view_to_wire(updated));
        Ok(Response::new(v1::UpdateSubscriptionResponse { subscription }))
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Answer<v1::DeleteSubscriptionResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("DeleteSubscription", &id, &call);
        let (repeat, name) = request::both(repeat, SubscriptionName::parse("name", &call.name))?;
        self.0.delete_subscription(&name, &call.etag, repeat.as_ref()).await?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }
}
