//! Listing dead letters: of one endpoint or of all of a tenant, newest first.
//!
//! # Theory of operation
//!
//! Stores read a bounded part of an endpoint's list in one call, and say at which key they stopped. Above the newest of these keys, the horizon, the lists
//! of all endpoints are known and can be merged; the page ends there at the latest, and the next one begins there. So one key is all that a token holds,
//! and a page may be short, even empty, before the last one.

use std::cmp::Reverse;

use domain::{DeadLetterId, DeadLetterReason, Endpoint, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use ports::{DeadLetterFilter, DeadLetterKey, DeadLetterPage};

use super::dead_letters::Found;
use super::deliveries::endpoints_of;
use super::page::ListName;
use super::{App, DeadLetterView, EndpointScope, Error, Page, PageRequest};

/// Endpoints and dead letters that are read at once.
const READS_AT_ONCE: usize = 8;

/// Which dead letters to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DeadLetterQuery {
    pub(crate) reason: Option<DeadLetterReason>,
    pub(crate) start: Option<Timestamp>,
    pub(crate) end: Option<Timestamp>,
}

impl App {
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
        // One more than the page has says that there is more.
        let newest = self.newest(&endpoints, query, before, page.size + 1).await?;
        let (letters, next) = newest.into_page(page.size);
        let views = letters.into_iter().map(|(endpoint, found)| self.letter_view(endpoint, found));
        let views: Vec<_> = views.collect();
        let items = stream::iter(views).buffered(READS_AT_ONCE).try_collect().await?;
        let token = |(time, id): DeadLetterKey| {
            self.make_token(&list, &(time.as_millis(), u128::from_be_bytes(*id.as_bytes())))
        };
        Ok(Page { items, next: next.map(token).unwrap_or_default() })
    }

    /// The newest of several endpoints, at most `limit` of all and never more than that in hand for each.
    async fn newest<'e>(
        &self,
        endpoints: &[&'e Endpoint],
        query: DeadLetterQuery,
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> Result<Newest<'e>, Error> {
        let store = &self.deps.dead_letters;
        let mut newest = Newest { limit, letters: Vec::new(), horizon: None };
        for some in endpoints.chunks(READS_AT_ONCE) {
            let since = query.start.max(newest.floor());
            let filter = &DeadLetterFilter { reason: query.reason, since, until: query.end };
            let lists = some.iter().map(|endpoint| async move {
                let page = store.list(endpoint.uid, filter, before, limit).await?;
                Ok::<_, Error>((*endpoint, page))
            });
            for (endpoint, page) in future::try_join_all(lists).await? {
                newest.add(endpoint, page);
            }
        }
        Ok(newest)
    }
}

/// The newest dead letters of the endpoints that were asked so far.
struct Newest<'e> {
    limit: usize,
    /// Newest first.
    letters: Vec<(&'e Endpoint, Found)>,
    /// The newest key at which a list was left: older ones are not known of every endpoint.
    horizon: Option<DeadLetterKey>,
}

impl<'e> Newest<'e> {
    fn add(&mut self, endpoint: &'e Endpoint, page: DeadLetterPage) {
        self.horizon = self.horizon.max(page.next);
        self.letters.extend(page.letters.into_iter().map(|found| (endpoint, found)));
        self.letters.retain(|letter| Some(key(letter)) >= self.horizon);
        self.letters.sort_by_key(|letter| Reverse(key(letter)));
        self.letters.truncate(self.limit);
    }

    /// What is older than this will not be in the page.
    fn floor(&self) -> Option<Timestamp> {
        let last = self.letters.last().filter(|_| self.letters.len() == self.limit);
        last.map(key).max(self.horizon).map(|(time, _)| time)
    }

    /// At most `size` of them, and where the next page begins.
    fn into_page(mut self, size: usize) -> (Vec<(&'e Endpoint, Found)>, Option<DeadLetterKey>) {
        let is_cut = self.letters.len() > size;
        self.letters.truncate(size);
        let next = self.letters.last().filter(|_| is_cut).map(key).or(self.horizon);
        (self.letters, next)
    }
}

fn key((_, (letter, _)): &(&Endpoint, Found)) -> DeadLetterKey {
    (letter.time, letter.id)
}
