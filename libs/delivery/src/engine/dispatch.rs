//! Who sends next: endpoints take turns, one attempt a turn.

use domain::{EndpointUid, LaneKey, Timestamp};

use super::{Engine, InFlight};
use crate::effect::{AttemptStart, AttemptToken, Effect};
use crate::endpoint::Permit;
use crate::lane::{Item, Lane};
use crate::timers::Timer;

/// Loaded rows and looks that a lane keeps ahead of its sends.
pub(super) const LOAD_AHEAD: usize = 32;

impl Engine {
    /// An endpoint may have something to send: it takes part in the round.
    pub(super) fn kick(&mut self, uid: EndpointUid) {
        if let Some(endpoint) = self.endpoints.get_mut(&uid)
            && !endpoint.in_round
        {
            endpoint.in_round = true;
            self.round.push_back(uid);
        }
    }

    /// Starts one attempt of an endpoint. Returns whether there was one.
    pub(super) fn start_one(&mut self, uid: EndpointUid, now: Timestamp) -> bool {
        let Some(endpoint) = self.endpoints.get(&uid) else {
            return false;
        };
        let lanes: Vec<LaneKey> = endpoint
            .lanes_in_turn()
            .into_iter()
            .map(|shard| LaneKey { shard, endpoint: uid })
            .filter(|key| self.may_begin(*key))
            .collect();
        if endpoint.takes_tests_only() {
            lanes.iter().for_each(|key| self.end_asked(*key, now));
        }
        let Some(endpoint) = self.endpoints.get(&uid) else {
            return false;
        };
        let (permit, admits_asked) = (endpoint.permit(now), endpoint.admits_asked());
        for key in lanes.iter().filter(|_| admits_asked) {
            if let Some(item) = self.lanes.get_mut(key).and_then(|lane| lane.asked.pop_front()) {
                self.start(*key, item, Permit::Free, now);
                self.look_for_asked(*key);
                return true;
            }
        }
        if let Permit::Wait(until) = permit {
            lanes.iter().for_each(|key| self.find_left(*key, now));
            match until {
                Some(at) => self.timers.set(Timer::Endpoint(uid), at),
                None => self.timers.clear(Timer::Endpoint(uid)),
            }
            return false;
        }
        if permit != Permit::Free {
            return self.start_first_due(lanes, permit, now);
        }
        lanes.iter().for_each(|key| {
            self.feed(*key, LOAD_AHEAD, now);
            self.find_left(*key, now);
        });
        lanes.iter().any(|key| self.start_next(*key, permit, now))
    }

    fn start_next(&mut self, key: LaneKey, permit: Permit, now: Timestamp) -> bool {
        let lane = self.lanes.get_mut(&key);
        let item = lane.and_then(|lane| lane.ready.pop_front().or_else(|| lane.pop()));
        let found = item.is_some();
        if let Some(item) = item {
            self.start(key, item, permit, now);
        }
        found
    }

    /// One attempt may start: of the delivery that was due first, whichever shard it lies in.
    fn start_first_due(&mut self, mut lanes: Vec<LaneKey>, permit: Permit, now: Timestamp) -> bool {
        let is_looking = |key: &LaneKey| self.lanes.get(key).is_some_and(Lane::is_looking);
        if lanes.iter().any(is_looking) {
            return false;
        }
        let due = |key: &LaneKey| self.lanes.get(key).and_then(|lane| lane.first_due(now));
        lanes.sort_by_cached_key(|key| due(key).unwrap_or(Timestamp::MAX));
        for key in &lanes {
            self.feed(*key, 1, now);
            self.find_left(*key, now);
            if self.start_next(*key, permit, now) {
                return true;
            }
            if self.lanes.get(key).is_some_and(Lane::is_looking) {
                return false;
            }
        }
        if permit == Permit::Probe {
            lanes.iter().for_each(|key| self.probe_skipped(*key, now));
        }
        false
    }

    /// Sends an item on its way.
    fn start(&mut self, key: LaneKey, item: Item, permit: Permit, now: Timestamp) {
        let token = AttemptToken(self.token());
        let Some(endpoint) = self.endpoints.get_mut(&key.endpoint) else {
            return;
        };
        endpoint.started(permit, now);
        endpoint.last_lane = Some(key.shard);
        let generation = endpoint.breaker.generation();
        self.place_taken(key.endpoint);
        let probe = permit == Permit::Probe;
        self.effects.push_back(Effect::Attempt(AttemptStart {
            token,
            shard: key.shard,
            endpoint: key.endpoint,
            at: item.at.clone(),
            event: item.event.clone(),
            run: item.run,
            number: item.number,
            trigger: item.trigger_of(probe),
        }));
        let sole = matches!(permit, Permit::One | Permit::Probe);
        let epoch = self.lanes.get(&key).map(|lane| lane.epoch).unwrap_or_default();
        self.in_flight.insert(
            token,
            InFlight {
                item,
                lane: key,
                epoch,
                generation,
                started: now,
                sole,
                probe,
                spilled: false,
                cancelled: false,
            },
        );
    }
}
