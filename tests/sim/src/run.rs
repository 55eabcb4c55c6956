//! Plays a plan, heals everything, and waits until nothing is left to do.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{EndpointUid, EventRef, Fact, Resolution, RunId, RunState};
use ports::{Clock as _, LaneStore as _};

use crate::heard::Heard;
use crate::history::History;
use crate::journal::What;
use crate::model::Model;
use crate::plan::{Action, Misfortune, Plan};
use crate::receivers::Behaviour;
use crate::sabotage::Sabotage;
use crate::world::{Known, World};

/// More than any moment has tasks that can go on: one turn of the driver is a whole moment.
const TASKS_A_TURN: u32 = 1_000_000;
/// How often people resume what was disabled while they heal a history: what was under way may disable it again.
const ROUNDS: usize = 3;
/// Between two looks whether a history has come to rest.
const LOOK: Duration = Duration::from_secs(600);
/// The same, after a while: retries of the longest schedule are a day apart.
const LATE_LOOK: Duration = Duration::from_secs(3_600);
/// Looks that are `LOOK` apart.
const LOOKS: usize = 36;
/// Looks that are `LATE_LOOK` apart: four days.
const LATE_LOOKS: usize = 96;

/// Plays the history of a plan.
///
/// # Panics
/// When a runtime cannot be made.
#[must_use]
pub fn play(plan: &Plan, sabotage: Sabotage) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .event_interval(TASKS_A_TURN)
        .build()
        .expect("a runtime without drivers needs nothing");
    runtime.block_on(async {
        let mut run = Run { world: World::new(plan, sabotage).await, model: Model::default() };
        let heard = Heard::listen(run.world.journal.clone(), run.world.clock.clone());
        run.world.start().await;
        for action in &plan.actions {
            run.step(action).await;
        }
        let rests = run.heal().await;
        drop(heard);
        run.history(plan, rests).await
    })
}

struct Run {
    world: World,
    model: Model,
}

impl Run {
    fn note(&self, step: String) {
        self.world.journal.note(self.world.clock.now(), What::Step(step));
    }

    async fn step(&mut self, action: &Action) {
        self.note(format!("{action:?}"));
        match action {
            Action::Wait(time) => self.world.pass(*time).await,
            Action::Publish(batch) => self.world.publish(batch, &mut self.model).await,
            Action::Receiver(index, behaviour) => {
                if let Some(known) = self.world.endpoints.get(*index) {
                    self.world.receivers.behave(&known.url, *behaviour);
                }
            }
            Action::Misfortune(misfortune) => self.world.faults.befall(*misfortune),
            Action::Crash => {
                let gone = self.world.crash().await;
                self.note(format!("crashed {gone:?}"));
            }
            Action::Stop => {
                let gone = self.world.stop().await;
                self.note(format!("stopping {gone:?}"));
            }
            Action::Start => self.world.start().await,
            Action::Pause(index)
            | Action::Resume(index)
            | Action::Disable(index)
            | Action::Delete(index)
            | Action::Redrive(index, _)
            | Action::Cancel(index, _)
            | Action::Resend(index, _)
            | Action::Probe(index) => self.by_a_person(*index, action).await,
        }
        self.world.settle().await;
    }

    async fn by_a_person(&mut self, index: usize, action: &Action) {
        let world = &mut self.world;
        let there = world.endpoints.get(index).filter(|known| !known.is_deleted);
        let Some(known) = there.cloned() else {
            return;
        };
        match action {
            Action::Pause(_) => world.pause(&known).await,
            Action::Resume(_) => world.resume(&known).await,
            Action::Disable(_) => world.disable(&known).await,
            Action::Delete(_) => world.delete(index).await,
            Action::Redrive(_, choice) => world.redrive(&known, *choice).await,
            Action::Cancel(_, choice) => world.cancel(&known, *choice, &self.model).await,
            Action::Resend(_, choice) => world.resend(&known, *choice, &self.model).await,
            Action::Probe(_) => world.probe(&known).await,
            Action::Wait(_)
            | Action::Publish(_)
            | Action::Receiver(..)
            | Action::Crash
            | Action::Start
            | Action::Stop
            | Action::Misfortune(_) => {}
        }
    }

    /// Everything works again, and time goes by. Returns whether nothing was left to do at the end.
    async fn heal(&mut self) -> bool {
        self.note("everything heals".to_owned());
        self.world.faults.befall(Misfortune::Over);
        for known in &self.world.endpoints {
            self.world.receivers.behave(&known.url, Behaviour::Well { ms: 5 });
        }
        while self.world.workers_running() > 1 {
            self.world.crash().await;
        }
        if self.world.workers_running() == 0 {
            self.world.start().await;
        }
        for _ in 0..ROUNDS {
            self.world.pass(Duration::from_secs(120)).await;
            for known in self.endpoints() {
                self.world.resume(&known).await;
            }
        }
        for look in 0..LOOKS + LATE_LOOKS {
            let time = if look < LOOKS { LOOK } else { LATE_LOOK };
            self.world.pass(time).await;
            if self.rests().await {
                return true;
            }
        }
        false
    }

    /// Endpoints that were not deleted.
    fn endpoints(&self) -> Vec<Known> {
        self.world.endpoints.iter().filter(|known| !known.is_deleted).cloned().collect()
    }

    /// Whether nothing is left to do: all is acked, nothing waits, nothing was skipped, no redrive is on its way.
    async fn rests(&self) -> bool {
        for shard in self.world.shards() {
            let lanes = self.world.memory.of_shard(shard, None, 1_000).await;
            let lanes = lanes.expect("the memory store reads");
            let skips = lanes
                .iter()
                .any(|lane| lane.skip_from.is_some() && self.is_there(lane.key.endpoint));
            if skips || self.world.lag(shard).await > 0 {
                return false;
            }
        }
        self.left().is_empty()
    }

    fn is_there(&self, endpoint: EndpointUid) -> bool {
        self.world.endpoints.iter().any(|known| known.uid == endpoint && !known.is_deleted)
    }

    /// Runs that have a row, or a redrive that was taken up, and no end.
    fn left(&self) -> Vec<(EndpointUid, EventRef, RunId)> {
        let mut facts: BTreeMap<(EndpointUid, EventRef), Vec<Fact>> = BTreeMap::new();
        for fact in self.world.memory.all_facts() {
            facts.entry((fact.endpoint, fact.event.clone())).or_default().push(fact);
        }
        let rows = self.world.memory.all_backlog().into_iter();
        let rows = rows.map(|(lane, row)| (lane.endpoint, row.event, row.run));
        let letters = self.world.memory.all_dead_letters().into_iter();
        let redriven = letters.filter_map(|(letter, resolution)| match resolution {
            Some(Resolution::Redriving(run)) => Some((letter.endpoint, letter.event, run)),
            Some(Resolution::Resolved) | None => None,
        });
        // A redrive ends with its letter, which is written after the fact.
        let redriven: Vec<_> = redriven.filter(|(uid, ..)| self.is_there(*uid)).collect();
        let open = rows.filter(|(uid, event, run)| {
            let facts = facts.get(&(*uid, event.clone()));
            let state = RunState::of(facts.into_iter().flatten(), *run);
            self.is_there(*uid) && !state.has_ended()
        });
        open.chain(redriven).collect()
    }

    async fn history(self, plan: &Plan, rests: bool) -> History {
        let mut lag = Vec::new();
        for shard in self.world.shards() {
            lag.push((shard, self.world.lag(shard).await));
        }
        let left = self.left();
        History::new(plan, self.world, self.model, (rests, lag, left))
    }
}
