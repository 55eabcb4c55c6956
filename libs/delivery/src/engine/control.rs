//! Configuration, changes of state, and commands from people.

use domain::{
    BacklogKey, BacklogRow, BreakerPhase, BreakerState, Command, CommandKind, EndpointState,
    EndpointUid, EventRef, LaneKey, LaneRow, Revision, RunId, Timestamp, Trigger, WaitReason,
};

use super::settle::Settlement;
use super::{Engine, PendingLoad, home};
use crate::breaker::Breaker;
use crate::effect::{Effect, Write};
use crate::endpoint::{Endpoint, EndpointSpec, StateHeard};
use crate::lane::{Lane, Origin, Skip};

impl Engine {
    /// Takes an endpoint's configuration, new or changed. An older revision than the known one changes nothing.
    pub fn configure(&mut self, spec: EndpointSpec, now: Timestamp) {
        let uid = spec.uid;
        let Some(known) = self.endpoints.get_mut(&uid) else {
            let breaker = self.remembered_breaker(uid);
            let breaker = still_holds(breaker, &spec);
            let mut endpoint = Endpoint::new(spec, Breaker::new(breaker));
            endpoint.lanes = self.lanes_of(uid).map(|lane| lane.key.shard).collect();
            self.endpoints.insert(uid, endpoint);
            self.catch_up_if_active(uid);
            let lanes: Vec<LaneKey> = self.lanes_of(uid).map(|lane| lane.key).collect();
            lanes.into_iter().for_each(|key| self.go_on_in_order(key, now));
            self.wake_all(uid);
            return self.pump(now);
        };
        if spec.revision < known.spec.revision {
            return;
        }
        known.spec.revision = spec.revision;
        let (state, state_time, revision) = (spec.state, spec.state_time, spec.revision);
        known.set_policy(spec.policy);
        if known.states_pending > 0 {
            known.state_heard = Some(StateHeard { state, state_time, revision, at: now });
        } else if state != known.spec.state {
            known.spec.state_time = state_time;
            self.apply_state(uid, state, now);
        }
        self.wake_all(uid);
        self.pump(now);
    }

    /// The worst health that the lanes of an endpoint remember.
    fn remembered_breaker(&self, uid: EndpointUid) -> BreakerState {
        let remembered = self.lanes_of(uid).map(|lane| lane.remembered);
        remembered.max_by_key(|breaker| breaker.failures).unwrap_or_default()
    }

    fn lanes_of(&self, endpoint: EndpointUid) -> impl Iterator<Item = &Lane> {
        let keys = self.shards.keys().map(move |shard| LaneKey { shard: *shard, endpoint });
        keys.filter_map(|key| self.lanes.get(&key))
    }

    /// Forgets an endpoint that was deleted: what is pending is cancelled, nothing more is sent. Also one that is known by its lanes alone.
    pub fn remove(&mut self, uid: EndpointUid) {
        if let Some(known) = self.endpoints.remove(&uid).filter(|known| known.is_slow()) {
            let held = known.in_flight as usize;
            self.slow_in_flight = self.slow_in_flight.saturating_sub(held);
        }
        let keys: Vec<LaneKey> = self.lanes_of(uid).map(|lane| lane.key).collect();
        for key in &keys {
            let Some(lane) = self.drop_lane(*key) else {
                continue;
            };
            // Its rows are behind the cursor first: whoever owns the shard next, and the store's own cleaning, find nothing that waits.
            let cursor = BacklogKey::end_of(Timestamp::MAX);
            if let Some(tracker) = self.shards.get_mut(&key.shard) {
                tracker.lines = tracker.lines.saturating_sub(lane.order.lines());
            }
            let row = LaneRow::new(*key, lane.tenant.clone(), lane.epoch);
            let mut write = self.new_write();
            write.shard = Some(key.shard);
            write.lanes.push(LaneRow { cursor, ..row });
            write.deleted.push(lane.forgotten(cursor));
            self.write(write, Settlement::default());
            for position in live_positions(&lane) {
                self.record_done(key.shard, position);
            }
            // What waits for a write or a look of this lane is handed off with it.
            self.release_pending(*key);
        }
        self.timers.clear(crate::timers::Timer::Endpoint(uid));
    }

