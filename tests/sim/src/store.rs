//! The store as a worker sees it: the memory store behind calls that take time, fail, hang, and land after their caller has gone.

mod ports_of;

use std::sync::{Arc, Mutex, PoisonError};

use domain::{
    BacklogRow, CommandId, DeadLetter, DeadLetterId, EndpointUid, Epoch, Fact, HeldRow, LaneKey,
    LaneRow, Line, LineRow, RunId, Shard, TenantId,
};
use ports::{
    BacklogStore as _, Clock as _, DeadLetterStore, Error, ErrorKind, EventStore as _,
    IdempotencyRow, IdempotencyStore, InboxStore as _, LaneStore, LineStore, StoredEvent,
};
use testkit::{Fault, MemoryStore, SimClock};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::faults::{Faults, error_of};
use crate::journal::{Journal, What};
use crate::sabotage::Sabotage;

/// The store of one worker. Clones are the same.
#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) memory: MemoryStore,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) clock: SimClock,
    pub(crate) sabotage: Sabotage,
    /// Writes under way that outlive their callers.
    pub(crate) landing: Arc<Mutex<JoinSet<()>>>,
    pub(crate) rows_seen: Arc<Mutex<u64>>,
}

/// A write, with all that it needs to happen later.
#[derive(Clone)]
enum Write {
    Events(Vec<StoredEvent>),
    Facts(Vec<Fact>),
    Rows(Vec<(LaneKey, BacklogRow)>),
    Lanes(Vec<LaneRow>),
    LaneRemoved(LaneKey, Epoch),
    Lines(Vec<LineRow>),
    Held(Vec<(LaneKey, Line, HeldRow)>),
    Letters(Vec<DeadLetter>),
    Resolved(EndpointUid, DeadLetterId, RunId),
    Done(Shard, Vec<CommandId>),
    Keys(TenantId, Vec<(String, IdempotencyRow)>),
}

impl Write {
    fn name(&self) -> &'static str {
        match self {
            Self::Events(_) => "write of bodies",
            Self::Facts(_) => "write of facts",
            Self::Rows(_) => "write of backlog rows",
            Self::Lanes(_) => "write of lanes",
            Self::LaneRemoved(..) => "removal of a lane",
            Self::Lines(_) => "write of lines",
            Self::Held(_) => "write of held rows",
            Self::Letters(_) => "write of dead letters",
            Self::Resolved(..) => "resolution of a dead letter",
            Self::Done(..) => "write of commands that are done",
            Self::Keys(..) => "write of idempotency keys",
        }
    }

    /// Whether landing late changes nothing that was written after it. A real store keeps the newer of two versions of a row by its statement's time, which
    /// the memory store does not know: what replaces rows lands while it is waited for, or never.
    fn may_land_late(&self) -> bool {
        match self {
            Self::Events(_) | Self::Facts(_) | Self::Rows(_) | Self::Held(_) | Self::Done(..) => {
                true
            }
            Self::Lanes(_)
            | Self::Lines(_)
            | Self::LaneRemoved(..)
            | Self::Letters(_)
            | Self::Resolved(..)
            | Self::Keys(..) => false,
        }
    }
}

impl SimStore {
    /// Writes as its fate has it.
    async fn write(&self, write: Write) -> ports::Result<()> {
        let fate = self.faults.fate(write.name());
        let is_instant = fate.before.is_zero() && fate.after.is_zero();
        if is_instant || !fate.outlives || !write.may_land_late() {
            self.faults.wait(fate.before).await;
            let answer = self.happen(write, fate.fault).await;
            self.faults.wait(fate.after).await;
            return answer;
        }
        let (tell, told) = oneshot::channel();
        let store = self.clone();
        let landing = async move {
            store.faults.wait(fate.before).await;
            let answer = store.happen(write, fate.fault).await;
            store.faults.wait(fate.after).await;
            // Nobody waits for it any more: it has landed late.
            let _ = tell.send(answer);
        };
        {
            let mut under_way = self.landing.lock().unwrap_or_else(PoisonError::into_inner);
            while under_way.try_join_next().is_some() {}
            under_way.spawn(landing);
        }
        let gone = || Error::new(ErrorKind::Unknown, "the history has ended");
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn happen(&self, write: Write, fault: Option<Fault>) -> ports::Result<()> {
        match fault {
            None => self.apply(write).await,
            Some(fault) => {
                if fault == Fault::UnknownApplied {
                    self.apply(write).await?;
                }
                Err(error_of(fault))
            }
        }
    }

    async fn apply(&self, write: Write) -> ports::Result<()> {
        let memory = &self.memory;
        match write {
            Write::Events(events) => memory.put_events(&events).await,
            Write::Facts(facts) => {
                memory.record(&facts).await?;
                facts.into_iter().for_each(|fact| self.note(What::Recorded(fact)));
                Ok(())
            }
            Write::Rows(mut rows) => {
                if self.sabotage == Sabotage::RowsAreLost {
                    rows.retain(|_| self.keeps_row());
                }
                memory.append(&rows).await?;
                rows.into_iter().for_each(|(lane, row)| self.note(What::Appended(lane, row)));
                Ok(())
            }
            Write::Lanes(lanes) => {
                LaneStore::save(memory, &lanes).await?;
                lanes.into_iter().for_each(|lane| self.note(What::LaneSaved(lane)));
                Ok(())
            }
            Write::LaneRemoved(lane, epoch) => {
                memory.remove(lane, epoch).await?;
                self.note(What::LaneRemoved(lane));
                Ok(())
            }
            Write::Lines(lines) => {
                LineStore::save(memory, &lines).await?;
                lines.into_iter().for_each(|line| self.note(What::LineSaved(line)));
                Ok(())
            }
            Write::Held(rows) => {
                memory.hold(&rows).await?;
                rows.into_iter().for_each(|(lane, line, row)| {
                    self.note(What::Held(lane, line, row));
                });
                Ok(())
            }
            Write::Letters(letters) => {
                DeadLetterStore::put(memory, &letters).await?;
                for DeadLetter { endpoint, event, run, .. } in letters {
                    self.note(What::LetterPut { endpoint, event, run });
                }
                Ok(())
            }
            Write::Resolved(endpoint, letter, run) => {
                memory.resolve(endpoint, letter, run).await?;
                self.note(What::LetterResolved { endpoint, letter, run });
                Ok(())
            }
            Write::Done(shard, commands) => memory.done(shard, &commands).await,
            Write::Keys(tenant, rows) => {
                let rows: Vec<_> =
                    rows.iter().map(|(key, row)| (key.as_str(), row.clone())).collect();
                IdempotencyStore::put(memory, &tenant, &rows).await
            }
        }
    }

    fn keeps_row(&self) -> bool {
        let mut seen = self.rows_seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen += 1;
        (*seen).is_multiple_of(2)
    }

    fn note(&self, what: What) {
        self.journal.note(self.clock.now(), what);
    }
}
