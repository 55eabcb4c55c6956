//! What a job has started and what has had no attempt yet: so many wait ahead of live traffic, and no more.

use std::collections::{BTreeSet, VecDeque};

use domain::{EndpointUid, EventRef, RunId, RunState};
use futures::{StreamExt as _, stream};

use crate::app::{App, Error};

/// Deliveries of one job that may wait (`architecture.md` §7 allows 1 000; a page comes on top).
pub(super) const WINDOW_MAX: usize = 500;
/// Deliveries that are looked at in one round, and at once.
const LOOK_MAX: usize = 128;
const LOOKS_AT_ONCE: usize = 16;

/// One delivery.
pub(super) struct Started {
    pub(super) event: EventRef,
    pub(super) endpoint: EndpointUid,
    pub(super) run: RunId,
}

/// The deliveries that were started and have had no attempt, oldest first.
#[derive(Default)]
pub(super) struct Window(VecDeque<Started>);

impl Window {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, started: Started) {
        self.0.push_back(started);
    }

    /// Forgets those of other endpoints.
    pub(super) fn keep(&mut self, endpoints: &BTreeSet<EndpointUid>) {
        self.0.retain(|started| endpoints.contains(&started.endpoint));
    }

    /// Looks at the oldest and lets go of those that had an attempt or have ended. Whether there was one.
    pub(super) async fn look(&mut self, app: &App) -> Result<bool, Error> {
        let count = self.0.len().min(LOOK_MAX);
        let looks = self.0.iter().take(count).map(|started| has_begun(app, started));
        let looks: Vec<_> = looks.collect();
        let begun: Vec<Result<bool, Error>> =
            stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
        let mut found = false;
        for begun in begun {
            let Some(started) = self.0.pop_front() else { break };
            match begun {
                Ok(true) => found = true,
                Ok(false) => self.0.push_back(started),
                Err(error) => {
                    self.0.push_back(started);
                    return Err(error);
                }
            }
        }
        Ok(found)
    }
}

async fn has_begun(app: &App, started: &Started) -> Result<bool, Error> {
    let loaded = app.deps.events.load(&started.event, started.endpoint).await?;
    let run = RunState::of(&loaded.facts, started.run);
    Ok(run.attempts > 0 || run.has_ended())
}
