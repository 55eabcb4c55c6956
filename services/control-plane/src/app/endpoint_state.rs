//! Pausing, resuming and disabling endpoints: compare-and-set on the state, since workers change it too.

use domain::{CommandKind, DisableReason, Endpoint, EndpointState};
use ports::{Applied, StateChange};

use super::endpoints::check_etag;
use super::{App, EndpointName, EndpointView, Error, RequestId};

/// Times that a change is tried again when others change the same.
pub(crate) const TRIES_MAX: usize = 8;

/// A verb that changes the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StateVerb {
    Pause,
    Resume { catch_up: bool },
    Disable,
}

impl App {
    /// Changes an endpoint's state. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`Error::EndpointDisabled`] for a pause of a disabled one; [`Error::EtagMismatch`].
    pub(crate) async fn change_state(
        &self,
        name: &EndpointName,
        verb: StateVerb,
        etag: &str,
        request: Option<&RequestId>,
    ) -> Result<EndpointView, Error> {
        self.tenant(&name.tenant).await?;
        if self.was_done(&name.tenant, request).await? {
            return self.get_endpoint(name).await;
        }
        if verb == (StateVerb::Resume { catch_up: false }) {
            self.forget_skipped(name, etag).await?;
        }
        let before = self.set_state(name, verb, etag).await?;
        if let StateVerb::Resume { catch_up: true } = verb
            && before.state != EndpointState::Paused
        {
            // Also for one that is active: a resume that was cut off after its first half heals by a repeat.
            let kind = CommandKind::Resume { catch_up: true };
            self.send_to_all_shards(&name.tenant, before.uid, &kind).await?;
        }
        self.note_done(&name.tenant, request).await?;
        self.get_endpoint(name).await
    }

    /// Lets the owners of the shards forget what was skipped before they see the endpoint active: from then on they catch up.
    async fn forget_skipped(&self, name: &EndpointName, etag: &str) -> Result<(), Error> {
        let endpoint = self.endpoint_config(name).await?.endpoint;
        check_etag(name, etag, endpoint.revision)?;
        if endpoint.state == EndpointState::Paused {
            return Ok(());
        }
        let kind = CommandKind::Resume { catch_up: false };
        let ids = self.send_to_all_shards(&name.tenant, endpoint.uid, &kind).await?;
        self.wait_until_done(&ids).await
    }

    /// Gives the endpoint as it was before.
    async fn set_state(
        &self,
        name: &EndpointName,
        verb: StateVerb,
        etag: &str,
    ) -> Result<Endpoint, Error> {
        for _ in 0..TRIES_MAX {
            let endpoint = self.endpoint_config(name).await?.endpoint;
            check_etag(name, etag, endpoint.revision)?;
            let Some(to) = target(&endpoint, verb)? else {
                return Ok(endpoint);
            };
            let change = StateChange { from: endpoint.state, to, time: self.deps.clock.now() };
            let store = &self.deps.config;
            match store.set_state(&name.tenant, endpoint.uid, change).await? {
                Applied::Done(revision) => {
                    self.hint_tenant(&name.tenant, revision).await;
                    return Ok(endpoint);
                }
                Applied::Conflict | Applied::Exists => {}
                Applied::NotFound => return Err(Error::NotFound(name.to_string())),
            }
        }
        Err(Error::Contended(name.to_string()))
    }
}

/// The state that the verb leads to; `None` when it is there.
fn target(endpoint: &Endpoint, verb: StateVerb) -> Result<Option<EndpointState>, Error> {
    let by_hand = EndpointState::Disabled(DisableReason::ByHand);
    let to = match (verb, endpoint.state) {
        (StateVerb::Pause, EndpointState::Disabled(reason)) => {
            return Err(disabled(endpoint, reason));
        }
        (StateVerb::Pause, EndpointState::Active | EndpointState::Paused) => EndpointState::Paused,
        (StateVerb::Resume { .. }, _) => EndpointState::Active,
        (StateVerb::Disable, _) => by_hand,
    };
    Ok((to != endpoint.state).then_some(to))
}

fn disabled(endpoint: &Endpoint, reason: DisableReason) -> Error {
    Error::EndpointDisabled {
        name: EndpointName { tenant: endpoint.tenant.clone(), endpoint: endpoint.id.clone() }
            .to_string(),
        reason: disable_text(reason),
    }
}

/// Why deliveries that a person asks for are refused: disabled by hand or by its answer. One that is failing takes them (spec §3).
pub(crate) fn disabled_for_good(endpoint: &Endpoint) -> Option<Error> {
    match endpoint.state {
        EndpointState::Disabled(reason @ (DisableReason::Answer(_) | DisableReason::ByHand)) => {
            Some(disabled(endpoint, reason))
        }
        EndpointState::Disabled(DisableReason::Failing)
        | EndpointState::Active
        | EndpointState::Paused => None,
    }
}

/// The reason in words.
pub(crate) fn disable_text(reason: DisableReason) -> String {
    match reason {
        DisableReason::Failing => "failed too often in a row".to_owned(),
        DisableReason::Answer(status) => format!("answered {status}"),
        DisableReason::ByHand => "disabled by hand".to_owned(),
    }
}
