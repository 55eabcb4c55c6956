//! What the loop tells others of itself.

use std::collections::BTreeSet;

use delivery::Write;
use domain::{EndpointState, EndpointUid, Shard, Timestamp};
use tokio::sync::watch;

use super::Worker;
use crate::notices::Of;
use crate::progress::Progress;

/// The operational event of a network at fault (`architecture.md` §6).
const EGRESS_DEGRADED: &str = "egress.degraded";

/// What a person has to know of.
#[derive(Clone, Debug)]
pub struct Alarms {
    /// Most endpoints fail in ways that speak of the network on our own side: nothing counts as their failure meanwhile.
    pub egress_degraded: watch::Receiver<bool>,
    /// Shards that have stopped because most of their records are no events.
    pub stopped_shards: watch::Receiver<BTreeSet<Shard>>,
    /// How far its shards have come; at most 5 s old.
    pub progress: watch::Receiver<Progress>,
}

impl Worker {
    /// The shards that this worker owns, as they change: it is ready when it has been given any.
    #[must_use]
    pub fn owned(&self) -> watch::Receiver<BTreeSet<Shard>> {
        self.owned.subscribe()
    }

    /// What a person has to know of, as it changes.
    #[must_use]
    pub fn alarms(&self) -> Alarms {
        Alarms {
            egress_degraded: self.egress_degraded.subscribe(),
            stopped_shards: self.poison.stopped(),
            progress: self.progress.subscribe(),
        }
    }

    /// Tells a tenant of dead letters.
    pub(super) fn tell_letters(&self, write: &Write) {
        for letter in &write.dead_letters {
            if let Some(spec) = self.engine.spec(letter.endpoint) {
                let of = Of {
                    tenant: &letter.tenant,
                    uid: letter.endpoint,
                    endpoint: &spec.id,
                    time: letter.time,
                };
                self.notices.tell(of.dead_lettered(letter));
            }
        }
    }

    /// Tells a tenant that this worker has changed an endpoint's state.
    pub(super) fn tell_state(&self, uid: EndpointUid, to: EndpointState, time: Timestamp) {
        if let Some(spec) = self.engine.spec(uid) {
            let of = Of { tenant: &spec.tenant, uid, endpoint: &spec.id, time };
            self.notices.tell(of.state_changed(to));
        }
    }

    pub(super) fn tell_egress(&self) {
        let now = self.engine.egress_degraded();
        self.egress_degraded.send_if_modified(|before| {
            let changed = std::mem::replace(before, now) != now;
            if changed && now {
                tracing::warn!(
                    event = EGRESS_DEGRADED,
                    "most endpoints cannot be reached (DNS, connect, TLS, timeout): the network of this process seems to be at fault; nothing counts as an endpoint's failure until that is over",
                );
            } else if changed {
                tracing::info!(event = EGRESS_DEGRADED, "endpoints can be reached again");
            }
            changed
        });
    }
}
