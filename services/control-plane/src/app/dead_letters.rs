//! Dead letters: reading, listing, and taking one up again.

use std::sync::Arc;

use domain::{
    CommandId, CommandKind, DeadLetter, DeadLetterId, DeadLetterReason, Endpoint, Event,
    Resolution, RunId, Timestamp,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ports::{DeadLetterFilter, Taken};

use super::commands::Order;
use super::deliveries::{endpoints_of, failed_redrives};
use super::endpoint_state::disabled_for_good;
use super::page::ListName;
use super::{
    App, DeadLetterName, DeliveryName, EndpointScope, Error, Page, PageRequest, RequestId,
};

/// Endpoints and dead letters that are read at once.
const READS_AT_ONCE: usize = 8;

/// A dead letter as callers see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DeadLetterView {
    pub(crate) name: DeadLetterName,
    pub(crate) letter: DeadLetter,
    pub(crate) is_redriving: bool,
    /// How often it was redriven and came back.
    pub(crate) redrives: usize,
    /// `None` when its body is not kept any more.
    pub(crate) event: Option<Arc<Event>>,
}

/// A redrive that has begun, and where to follow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RedriveTarget {
    pub(crate) letter: DeadLetterView,
    pub(crate) delivery: DeliveryName,
}

/// Which dead letters to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DeadLetterQuery {
    pub(crate) reason: Option<DeadLetterReason>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
}

type Found = (DeadLetter, Option<Resolution>);

impl App {
    /// Reads one with its payload.
    pub(crate) async fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetterView, Error> {
        let endpoint = self.endpoint_config(&name.endpoint).await?.endpoint;
        let found = self.letter(name, &endpoint).await?;
        self.letter_view(&endpoint, found).await
    }

    async fn letter(&self, name: &DeadLetterName, endpoint: &Endpoint) -> Result<Found, Error> {
        let store = &self.deps.dead_letters;
        store
            .get(&endpoint.tenant, endpoint.uid, name.id)
            .await?
            .ok_or_else(|| Error::NotFound(name.to_string()))
    }

    async fn letter_view(
        &self,
        endpoint: &Endpoint,
        (letter, resolution): Found,
    ) -> Result<DeadLetterView, Error> {
        let loaded = self.deps.events.load(&letter.event, endpoint.uid).await?;
        Ok(DeadLetterView {
            name: DeadLetterName { endpoint: super::endpoints::name_of(endpoint), id: letter.id },
            is_redriving: matches!(resolution, Some(Resolution::Redriving(_))),
            redrives: failed_redrives(&loaded.facts),
            event: loaded.event,
            letter,
        })
    }

    /// Lists dead letters, newest first: of one endpoint, or of all.
    pub(crate) async fn list_dead_letters(
        &self,
        scope: &EndpointScope,
        query: DeadLetterQuery,
        page: &PageRequest,
    ) -> Result<Page<DeadLetterView>, Error> {
        let parent = format!("{}/{:?}/{query:?}", scope.tenant, scope.endpoint);
        let list = ListName(&["dead letters", &parent]);
        let before: Option<(i64, u128)> = self.open_token(&list, &page.token)?;
        let before = before.and_then(|(time, id)| {
            let id = DeadLetterId::from_slice(&id.to_be_bytes())?;
            Some((Timestamp::from_millis(time), id))
        });
        let tenant = self.tenant(&scope.tenant).await?;
        let endpoints = endpoints_of(&tenant, scope)?;
        let newest = self.newest(&endpoints, query, before, page.size + 1).await?;
        let is_more = newest.len() > page.size;
        let views: Vec<_> = newest
            .into_iter()
            .take(page.size)
            .map(|(endpoint, found)| self.letter_view(endpoint, found))
            .collect();
        let items: Vec<DeadLetterView> =
            stream::iter(views).buffered(READS_AT_ONCE).try_collect().await?;
        let next = match items.last().filter(|_| is_more) {
            Some(last) => {
                let id = u128::from_be_bytes(*last.letter.id.as_bytes());
                self.make_token(&list, &(last.letter.time.as_millis(), id))
            }
            None => String::new(),
        };
        Ok(Page { items, next })
    }

    /// The newest of several endpoints, at most `limit` of all and never more than that in hand for each.
    async fn newest<'e>(
        &self,
        endpoints: &[&'e Endpoint],
        query: DeadLetterQuery,
        before: Option<(Timestamp, DeadLetterId)>,
        limit: usize,
    ) -> Result<Vec<(&'e Endpoint, Found)>, Error> {
        let filter =
            DeadLetterFilter { reason: query.reason, since: query.start, until: query.end };
        let (store, filter) = (&self.deps.dead_letters, &filter);
        let lists: Vec<_> = endpoints
            .iter()
            .map(|endpoint| async move {
                let found = store.list(endpoint.uid, filter, before, limit).await;
                found.map(|found| (*endpoint, found))
            })
            .collect();
        let mut lists = stream::iter(lists).buffer_unordered(READS_AT_ONCE);
        let mut newest: Vec<(&Endpoint, Found)> = Vec::new();
        while let Some((endpoint, found)) = lists.try_next().await? {
            newest.extend(found.into_iter().map(|found| (endpoint, found)));
            newest.sort_by_key(|(_, (letter, _))| std::cmp::Reverse((letter.time, letter.id)));
            newest.truncate(limit);
        }
        Ok(newest)
    }

    /// Delivers a dead letter's event anew, with a whole new schedule.
    ///
    /// # Errors
    /// [`Error::EndpointDisabled`] when the endpoint is disabled by hand or by its answer; [`Error::RedriveInProgress`].
    pub(crate) async fn redrive(
        &self,
        name: &DeadLetterName,
        request: Option<&RequestId>,
    ) -> Result<RedriveTarget, Error> {
        let endpoint = self.endpoint_config(&name.endpoint).await?.endpoint;
        if let Some(error) = disabled_for_good(&endpoint) {
            return Err(error);
        }
        let seed = self.seed(&endpoint.tenant, request).await?;
        let run = seed.run("redrive");
        let store = &self.deps.dead_letters;
        match store.begin_redrive(&endpoint.tenant, endpoint.uid, name.id, run).await? {
            Taken::Ours(letter) => {
                self.send_redrive(&endpoint, &letter, run).await?;
                let found = (*letter, Some(Resolution::Redriving(run)));
                let letter = self.letter_view(&endpoint, found).await?;
                Ok(RedriveTarget {
                    delivery: DeliveryName {
                        endpoint: name.endpoint.clone(),
                        event: letter.letter.event.id.clone(),
                    },
                    letter,
                })
            }
            Taken::InProgress => {
                // Its command may be missing, when a process died between the two writes: the same command again changes nothing.
                if let (letter, Some(Resolution::Redriving(run))) =
                    self.letter(name, &endpoint).await?
                {
                    self.send_redrive(&endpoint, &letter, run).await?;
                }
                Err(Error::RedriveInProgress(name.to_string()))
            }
            Taken::NotFound => Err(Error::NotFound(name.to_string())),
        }
    }

    /// The command's id is the run's, so that it can be sent again.
    async fn send_redrive(
        &self,
        endpoint: &Endpoint,
        letter: &DeadLetter,
        run: RunId,
    ) -> Result<(), Error> {
        let order = Order {
            id: CommandId(run.uuid()),
            shard: self.shard_for(&letter.event, endpoint.uid),
            time: self.deps.clock.now(),
            endpoint: endpoint.uid,
            kind: CommandKind::Redrive { dead_letter: letter.id, event: letter.event.clone(), run },
        };
        self.send(&endpoint.tenant, vec![order]).await
    }
}
