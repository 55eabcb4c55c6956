//! Groups of consumers. The member that joined last owns all shards; when it leaves, the one before takes them back.
//!
//! One process has one worker, so that there is usually one member. Two at once happen while a role restarts, and then the newer one is right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Epoch, Position, Shard};
use ports::{Ack, AckError, Error, ErrorKind, Lease};
use rusqlite::{OptionalExtension as _, params};
use tokio::sync::watch;

use super::state::LogState;
use crate::error::Fault;

pub(super) const RAISE_EPOCH: &str = "INSERT INTO grp(name, epoch) VALUES (?1, ?2 + 1)
    ON CONFLICT(name) DO UPDATE SET epoch = max(epoch, ?2) + 1 RETURNING epoch";
pub(super) const JOIN: &str = "INSERT INTO pos(grp, shard, acked, start)
    SELECT ?1, n, NULL, low FROM shard WHERE true ON CONFLICT(grp, shard) DO NOTHING";
pub(super) const POSITIONS: &str =
    "SELECT shard, acked, start FROM pos WHERE grp = ?1 ORDER BY shard";
pub(super) const ACKED: &str = "SELECT acked FROM pos WHERE grp = ?1 AND shard = ?2";
pub(super) const ACK: &str =
    "UPDATE pos SET acked = ?3, start = ?3 + 1 WHERE grp = ?1 AND shard = ?2";

/// Members of all groups, oldest first.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Arc<str>, Members>>);

struct Members {
    ids: Vec<u64>,
    next_id: u64,
    changed: watch::Sender<()>,
    /// Of the owner.
    lease: Option<Lease>,
}

impl Groups {
    fn with<T>(&self, run: impl FnOnce(&mut HashMap<Arc<str>, Members>) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a member; the watch tells when members come and go.
    pub(super) fn join(&self, group: &Arc<str>) -> (u64, watch::Receiver<()>) {
        self.with(|groups| {
            let members = groups.entry(Arc::clone(group)).or_insert_with(|| Members {
                ids: Vec::new(),
                next_id: 0,
                changed: watch::Sender::new(()),
                lease: None,
            });
            let id = members.next_id;
            members.next_id += 1;
            members.ids.push(id);
            let changed = members.changed.subscribe();
            members.changed.send_replace(());
            (id, changed)
        })
    }

    pub(super) fn leave(&self, group: &Arc<str>, member: u64) {
        self.with(|groups| {
            if let Some(members) = groups.get_mut(group) {
                members.ids.retain(|id| *id != member);
                members.changed.send_replace(());
            }
        });
    }

    /// Ends the lease of the owner before, and gives that of the next one.
    pub(super) fn new_lease(&self, group: &Arc<str>) -> Lease {
        let lease = Lease::forever();
        self.with(|groups| {
            let former =
                groups.get_mut(group).and_then(|members| members.lease.replace(lease.clone()));
            former.iter().for_each(Lease::end);
        });
        lease
    }

    pub(super) fn is_owner(&self, group: &Arc<str>, member: u64) -> bool {
        self.with(|groups| {
            let members = groups.get(group);
            members.and_then(|members| members.ids.last()) == Some(&member)
        })
    }
}

/// Where a group stands in one shard.
pub(super) struct Standing {
    pub(super) shard: Shard,
    pub(super) acked: Option<Position>,
    /// Where reading goes on.
    pub(super) start: u64,
    /// The next position that will be given out.
    pub(super) head: Position,
}

impl LogState {
    /// Begins a new epoch of the group: acks of every earlier one are refused from now on.
    pub(super) fn claim(&mut self, group: &Arc<str>) -> Result<(Epoch, Vec<Standing>), Fault> {
        // A claim whose COMMIT failed may have given out an epoch that is not stored.
        let known = self.epochs.get(group).copied().unwrap_or_default();
        let epoch = self
            .conn
            .prepare_cached(RAISE_EPOCH)?
            .query_row(params![&**group, known.0], |row| row.get(0))
            .map(Epoch)?;
        self.epochs.insert(Arc::clone(group), epoch);
        self.conn.prepare_cached(JOIN)?.execute([&**group])?;
        let mut statement = self.conn.prepare_cached(POSITIONS)?;
        let mut rows = statement.query([&**group])?;
        let mut standings = Vec::with_capacity(self.shards.len());
        while let Some(row) = rows.next()? {
            let shard = Shard(row.get(0)?);
            let acked: Option<i64> = row.get(1)?;
            let end = self.shards.get(usize::from(shard.0));
            standings.push(Standing {
                shard,
                acked: acked.map(|acked| Position(acked.cast_unsigned())),
                start: row.get::<_, i64>(2)?.cast_unsigned(),
                head: Position(end.map_or(0, |end| end.next)),
            });
        }
        Ok((epoch, standings))
    }

    /// Moves the group's position in a shard forward. The inner error is an answer, not a failure of the transaction.
    pub(super) fn ack(
        &mut self,
        group: &Arc<str>,
        Ack { shard, epoch, upto }: Ack,
    ) -> Result<Result<(), AckError>, Fault> {
        if self.epochs.get(group) != Some(&epoch) {
            return Ok(Err(AckError::Fenced));
        }
        let next = self.shards.get(usize::from(shard.0)).map(|end| end.next);
        if next.is_none_or(|next| upto.0 >= next) {
            let message = format!("ack of {}/{}, which was never given out", shard.0, upto.0);
            return Ok(Err(Error::new(ErrorKind::Bug, message).into()));
        }
        let acked: Option<i64> = self
            .conn
            .prepare_cached(ACKED)?
            .query_row(params![&**group, shard.0], |row| row.get(0))
            .optional()?
            .flatten();
        if acked.is_none_or(|acked| acked.cast_unsigned() < upto.0) {
            self.conn.prepare_cached(ACK)?.execute(params![
                &**group,
                shard.0,
                upto.0.cast_signed()
            ])?;
        }
        Ok(Ok(()))
    }
}
