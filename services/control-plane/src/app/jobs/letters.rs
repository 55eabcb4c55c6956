//! Redrives and purges of many dead letters: endpoint by endpoint, each list from its newest to its oldest.

use domain::{
    CommandId, CommandKind, DeadLetter, Endpoint, EndpointUid, JobCursor, LetterFilter, RunId,
};
use ports::{DeadLetterFilter, Taken};

use super::window::Started;
use super::{LettersVerb, Stop, Work, run_of};
use crate::app::commands::Order;
use crate::app::endpoint_state::disabled_for_good;
use crate::app::seed::uuid_v7;

/// Dead letters of one page.
const PAGE: usize = 100;

impl Work {
    /// Does one page of dead letters. Returns whether there is more.
    pub(super) async fn letters_page(
        &mut self,
        verb: LettersVerb,
        filter: &LetterFilter,
    ) -> Result<bool, Stop> {
        let Some((endpoint, before)) = self.list_to_read(verb, filter).await? else {
            return Ok(false);
        };
        let query = DeadLetterFilter {
            reason: filter.reason,
            since: filter.since,
            until: Some(filter.until),
        };
        let store = self.app.deps.dead_letters.clone();
        let page = store.list(endpoint.uid, &query, before, PAGE).await?;
        for (letter, _) in &page.letters {
            // A letter's id is made of its endpoint and event.
            let run = run_of(&self.job, letter.id.as_bytes());
            let taken = store.begin_redrive(&endpoint.tenant, endpoint.uid, letter.id, run).await?;
            match (taken, verb) {
                (Taken::Ours(letter), LettersVerb::Redrive) => {
                    self.send_redrive(&endpoint, &letter, run).await?;
                    self.job.counts.done += 1;
                }
                (Taken::Ours(letter), LettersVerb::Purge) => {
                    store.resolve(endpoint.uid, letter.id, run).await?;
                    self.job.counts.done += 1;
                }
                (Taken::InProgress | Taken::NotFound, _) => self.job.counts.skipped += 1,
            }
            self.job.counts.looked_at += 1;
        }
        self.job.cursor = match page.next {
            Some(before) => JobCursor::Letters { endpoint: endpoint.uid, before: Some(before) },
            None => JobCursor::Letters { endpoint: after(endpoint.uid), before: None },
        };
        Ok(true)
    }

    /// The endpoint whose list is next, and where to go on in it.
    async fn list_to_read(
        &self,
        verb: LettersVerb,
        filter: &LetterFilter,
    ) -> Result<Option<(Endpoint, Option<ports::DeadLetterKey>)>, Stop> {
        let config = self.app.tenant(&self.job.tenant).await?;
        let (from, before) = match self.job.cursor {
            JobCursor::Letters { endpoint, before } => (Some(endpoint), before),
            JobCursor::Start | JobCursor::Log { .. } => (None, None),
        };
        let endpoints = config.endpoints.iter().map(|config| &config.endpoint);
        let mut wanted: Vec<&Endpoint> = endpoints
            .filter(|endpoint| filter.endpoint.is_none_or(|uid| uid == endpoint.uid))
            .collect();
        if wanted.is_empty() && filter.endpoint.is_some() {
            return Err(Stop::deleted());
        }
        wanted.retain(|endpoint| {
            let may = verb == LettersVerb::Purge || disabled_for_good(endpoint).is_none();
            may && from.is_none_or(|from| endpoint.uid >= from)
        });
        let next = wanted.into_iter().min_by_key(|endpoint| endpoint.uid);
        Ok(next.map(|endpoint| (endpoint.clone(), before.filter(|_| Some(endpoint.uid) == from))))
    }

    async fn send_redrive(
        &mut self,
        endpoint: &Endpoint,
        letter: &DeadLetter,
        run: RunId,
    ) -> Result<(), Stop> {
        let (app, event) = (self.app.clone(), letter.event.clone());
        let now = app.deps.clock.now();
        let order = Order {
            id: CommandId(uuid_v7(now, &app.deps.rng.next_u128().to_be_bytes())),
            shard: app.shard_for(&event, endpoint.uid),
            time: now,
            endpoint: endpoint.uid,
            kind: CommandKind::Redrive {
                dead_letter: letter.id,
                event: event.clone(),
                run,
                by_job: true,
            },
        };
        app.send(&endpoint.tenant, vec![order]).await?;
        self.window.push(Started { event, endpoint: endpoint.uid, run });
        Ok(())
    }
}

/// The smallest uid behind this one.
fn after(uid: EndpointUid) -> EndpointUid {
    let number = u128::from_be_bytes(*uid.as_bytes()).saturating_add(1);
    EndpointUid::from_uuid(uuid::Uuid::from_u128(number))
}
