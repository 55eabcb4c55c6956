//! DL-5: whatever the others do, an endpoint that is well gets what it is due without delay.

use std::time::Duration;

use domain::EndpointUid;

use super::Violation;
use crate::history::History;
use crate::model::Published;

/// From the moment at which a first attempt is due to its beginning: a burst of 40 at the slowest bystander's pace, and the store's.
const DELAY_MAX: Duration = Duration::from_secs(5);

pub(super) fn check(history: &History) -> Vec<Violation> {
    let bystanders = history.endpoints.iter().filter(|known| known.plan.is_bystander);
    let late = bystanders.flat_map(|known| {
        let mine = history.model.records.iter().filter(|r| r.wanted.contains(&known.uid));
        mine.filter_map(|record| delay(history, known.uid, record))
    });
    late.collect()
}

fn delay(history: &History, endpoint: EndpointUid, record: &Published) -> Option<Violation> {
    // A repeat of a key is delivered with its first one.
    if record.keyed {
        return None;
    }
    let id = &record.event.id;
    let first = history.requests.get(&(endpoint, id.clone()))?.first()?;
    let delay = first.time.since(record.due);
    (delay > DELAY_MAX).then(|| {
        let what = format!("the first attempt of {id} begins {delay:?} after it is due");
        Violation::new("DL-5", what).of(endpoint, id)
    })
}
