//! SE-1: every request carries a signature that verifies with the endpoint's secret.

use super::Violation;
use crate::history::History;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let requests = history.requests.values().flatten();
    let unsigned = requests.filter_map(|request| {
        let sent = &request.sent;
        let why = sent.unsigned.as_ref()?;
        let what = format!("request {} does not verify: {why}", sent.request);
        Some(Violation::new("SE-1", what).of(sent.endpoint, &sent.event))
    });
    unsigned.collect()
}
