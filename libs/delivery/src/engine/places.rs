//! How many attempts may be on their way, and whose: what answers slowly leaves places to the others (`architecture.md` §4).

use domain::{EndpointUid, Timestamp, limits};

use super::Engine;

impl Engine {
    /// Starts attempts until nobody may, or the worker's bounds are reached.
    pub(super) fn pump(&mut self, now: Timestamp) {
        if self.stopping {
            return;
        }
        self.let_slow_in();
        while self.has_place()
            && let Some(uid) = self.round.pop_front()
        {
            if self.is_slow(uid) && !self.slow_has_place(uid) {
                self.aside.push_back(uid);
            } else {
                self.take_turn(uid, now);
            }
        }
        if self.round.is_empty() {
            self.pump_aside(now);
        }
    }

    /// Slow endpoints whose share has room again take part in the round.
    fn let_slow_in(&mut self) {
        let room = self.share(limits::SLOW_TOGETHER_SHARE).saturating_sub(self.slow_in_flight);
        for _ in 0..room.min(self.aside.len()) {
            let Some(uid) = self.aside.pop_front() else {
                return;
            };
            let queue = if self.slow_has_place(uid) { &mut self.round } else { &mut self.aside };
            queue.push_back(uid);
        }
    }

    /// Nobody else waits: slow endpoints may hold more than their share.
    fn pump_aside(&mut self, now: Timestamp) {
        let places = self.config.in_flight_max;
        let kept = places / limits::PLACES_KEPT_SHARE;
        while self.has_place()
            && self.in_flight.len() < places - kept
            && let Some(uid) = self.aside.pop_front()
        {
            self.take_turn(uid, now);
            // It waits for its next turn where it waited before.
            let again = std::mem::take(&mut self.round);
            self.aside.extend(again);
        }
    }

    fn take_turn(&mut self, uid: EndpointUid, now: Timestamp) {
        if let Some(endpoint) = self.endpoints.get_mut(&uid) {
            endpoint.in_round = false;
        }
        if self.start_one(uid, now) {
            self.kick(uid);
        }
    }

    /// Whether one more attempt may start. Outcomes that are not durable count: after a crash they are sent again like what is in flight (DL-4).
    fn has_place(&self) -> bool {
        let (flying, most) = (self.in_flight.len(), self.config.in_flight_max);
        flying < most && flying + self.unwritten < most.saturating_mul(limits::UNWRITTEN_FACTOR)
    }

    fn is_slow(&self, uid: EndpointUid) -> bool {
        self.endpoints.get(&uid).is_some_and(|endpoint| endpoint.is_slow())
    }

    fn slow_has_place(&self, uid: EndpointUid) -> bool {
        let mine = self.endpoints.get(&uid).map_or(0, |endpoint| endpoint.in_flight);
        self.slow_in_flight < self.share(limits::SLOW_TOGETHER_SHARE)
            && (mine as usize) < self.share(limits::SLOW_ALONE_SHARE)
    }

    fn share(&self, of: usize) -> usize {
        (self.config.in_flight_max / of).max(1)
    }

    /// An attempt of an endpoint has taken a place.
    pub(super) fn place_taken(&mut self, uid: EndpointUid) {
        self.slow_in_flight += usize::from(self.is_slow(uid));
    }

    /// An attempt of an endpoint has left its place.
    pub(super) fn place_freed(&mut self, uid: EndpointUid, sole: bool) {
        if let Some(endpoint) = self.endpoints.get_mut(&uid) {
            endpoint.ended(sole);
            let freed = usize::from(endpoint.is_slow());
            self.slow_in_flight = self.slow_in_flight.saturating_sub(freed);
        }
    }

    /// An endpoint has answered, or failed to, after this time.
    pub(super) fn learn_pace(&mut self, uid: EndpointUid, took: std::time::Duration) {
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return;
        };
        let was_slow = endpoint.is_slow();
        endpoint.learn_pace(took);
        let mine = endpoint.in_flight as usize;
        match (was_slow, endpoint.is_slow()) {
            (false, true) => self.slow_in_flight += mine,
            (true, false) => self.slow_in_flight = self.slow_in_flight.saturating_sub(mine),
            (false, false) | (true, true) => {}
        }
    }
}
