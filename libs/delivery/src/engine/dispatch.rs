//! Who sends next: endpoints take turns, one attempt a turn.

use domain::{EndpointUid, LaneKey, Shard, Timestamp};

use super::{Engine, InFlight};
use crate::effect::{AttemptStart, AttemptToken, Effect};
#[cfg(debug_assertions)]
use crate::endpoint::Endpoint;
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

    /// A lane may have something to start: its endpoint takes part in the round.
    pub(super) fn wake(&mut self, lane: LaneKey) {
        if let Some(endpoint) = self.endpoints.get_mut(&lane.endpoint) {
            endpoint.wake(lane.shard);
        }
        self.kick(lane.endpoint);
    }

    /// Each lane of an endpoint may have something to start.
    pub(super) fn wake_all(&mut self, uid: EndpointUid) {
        if let Some(endpoint) = self.endpoints.get_mut(&uid) {
            endpoint.wake_all();
        }
        self.kick(uid);
    }

    /// Starts one attempt of an endpoint. Returns whether there was one.
    pub(super) fn start_one(&mut self, uid: EndpointUid, now: Timestamp) -> bool {
        let Some(endpoint) = self.endpoints.get(&uid) else {
            return false;
        };
        let lanes = self.to_serve(uid, endpoint.lanes_in_turn());
        if endpoint.takes_tests_only() {
            lanes.iter().for_each(|key| self.end_asked(*key, now));
        }
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
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
            // Also the next ones of what was skipped, which no lane has in memory.
            endpoint.wake_all();
            let all = endpoint.lanes_in_turn();
            return self.start_first_due(self.to_serve(uid, all), permit, now);
        }
        for key in lanes {
            self.feed(key, LOAD_AHEAD, now);
            self.find_left(key, now);
            if self.start_next(key, permit, now) {
                return true;
            }
            self.let_sleep(key, now);
        }
        #[cfg(debug_assertions)]
        self.check_asleep(uid);
        false
    }

    fn to_serve(&self, endpoint: EndpointUid, shards: Vec<Shard>) -> Vec<LaneKey> {
        let keys = shards.into_iter().map(|shard| LaneKey { shard, endpoint });
        keys.filter(|key| self.may_begin(*key)).collect()
    }

    /// A lane from which nothing can start is not looked at before something comes to it, or its timer fires.
    fn let_sleep(&mut self, key: LaneKey, now: Timestamp) {
        let may_sleep = |lane: &Lane| {
            let is_due = lane.backlog.next_due().is_some_and(|due| due <= now);
            lane.is_idle() && (!is_due || lane.backlog.is_reading())
        };
        if self.lanes.get(&key).is_none_or(may_sleep)
            && let Some(endpoint) = self.endpoints.get_mut(&key.endpoint)
        {
            endpoint.sleep(key.shard);
        }
    }

    /// What came to a lane woke it: otherwise it would wait for ever.
    #[cfg(debug_assertions)]
    fn check_asleep(&self, uid: EndpointUid) {
        let asleep = self.endpoints.get(&uid).into_iter().flat_map(Endpoint::asleep);
        for key in self.to_serve(uid, asleep.collect()) {
            let lane = self.lanes.get(&key);
            debug_assert!(lane.is_none_or(Lane::is_idle), "a lane was not woken: {lane:?}");
        }
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
