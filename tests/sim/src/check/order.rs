//! DL-6: of two events with one ordering key, an endpoint that asks for order gets the later one first once the earlier one has ended.

use std::collections::BTreeMap;

use domain::{EndpointUid, Ordering, RunId, Shard};

use super::Violation;
use crate::history::{History, Request};
use crate::model::Published;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let ordered =
        history.endpoints.iter().filter(|known| known.plan.policy.ordering == Ordering::ByKey);
    ordered.flat_map(|known| check_endpoint(history, known.uid)).collect()
}

fn check_endpoint(history: &History, endpoint: EndpointUid) -> Vec<Violation> {
    let mut lines: BTreeMap<(Shard, &str), Vec<&Published>> = BTreeMap::new();
    // A repeat of an idempotency key goes where its first one lies.
    let wanted = history.model.records.iter().filter(|r| r.wanted.contains(&endpoint) && !r.keyed);
    for record in wanted {
        if let Some(key) = &record.order {
            lines.entry((record.event.at.shard, key)).or_default().push(record);
        }
    }
    let mut violations = Vec::new();
    for ((_, key), mut records) in lines {
        records.sort_by_key(|record| record.event.at);
        let mut later: Option<(usize, &Published)> = None;
        for record in records.into_iter().rev() {
            let (first, last) = span(history, endpoint, record);
            if let (Some(last), Some((begins, other))) = (last, later)
                && begins < last
            {
                let (id, other) = (&record.event.id, &other.event.id);
                let what =
                    format!("{other} is sent before the last request of {id}, both of {key}");
                violations.push(Violation::new("DL-6", what).of(endpoint, id));
            }
            let earlier = |first| later.is_none_or(|(begins, _)| first < begins);
            if let Some(first) = first.filter(|first| earlier(*first)) {
                later = Some((first, record));
            }
        }
    }
    violations
}

/// The places of the first and the last request of the log's run of a delivery.
fn span(
    history: &History,
    endpoint: EndpointUid,
    record: &Published,
) -> (Option<usize>, Option<usize>) {
    let requests = history.requests.get(&(endpoint, record.event.id.clone()));
    let requests = requests.map_or(&[][..], Vec::as_slice);
    let run = |request: &Request| request.recorded.map(|(_, run)| run);
    // What was never recorded may be of any run that there is: only where there is one alone it is known.
    let is_sure = requests.iter().filter_map(run).all(|run| run == RunId::LOG);
    let of_log = requests.iter().filter(|request| match run(request) {
        Some(run) => run == RunId::LOG,
        None => is_sure,
    });
    let places: Vec<usize> = of_log.map(|request| request.place).collect();
    (places.iter().min().copied(), places.iter().max().copied())
}
