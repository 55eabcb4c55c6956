//! `DeadLetterService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::api::v1;
use wire::api::v1::dead_letter_service_server::DeadLetterService;

use super::{dead_letter, job, request};
use crate::app::{App, DeadLetterName, EndpointScope, LettersVerb, PageRequest};

/// `DeadLetterService` over the application.
pub(crate) struct DeadLetters(pub(crate) Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn get_dead_letter(
        &self,
        request: Request<v1::GetDeadLetterRequest>,
    ) -> Answer<v1::GetDeadLetterResponse> {
        let name = DeadLetterName::parse("name", &request.into_inner().name)?;
        let dead_letter = Some(dead_letter::to_wire(self.0.dead_letter(&name).await?));
        Ok(Response::new(v1::GetDeadLetterResponse { dead_letter }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Answer<v1::ListDeadLettersResponse> {
        let call = request.into_inner();
        let scope = EndpointScope::parse("parent", &call.parent)?;
        let query = dead_letter::query(call.reason, call.start_time, call.end_time);
        let page = PageRequest::parse(call.page_size, call.page_token);
        let (query, page) = request::both(query, page)?;
        let page = self.0.list_dead_letters(&scope, query, &page).await?;
        Ok(Response::new(v1::ListDeadLettersResponse {
            dead_letters: page.items.into_iter().map(dead_letter::in_list).collect(),
            next_page_token: page.next,
        }))
    }

    async fn redrive_dead_letter(
        &self,
        request: Request<v1::RedriveDeadLetterRequest>,
    ) -> Answer<v1::RedriveDeadLetterResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("RedriveDeadLetter", &id, &call);
        let (repeat, name) = request::both(repeat, DeadLetterName::parse("name", &call.name))?;
        let target = self.0.redrive(&name, repeat.as_ref()).await?;
        Ok(Response::new(dead_letter::redriven(target)))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<v1::RedriveDeadLettersRequest>,
    ) -> Answer<v1::RedriveDeadLettersResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("RedriveDeadLetters", &id, &call)?;
        let query = dead_letter::query(call.reason, call.start_time, call.end_time);
        let (query, scope) = request::both(query, EndpointScope::parse("parent", &call.parent))?;
        let made = self.0.letters_job(LettersVerb::Redrive, &scope, query, repeat.as_ref()).await?;
        Ok(Response::new(v1::RedriveDeadLettersResponse { job: Some(job::to_wire(made)) }))
    }

    async fn purge_dead_letters(
        &self,
        request: Request<v1::PurgeDeadLettersRequest>,
    ) -> Answer<v1::PurgeDeadLettersResponse> {
        let mut call = request.into_inner();
        let id = std::mem::take(&mut call.request_id);
        let repeat = request::request_id("PurgeDeadLetters", &id, &call)?;
        let query = dead_letter::query(call.reason, call.start_time, call.end_time);
        let (query, scope) = request::both(query, EndpointScope::parse("parent", &call.parent))?;
        let made = self.0.letters_job(LettersVerb::Purge, &scope, query, repeat.as_ref()).await?;
        Ok(Response::new(v1::PurgeDeadLettersResponse { job: Some(job::to_wire(made)) }))
    }
}
