//! Whether the network on our own side is at fault: failures of our own are not the endpoints' (`architecture.md` §6).

use std::collections::{BTreeMap, VecDeque};

use domain::{EndpointUid, ErrorClass, OutcomeKind, Timestamp, limits};

/// The last outcome of each endpoint within a minute.
#[derive(Debug, Default)]
pub(crate) struct Egress {
    last: BTreeMap<EndpointUid, Seen>,
    /// When each was seen; older entries of an endpoint mean nothing.
    in_order: VecDeque<(Timestamp, EndpointUid)>,
    failing: usize,
    degraded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Timestamp,
    fails: bool,
}

impl Egress {
    /// Takes an outcome. Over half of 20 endpoints or more that fail by DNS, connect, TLS or timeout degrade it; it is over once no more than half of
    /// those that are heard of do, however few: while it lasts they are tried less and less.
    pub(crate) fn learn(&mut self, uid: EndpointUid, outcome: OutcomeKind, now: Timestamp) {
        self.forget(now);
        let fails = is_of_the_network(outcome);
        if self.last.get(&uid).is_none_or(|seen| seen.at != now) {
            self.in_order.push_back((now, uid));
        }
        if let Some(before) = self.last.insert(uid, Seen { at: now, fails }) {
            self.failing -= usize::from(before.fails);
        }
        self.failing += usize::from(fails);
        let mostly = self.failing * 2 > self.last.len();
        self.degraded =
            mostly && (self.degraded || self.last.len() >= limits::EGRESS_ENDPOINTS_MIN);
    }

    /// Whether nothing is to be concluded about endpoints for now.
    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((at, uid)) = self.in_order.front().copied()
            && now.since(at) > limits::EGRESS_WINDOW
        {
            self.in_order.pop_front();
            if let Some(seen) = self.last.get(&uid).copied()
                && seen.at == at
            {
                self.failing -= usize::from(seen.fails);
                self.last.remove(&uid);
            }
        }
    }
}

fn is_of_the_network(outcome: OutcomeKind) -> bool {
    match outcome {
        OutcomeKind::Failed(
            ErrorClass::Dns | ErrorClass::Connect | ErrorClass::Tls | ErrorClass::Timeout,
        ) => true,
        OutcomeKind::Failed(ErrorClass::Http | ErrorClass::Blocked) | OutcomeKind::Answered(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn uid(n: u128) -> EndpointUid {
        EndpointUid::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn over_half_of_twenty_endpoints_degrade_it_and_successes_end_that() {
        let (down, up) = (OutcomeKind::Failed(ErrorClass::Dns), OutcomeKind::Answered(200));
        let mut egress = Egress::default();
        let now = Timestamp::from_millis(1_000_000);
        for n in 0..19 {
            egress.learn(uid(n), down, now);
            assert!(!egress.is_degraded(), "{n}");
        }
        egress.learn(uid(19), up, now);
        assert!(egress.is_degraded());
        for n in 0..8 {
            egress.learn(uid(n), up, now);
        }
        assert!(egress.is_degraded(), "11 of 20 still fail");
        egress.learn(uid(8), up, now);
        assert!(!egress.is_degraded());
    }

    #[test]
    fn silence_does_not_end_it_and_one_that_works_does() {
        let mut egress = Egress::default();
        let now = Timestamp::from_millis(1_000_000);
        for n in 0..20 {
            egress.learn(uid(n), OutcomeKind::Failed(ErrorClass::Timeout), now);
        }
        let later = now + Duration::from_secs(600);
        egress.learn(uid(3), OutcomeKind::Failed(ErrorClass::Timeout), later);
        assert!(egress.is_degraded());
        egress.learn(uid(4), OutcomeKind::Answered(500), later);
        assert!(!egress.is_degraded(), "half of those that were heard of");
    }

    #[test]
    fn an_endpoint_that_fails_often_counts_once() {
        let mut egress = Egress::default();
        for n in 0..100 {
            let now = Timestamp::from_millis(1_000_000 + n);
            egress.learn(uid(1), OutcomeKind::Failed(ErrorClass::Connect), now);
            egress.learn(uid(2 + n as u128 % 10), OutcomeKind::Answered(200), now);
        }
        assert!(!egress.is_degraded());
    }
}
