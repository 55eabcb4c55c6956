//! `JobService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::job_service_server::JobService;

use super::{job, request};
use crate::app::{App, JobName, PageRequest, parse_tenant};

/// `JobService` over the application.
pub(crate) struct Jobs(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl JobService for Jobs {
    async fn replay_events(
        &self,
        request: Request<v1::ReplayEventsRequest>,
    ) -> Answer<v1::ReplayEventsResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("ReplayEvents", &id, &call)?;
        let job = self.0.replay(job::replay(&call)?, repeat.as_ref()).await?;
        Ok(Response::new(v1::ReplayEventsResponse { job: Some(job::to_wire(job)) }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Answer<v1::GetJobResponse> {
        let name = JobName::parse("name", &request.into_inner().name)?;
        let job = Some(job::to_wire(self.0.job(&name).await?));
        Ok(Response::new(v1::GetJobResponse { job }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Answer<v1::ListJobsResponse> {
        let call = request.into_inner();
        let tenant = parse_tenant("parent", &call.parent);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let (tenant, page) = request::both(tenant, page)?;
        let page = self.0.list_jobs(&tenant, &page).await?;
        Ok(Response::new(v1::ListJobsResponse {
            jobs: page.items.into_iter().map(job::to_wire).collect(),
            next_page_token: page.next,
        }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Answer<v1::CancelJobResponse> {
        let name = JobName::parse("name", &request.into_inner().name)?;
        let job = Some(job::to_wire(self.0.cancel_job(&name).await?));
        Ok(Response::new(v1::CancelJobResponse { job }))
    }
}
