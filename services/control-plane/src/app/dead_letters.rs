//! Dead letters: reading one, and taking it up again.

use std::sync::Arc;

use domain::{CommandId, CommandKind, DeadLetter, Endpoint, Event, Resolution, RunId};
use ports::Taken;

use super::commands::Order;
use super::deliveries::failed_redrives;
use super::endpoint_state::disabled_for_good;
use super::{App, DeadLetterName, DeliveryName, Error, RequestId};

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

/// A dead letter with what became of it.
pub(super) type Found = (DeadLetter, Option<Resolution>);

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

    pub(super) async fn letter_view(
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
            kind: CommandKind::Redrive {
                dead_letter: letter.id,
                event: letter.event.clone(),
                run,
                by_job: false,
            },
        };
        self.send(&endpoint.tenant, vec![order]).await
    }
}
