//! Configuration, changes of state, and commands from people.

use domain::{
    BacklogRow, BreakerState, Command, CommandKind, EndpointState, EndpointUid, EventRef, Fact,
    FactKind, LaneKey, Revision, RunId, Timestamp, Trigger, WaitReason,
};

use super::settle::Settlement;
use super::{Engine, PendingLoad, home};
use crate::breaker::Breaker;
use crate::effect::{Effect, LoadToken};
use crate::endpoint::{Endpoint, EndpointSpec};
use crate::lane::{Lane, Origin, Skip};

impl Engine {
    /// Takes an endpoint's configuration, new or changed. An older revision than the known one changes nothing.
    pub fn configure(&mut self, spec: EndpointSpec, now: Timestamp) {
        let uid = spec.uid;
        let Some(known) = self.endpoints.get_mut(&uid) else {
            let breaker = self.remembered_breaker(uid);
            let mut endpoint = Endpoint::new(spec, Breaker::new(breaker));
            let mine = |key: &&LaneKey| key.endpoint == uid;
            endpoint.lanes = self.lanes.keys().filter(mine).map(|key| key.shard).collect();
            self.endpoints.insert(uid, endpoint);
            self.catch_up_if_active(uid);
            self.kick(uid);
            return self.pump(now);
        };
        if spec.revision < known.spec.revision {
            return;
        }
        known.spec.revision = spec.revision;
        let (state, pending) = (spec.state, known.state_pending);
        known.set_policy(spec.policy);
        if !pending && state != known.spec.state {
            known.spec.state_time = spec.state_time;
            self.apply_state(uid, state, now);
        }
        self.kick(uid);
        self.pump(now);
    }

    /// The worst health that the lanes of an endpoint remember.
    fn remembered_breaker(&self, uid: EndpointUid) -> BreakerState {
        let lanes = self.lanes.values().filter(|lane| lane.key.endpoint == uid);
        lanes.map(|lane| lane.remembered).max_by_key(|breaker| breaker.failures).unwrap_or_default()
    }

