//! DL-7: one idempotency key is one event: an endpoint gets it with one id, whatever ids its repeats had.

use std::collections::{BTreeMap, BTreeSet};

use domain::{EndpointUid, EventId};

use super::Violation;
use crate::history::History;
use crate::plan::Flavour;

pub(super) fn check(history: &History) -> Vec<Violation> {
    // A race between two owners, a crash, or a store that loses the writing of a key may deliver repeats (DL-7 allows that).
    if history.flavour != Flavour::Calm {
        return Vec::new();
    }
    let mut ids: BTreeMap<&str, BTreeSet<&EventId>> = BTreeMap::new();
    for record in history.model.records.iter().filter(|record| record.keyed) {
        ids.entry(&record.identity).or_default().insert(&record.event.id);
    }
    let mut violations = Vec::new();
    for (key, ids) in ids.iter().filter(|(_, ids)| ids.len() > 1) {
        for known in &history.endpoints {
            let sent = |id: &&&EventId| history.requests.contains_key(&(known.uid, (**id).clone()));
            let sent: Vec<&&EventId> = ids.iter().filter(sent).collect();
            if let [_, second, ..] = sent.as_slice() {
                let endpoint: EndpointUid = known.uid;
                let what = format!("key {key} reaches {} as {} events", known.id, sent.len());
                violations.push(Violation::new("DL-7", what).of(endpoint, second));
            }
        }
    }
    violations
}