    /// Hands off what writes, looks and attempts of a removed lane stand for.
    fn release_pending(&mut self, key: LaneKey) {
        let mut open = Vec::new();
        for settlement in self.writes.values_mut().filter(|s| s.lane == Some(key)) {
            settlement.lane = None;
            open.append(&mut settlement.done);
        }
        let epoch = self.shards.get(&key.shard).map(|tracker| tracker.epoch);
        let flights = self.in_flight.values();
        let flights = flights.filter(|flight| flight.lane == key && Some(flight.epoch) == epoch);
        open.extend(flights.map(|flight| flight.item.origin));
        for load in self.loads.values() {
            if let PendingLoad::Record(lane, at, _) = load
                && *lane == key
            {
                open.push(Origin::Live(at.position));
            }
        }
        for origin in open {
            if let Origin::Live(position) = origin {
                self.record_done(key.shard, position);
            }
        }
    }

    /// Changes an endpoint's state here at once, and asks for the same in the store.
    pub(super) fn change_state(&mut self, uid: EndpointUid, to: EndpointState, now: Timestamp) {
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return;
        };
        let (tenant, from) = (endpoint.spec.tenant.clone(), endpoint.spec.state);
        endpoint.states_pending += 1;
        endpoint.spec.state_time = now;
        self.effects.push_back(Effect::SetState { tenant, endpoint: uid, from, to });
        self.apply_state(uid, to, now);
    }

    /// The store has taken a change of state (its new revision), or somebody else was first (`None`: the configuration that is read next tells).
    pub fn handle_state_set(&mut self, uid: EndpointUid, revision: Option<Revision>) {
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return;
        };
        endpoint.states_pending = endpoint.states_pending.saturating_sub(1);
        if let Some(revision) = revision {
            endpoint.spec.revision = endpoint.spec.revision.max(revision);
            endpoint.state_heard = endpoint.state_heard.filter(|heard| heard.revision > revision);
        }
        if endpoint.states_pending > 0 {
            return;
        }
        // Somebody changed it after us, or before: what the configuration said meanwhile holds.
        if let Some(heard) = endpoint.state_heard.take()
            && heard.state != endpoint.spec.state
        {
            endpoint.spec.state_time = heard.state_time;
            self.apply_state(uid, heard.state, heard.at);
            self.pump(heard.at);
        }
    }

    fn apply_state(&mut self, uid: EndpointUid, to: EndpointState, now: Timestamp) {
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return;
        };
        let from = std::mem::replace(&mut endpoint.spec.state, to);
        endpoint.probe_next = None;
        match to {
            EndpointState::Active => {
                if matches!(from, EndpointState::Disabled(_)) {
                    endpoint.breaker.reset();
                    self.touch_all(uid, now);
                } else {
                    endpoint.breaker.allow_probe(now);
                }
                self.catch_up_if_active(uid);
            }
            EndpointState::Paused => self.hold_back(uid, now),
            EndpointState::Disabled(_) => {
                self.hold_back(uid, now);
                self.stop_catching_up(uid);
            }
        }
        self.wake_all(uid);
    }

    /// Nothing goes out for now: queues go to the backlog, loaded rows back to where they were.
    pub(super) fn hold_back(&mut self, uid: EndpointUid, now: Timestamp) {
        let Some(endpoint) = self.endpoints.get(&uid) else {
            return;
        };
        for shard in endpoint.lanes.clone() {
            let key = LaneKey { shard, endpoint: uid };
            self.unload(key);
            self.flush_queue(key, WaitReason::Held, now);
        }
    }

    /// Does what a person asked for. The command is marked as done together with what it leads to.
    pub fn handle_command(&mut self, command: Command, now: Timestamp) {
        let lane = LaneKey { shard: command.shard, endpoint: command.endpoint };
        if !self.knows(command.endpoint) {
            // The caller reads a tenant's configuration after its commands: the endpoint was deleted, and lanes that an owner before left of it go too.
            self.remove(command.endpoint);
            if self.shards.contains_key(&command.shard) {
                self.finish_command(&command);
            }
            return;
        }
        match &command.kind {
            CommandKind::Redrive { event, run, by_job: false, .. } => {
                self.ask(lane, &command, event, *run, Trigger::Redrive, now);
            }
            CommandKind::Redrive { event, run, by_job: true, .. } => {
                self.line_up(lane, &command, event, *run, Trigger::Redrive, now);
            }
            CommandKind::Replay { event, run } => {
                self.line_up(lane, &command, event, *run, Trigger::Replay, now);
            }
            CommandKind::Resend { event, run } => {
                self.ask(lane, &command, event, *run, Trigger::Resend, now);
            }
            CommandKind::Test { event, run } => {
                self.ask(lane, &command, event, *run, Trigger::Test, now);
            }
            CommandKind::Cancel { event, runs, redrive } => {
                self.cancel(lane, &command, (event, runs, *redrive), now);
            }
            CommandKind::Resume { catch_up } => self.resume(lane, &command, *catch_up),
            CommandKind::Probe => {
                if let Some(endpoint) = self.endpoints.get_mut(&command.endpoint)
                    && endpoint.probe_asked < command.time
                {
                    endpoint.probe_asked = command.time;
                    endpoint.breaker.allow_probe(now);
                    endpoint.probe_next = Some(now);
                }
                self.finish_command(&command);
            }
        }
        self.wake_all(command.endpoint);
        self.pump(now);
    }

    fn finish_command(&mut self, command: &Command) {
        let mut write = self.new_write();
        write.commands.push((command.shard, command.id));
        self.write(write, Settlement::default());
    }

    /// Starts a run that a person asked for: a durable row first, then a look, then the attempt, whatever the breaker says.
    fn ask(
        &mut self,
        lane: LaneKey,
        command: &Command,
        event: &EventRef,
        run: RunId,
        trigger: Trigger,
        now: Timestamp,
    ) {
        let key = home(event.at, lane);
        let kind = (trigger, WaitReason::Asked);
        let Some((row, write, settlement)) = self.begin(key, command, event, run, kind, now) else {
            return;
        };
        if let Some(owner) = self.lanes.get_mut(&key) {
            // It is looked at at once rather than when its page is read.
            owner.backlog.adopt(row.clone());
            owner.to_ask.push_back(row);
        }
        self.write(write, settlement);
        self.look_for_asked(key);
    }

    /// Starts a run that a job asked for: a durable row, which has its turn like all others of the backlog.
    fn line_up(
        &mut self,
        lane: LaneKey,
        command: &Command,
        event: &EventRef,
        run: RunId,
        trigger: Trigger,
        now: Timestamp,
    ) {
        let key = home(event.at, lane);
        let kind = (trigger, WaitReason::Job);
        if let Some((_, write, settlement)) = self.begin(key, command, event, run, kind, now) {
            self.write(write, settlement);
        }
    }

    /// The first row of a new run, with the write that makes it durable and the command done.
    fn begin(
        &mut self,
        key: LaneKey,
        command: &Command,
        event: &EventRef,
        run: RunId,
        (trigger, reason): (Trigger, WaitReason),
        now: Timestamp,
    ) -> Option<(BacklogRow, Write, Settlement)> {
        if !self.ensure_lane(key) {
            // The endpoint was deleted, or the shard has another owner, who finds the command in the inbox.
            if self.shards.contains_key(&key.shard) {
                self.finish_command(command);
            }
            return None;
        }
        let mut write = self.new_write();
        let row = BacklogRow {
            key: self.lanes.get_mut(&key)?.backlog.issue(now),
            event: event.clone(),
            run,
            number: 1,
            trigger,
            reason,
            first_due: now,
        };
        write.rows.push((key, row.clone()));
        write.commands.push((command.shard, command.id));
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        settlement.appended.push(row.key);
        if self.lanes.get(&key).is_some_and(|lane| !lane.stored) {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        Some((row, write, settlement))
    }

    fn resume(&mut self, key: LaneKey, command: &Command, catch_up: bool) {
        let Some(lane) =
            self.lanes.get_mut(&key).filter(|lane| !catch_up && lane.skip != Skip::None)
        else {
            return self.finish_command(command);
        };
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        if let Skip::Marking(_, waiting) = std::mem::replace(&mut lane.skip, Skip::None) {
            settlement.done = waiting.into_iter().map(Origin::Live).collect();
        }
        let mut write = self.new_write();
        write.lanes.extend(self.lane_row(key));
        write.commands.push((command.shard, command.id));
        self.write(write, settlement);
    }
}

/// What is left of a remembered breaker: nothing, when the endpoint was resumed after it opened and no worker saw that.
pub(super) fn still_holds(breaker: BreakerState, spec: &EndpointSpec) -> BreakerState {
    match breaker.phase {
        BreakerPhase::Open { since, .. }
            if spec.state == EndpointState::Active && spec.state_time > since =>
        {
            BreakerState::default()
        }
        BreakerPhase::Open { .. } | BreakerPhase::Closed => breaker,
    }
}

fn live_positions(lane: &Lane) -> Vec<domain::Position> {
    let items = lane.queue.iter().chain(&lane.ready).chain(&lane.asked);
    let queued = items.filter_map(|item| match item.origin {
        Origin::Live(position) => Some(position),
        Origin::Row(_) => None,
    });
    let marking = match &lane.skip {
        Skip::Marking(_, waiting) => waiting.clone(),
        Skip::None | Skip::Marked(_) | Skip::CatchingUp(..) => Vec::new(),
    };
    queued.chain(marking).chain(lane.order.open_positions()).collect()
}
