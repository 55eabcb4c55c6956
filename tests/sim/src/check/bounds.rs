//! OP-2: a worker never has more requests on their way than it may.

use super::Violation;
use crate::history::History;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let requests = history.requests.values().flatten();
    let over = requests.filter(|request| request.sent.in_flight > history.in_flight);
    let told = over.map(|request| {
        let (sent, most) = (&request.sent, history.in_flight);
        let what = format!(
            "worker {} has {} requests on their way, at most {most}",
            sent.worker, sent.in_flight
        );
        Violation::new("OP-2", what).of(sent.endpoint, &sent.event)
    });
    told.collect()
}