    /// Forgets an endpoint that was deleted: what is pending is cancelled, nothing more is sent.
    pub fn remove(&mut self, uid: EndpointUid) {
        let Some(endpoint) = self.endpoints.remove(&uid) else {
            return;
        };
        for shard in endpoint.lanes {
            let key = LaneKey { shard, endpoint: uid };
            let Some(lane) = self.lanes.remove(&key) else {
                continue;
            };
            self.timers.clear(crate::timers::Timer::Lane(key));
            self.timers.clear(crate::timers::Timer::Queue(key));
            for position in live_positions(&lane) {
                self.record_done(shard, position);
            }
            // What waits for a write or a look of this lane is handed off with it.
            self.release_pending(key);
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
        let flights = self.in_flight.values().filter(|flight| flight.lane == key);
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
        endpoint.state_pending = true;
        endpoint.spec.state_time = now;
        self.effects.push_back(Effect::SetState { tenant, endpoint: uid, from, to });
        self.apply_state(uid, to, now);
    }

    /// The store has taken a change of state (its new revision), or somebody else was first (`None`: the configuration that is read next tells).
    pub fn handle_state_set(&mut self, uid: EndpointUid, revision: Option<Revision>) {
        if let Some(endpoint) = self.endpoints.get_mut(&uid) {
            endpoint.state_pending = false;
            if let Some(revision) = revision {
                endpoint.spec.revision = endpoint.spec.revision.max(revision);
            }
        }
    }

    fn apply_state(&mut self, uid: EndpointUid, to: EndpointState, now: Timestamp) {
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return;
        };
        let from = std::mem::replace(&mut endpoint.spec.state, to);
        endpoint.probe_next = None;
        endpoint.probing = false;
        match to {
            EndpointState::Active => {
                if matches!(from, EndpointState::Disabled(_)) {
                    endpoint.breaker.reset();
                }
                endpoint.breaker.allow_probe(now);
                self.catch_up_if_active(uid);
            }
            EndpointState::Paused => self.hold_back(uid, now),
            EndpointState::Disabled(_) => {
                self.hold_back(uid, now);
                self.stop_catching_up(uid);
            }
        }
        self.kick(uid);
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
        match &command.kind {
            CommandKind::Redrive { event, run, .. } => {
                self.ask(lane, &command, event, *run, Trigger::Redrive, now);
            }
            CommandKind::Resend { event, run } => {
                self.ask(lane, &command, event, *run, Trigger::Resend, now);
            }
            CommandKind::Test { event, run } => {
                self.ask(lane, &command, event, *run, Trigger::Test, now);
            }
            CommandKind::Cancel { event } => self.cancel(lane, &command, event, now),
            CommandKind::Resume { catch_up } => self.resume(lane, &command, *catch_up),
            CommandKind::Probe => {
                if let Some(endpoint) = self.endpoints.get_mut(&command.endpoint) {
                    endpoint.breaker.allow_probe(now);
                    endpoint.probe_next = Some(now);
                }
                self.finish_command(&command);
            }
        }
        self.kick(command.endpoint);
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
        if !self.ensure_lane(key) {
            // The endpoint was deleted, or the shard has another owner, who finds the command in the inbox.
            if self.shards.contains_key(&key.shard) {
                self.finish_command(command);
            }
            return;
        }
        let mut write = self.new_write();
        let Some(owner) = self.lanes.get_mut(&key) else {
            return;
        };
        let row = BacklogRow {
            key: owner.backlog.issue(now),
            event: event.clone(),
            run,
            number: 1,
            trigger,
            reason: WaitReason::Asked,
            first_due: now,
        };
        // It is looked at at once rather than when its page is read.
        owner.backlog.adopt(row.clone());
        owner.loading += 1;
        let (row_key, token) = (row.key, LoadToken(self.token()));
        write.rows.push((key, row.clone()));
        write.commands.push((command.shard, command.id));
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        settlement.appended.push(row_key);
        if self.lanes.get(&key).is_some_and(|lane| !lane.stored) {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        self.write(write, settlement);
        self.loads.insert(token, PendingLoad::Row(key, row));
        let event = event.clone();
        self.effects.push_back(Effect::Load {
            token,
            endpoint: key.endpoint,
            event,
            run,
            body: true,
        });
    }

    /// Ends what waits of an event. What is in flight goes on; its retries are void.
    fn cancel(&mut self, lane: LaneKey, command: &Command, event: &EventRef, now: Timestamp) {
        let key = home(event.at, lane);
        let mut write = self.new_write();
        write.commands.push((command.shard, command.id));
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        let mut runs = vec![RunId::LOG];
        if let Some(owner) = self.lanes.get_mut(&key) {
            for row in owner.backlog.idle_rows_of(event) {
                settlement.done.push(Origin::Row(row));
            }
            runs.extend(owner.active.iter().filter(|(at, _)| *at == event.at).map(|(_, run)| *run));
        }
        runs.sort_unstable();
        runs.dedup();
        for run in runs {
            write.facts.push(Fact {
                event: event.clone(),
                endpoint: key.endpoint,
                run,
                id: domain::AttemptId::of_mark(run, event.at),
                time: now,
                kind: FactKind::Cancelled,
            });
        }
        self.write(write, settlement);
    }

    fn resume(&mut self, key: LaneKey, command: &Command, catch_up: bool) {
        if !catch_up
            && let Some(lane) = self.lanes.get_mut(&key)
            && matches!(lane.skip, Skip::Marked(_) | Skip::CatchingUp(..))
        {
            lane.skip = Skip::None;
            let mut write = self.new_write();
            write.lanes.extend(self.lane_row(key));
            write.commands.push((command.shard, command.id));
            return self.write(write, Settlement::default());
        }
        self.finish_command(command);
    }
}

fn live_positions(lane: &Lane) -> Vec<domain::Position> {
    let items = lane.queue.iter().chain(&lane.ready).chain(&lane.asked);
    let queued = items.filter_map(|item| match item.origin {
        Origin::Live(position) => Some(position),
        Origin::Row(_) | Origin::Skipped => None,
    });
    let marking = match &lane.skip {
        Skip::Marking(_, waiting) => waiting.clone(),
        Skip::None | Skip::Marked(_) | Skip::CatchingUp(..) => Vec::new(),
    };
    queued.chain(marking).collect()
}
