//! What people do through the API: change endpoints, and send commands to the owners of shards.

use domain::{
    Command, CommandId, CommandKind, DisableReason, Endpoint, EndpointState, FactKind, RunId,
    RunState, Shard,
};
use ports::{
    Applied, Clock as _, ConfigFeed as _, ConfigStore, DeadLetterStore as _, EventLog as _,
    EventStore, Expect, Hint, InboxStore as _, StateChange, Taken,
};

use crate::journal::What;
use crate::model::Model;
use crate::world::{Known, World, tenant};

impl World {
    async fn stored(&self, known: &Known) -> Option<Endpoint> {
        let config = ConfigStore::load(&self.memory, &tenant()).await;
        let endpoints =
            config.expect("the memory store reads").expect("the tenant is there").endpoints;
        let mut endpoints = endpoints.into_iter().map(|config| config.endpoint);
        endpoints.find(|endpoint| endpoint.uid == known.uid)
    }

    /// Changes a state from what it is, and hints. Returns what it was.
    async fn set_state(&self, known: &Known, to: EndpointState) -> Option<EndpointState> {
        let from = self.stored(known).await?.state;
        if from != to {
            let change = StateChange { from, to, time: self.clock.now() };
            match self.memory.set_state(&tenant(), known.uid, change).await {
                Ok(Applied::Done(revision)) => self.hint(Hint::Tenant(tenant(), revision)).await,
                other => unreachable!("nobody else changes it meanwhile: {other:?}"),
            }
        }
        Some(from)
    }

    pub(crate) async fn pause(&self, known: &Known) {
        let state = self.stored(known).await.map(|endpoint| endpoint.state);
        if state == Some(EndpointState::Active) {
            self.set_state(known, EndpointState::Paused).await;
        }
    }

    pub(crate) async fn disable(&self, known: &Known) {
        self.set_state(known, EndpointState::Disabled(DisableReason::ByHand)).await;
    }

    /// Resumes with catch-up.
    pub(crate) async fn resume(&self, known: &Known) {
        let was = self.set_state(known, EndpointState::Active).await;
        if was.is_none() || was == Some(EndpointState::Paused) {
            return;
        }
        for shard in self.shards() {
            self.command(known, shard, CommandKind::Resume { catch_up: true }, None).await;
        }
    }

    pub(crate) async fn delete(&mut self, index: usize) {
        let Some(known) = self.endpoints.get_mut(index).filter(|known| !known.is_deleted) else {
            return;
        };
        known.is_deleted = true;
        let (id, uid) = (known.id.clone(), known.uid);
        match self.memory.delete_endpoint(&tenant(), &id, Expect::Present).await {
            Ok(Applied::Done(revision)) => {
                self.journal.note(self.clock.now(), What::Deleted(uid));
                self.hint(Hint::Tenant(tenant(), revision)).await;
            }
            other => unreachable!("it is there: {other:?}"),
        }
    }

    pub(crate) async fn probe(&self, known: &Known) {
        for shard in self.shards() {
            self.command(known, shard, CommandKind::Probe, None).await;
        }
    }

    /// Takes one of an endpoint's dead letters up. One that is disabled by hand or by its answer takes none.
    pub(crate) async fn redrive(&self, known: &Known, choice: u64) {
        let state = self.stored(known).await.map(|endpoint| endpoint.state);
        let takes = match state {
            Some(EndpointState::Active | EndpointState::Paused) => true,
            Some(EndpointState::Disabled(reason)) => reason == DisableReason::Failing,
            None => false,
        };
        let letters = self.memory.all_dead_letters().into_iter();
        let letters: Vec<_> = letters
            .filter(|(letter, gone)| letter.endpoint == known.uid && gone.is_none())
            .collect();
        let Some((letter, _)) = nth(&letters, choice).filter(|_| takes) else {
            return;
        };
        let run = self.run();
        let taken = self.memory.begin_redrive(&tenant(), known.uid, letter.id, run).await;
        if !matches!(taken, Ok(Taken::Ours(_))) {
            return;
        }
        let kind = CommandKind::Redrive {
            dead_letter: letter.id,
            event: letter.event.clone(),
            run,
            by_job: false,
        };
        self.command(known, letter.event.at.shard, kind, Some(run)).await;
    }

    /// Cancels a delivery that is pending.
    pub(crate) async fn cancel(&self, known: &Known, choice: u64, model: &Model) {
        let wanted = model.wanted_by(known.uid);
        let Some(event) = nth(&wanted, choice) else {
            return;
        };
        let loaded = EventStore::load(&self.memory, event, known.uid).await;
        let facts = loaded.expect("the memory store reads").facts;
        let has_ended = |run| RunState::of(&facts, run).has_ended();
        let letters = self.memory.all_dead_letters();
        let redrive = letters.iter().find_map(|(letter, resolution)| match resolution {
            Some(domain::Resolution::Redriving(run))
                if letter.endpoint == known.uid && letter.event == *event =>
            {
                Some(*run)
            }
            Some(_) | None => None,
        });
        if has_ended(RunId::LOG) && redrive.is_none() {
            return;
        }
        let is_attempt = |fact: &&domain::Fact| matches!(fact.kind, FactKind::Attempt(_));
        let mut runs: Vec<RunId> = facts.iter().filter(is_attempt).map(|fact| fact.run).collect();
        runs.sort_unstable();
        runs.dedup();
        runs.retain(|run| !has_ended(*run));
        let kind = CommandKind::Cancel { event: event.clone(), runs, redrive };
        self.command(known, event.at.shard, kind, None).await;
    }

    /// Sends an event again, now.
    pub(crate) async fn resend(&self, known: &Known, choice: u64, model: &Model) {
        let state = self.stored(known).await.map(|endpoint| endpoint.state);
        let wanted = model.wanted_by(known.uid);
        let Some(event) = nth(&wanted, choice).filter(|_| state == Some(EndpointState::Active))
        else {
            return;
        };
        let run = self.run();
        let kind = CommandKind::Resend { event: event.clone(), run };
        self.command(known, event.at.shard, kind, Some(run)).await;
    }

    fn run(&self) -> RunId {
        RunId::from_uuid(uuid::Uuid::from_u128(self.chance.bits()))
    }

    /// Sends a command, and hints. That of a run has the run's id.
    async fn command(&self, known: &Known, shard: Shard, kind: CommandKind, run: Option<RunId>) {
        let fresh = || uuid::Uuid::from_u128(self.chance.bits());
        let command = Command {
            id: CommandId(run.map_or_else(fresh, RunId::uuid)),
            shard,
            time: self.clock.now(),
            tenant: tenant(),
            endpoint: known.uid,
            kind,
        };
        self.memory.send(&[command]).await.expect("the memory store writes");
        self.hint(Hint::Inbox(shard)).await;
    }

    async fn hint(&self, hint: Hint) {
        self.feed.hint(hint).await.expect("the memory feed tells");
    }

    /// Where a group has got to in a shard, and where the log ends.
    pub(crate) async fn lag(&self, shard: Shard) -> u64 {
        let next = self.log.bounds(shard).await.expect("the memory log reads").next;
        let acked = self.log.acked(&self.config.group, shard);
        next.0 - acked.map_or(0, |acked| acked.next().0)
    }
}

fn nth<T>(of: &[T], choice: u64) -> Option<&T> {
    let count = u64::try_from(of.len()).ok().filter(|count| *count > 0)?;
    usize::try_from(choice % count).ok().and_then(|index| of.get(index))
}
