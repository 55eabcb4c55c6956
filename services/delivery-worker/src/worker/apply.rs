//! From what the loop hears to the engine's inputs.

use std::sync::Arc;

use delivery::{AttemptReport, AttemptToken};
use domain::{CommandKind, Revision, Shard};
use ports::Hold;
use tokio::task::JoinError;

use super::{Input, Served, Worker};
use crate::reader::FromLog;
use crate::tenants::TenantView;

impl Worker {
    pub(super) fn take_log(&mut self, item: FromLog) {
        let now = self.deps.clock.now();
        match item {
            FromLog::Assigned { shard, epoch, acked, head, lease, lanes, lines, views } => {
                views.iter().for_each(|view| self.apply_view(view));
                tracing::info!(
                    shard = shard.0,
                    epoch = epoch.0,
                    lanes = lanes.len(),
                    lines = lines.len(),
                    "took a shard over"
                );
                self.given_up.remove(&shard);
                self.epochs.insert(shard, epoch);
                self.leases.insert(shard, lease);
                self.engine.assign(shard, epoch, acked, head, (lanes, lines), now);
                self.owned.send_modify(|owned| {
                    owned.insert(shard);
                });
            }
            FromLog::Records { records, views } => {
                views.iter().for_each(|view| self.apply_view(view));
                for record in records {
                    let matched = record.matched.as_ref().map(|(e, uids)| (e, uids.as_slice()));
                    self.engine.handle_record(record.at, record.bytes, matched, now);
                }
            }
            FromLog::Leaving(shard) => self.leave(shard),
            FromLog::Revoked(shard) => {
                self.give_up(shard);
                self.given_up.insert(shard);
                self.tell_former();
            }
        }
    }

    /// Begins nothing more of a shard that another worker waits for.
    fn leave(&mut self, shard: Shard) {
        if !self.epochs.contains_key(&shard) {
            return;
        }
        tracing::info!(shard = shard.0, "another worker waits for a shard");
        self.leaving.insert(shard, false);
        self.engine.leave(shard);
        self.looks.forget(shard);
        self.owned.send_modify(|owned| {
            owned.remove(&shard);
        });
    }

    /// Lets go of the shards of which nothing is under way any more: the log is told at once, with their last positions.
    pub(super) fn release_left(&mut self) {
        let now = self.deps.clock.now();
        let Self { leaving, engine, epochs, handed_off, tell_due, .. } = self;
        for (shard, is_released) in leaving.iter_mut().filter(|(_, is_released)| !**is_released) {
            if engine.has_left(*shard, now)
                && let Some(epoch) = epochs.get(shard)
            {
                handed_off.released.insert(*shard, *epoch);
                *tell_due = Some(now);
                *is_released = true;
            }
        }
    }

    /// Tells the reader which of the lost shards may come back.
    fn tell_former(&mut self) {
        let Self { given_up, engine, former, .. } = self;
        given_up.retain(|shard| {
            let is_writing = engine.writes_pending_of(*shard) > 0;
            if !is_writing {
                former.end(*shard);
            }
            is_writing
        });
    }

    /// Gives up shards whose leases have ended, before the log's word on them is taken: that may lie behind records which the engine has no place for, and
    /// such a shard would be the very one that takes the place.
    pub(super) fn give_up_what_ended(&mut self) {
        let now = self.deps.clock.monotonic();
        let ended = self.leases.iter().filter(|(_, lease)| lease.hold(now) == Hold::Ended);
        let ended: Vec<Shard> = ended.map(|(shard, _)| *shard).collect();
        ended.into_iter().for_each(|shard| self.give_up(shard));
    }

    fn give_up(&mut self, shard: Shard) {
        if self.epochs.remove(&shard).is_none() {
            return;
        }
        tracing::info!(shard = shard.0, "gave a shard up");
        if let Some(lease) = self.leases.remove(&shard) {
            lease.end();
        }
        self.commands_seen.forget(shard);
        self.engine.revoke(shard);
        self.looks.forget(shard);
        self.leaving.remove(&shard);
        self.handed_off.forget(shard);
        self.owned.send_modify(|owned| {
            owned.remove(&shard);
        });
    }

    pub(super) fn take_attempt(
        &mut self,
        ended: Result<(AttemptToken, Option<AttemptReport>), JoinError>,
    ) {
        match ended {
            // Its shard was lost before it was sent: the new owner sends it.
            Ok((token, None)) => self.engine.handle_abandoned(token),
            Ok((token, Some(report))) => {
                let (now, jitter) = (self.deps.clock.now(), self.jitter());
                self.engine.handle_outcome(token, report, jitter, now);
            }
            Err(error) => tracing::error!(%error, "an attempt ended badly: a bug"),
        }
    }

    pub(super) fn take_input(&mut self, input: Input) {
        let now = self.deps.clock.now();
        match input {
            Input::Written(tokens) => {
                tokens.into_iter().for_each(|token| self.engine.handle_written(token, now));
                self.tell_former();
            }
            Input::Page(lane, page) => {
                self.engine.handle_page(lane, page.rows, page.next_due, now);
            }
            Input::Line(lane, line, rows) => self.engine.handle_line(lane, line, &rows, now),
            Input::Loaded(token, loaded) => self.engine.handle_loaded(token, loaded, now),
            Input::Scanned(lane, matched, next) => {
                self.engine.handle_scan(lane, matched, next, now);
            }
            Input::StateSet(uid, to, revision, view) => {
                if revision.is_some() {
                    self.tell_state(uid, to, now);
                }
                self.engine.handle_state_set(uid, revision);
                // Somebody else changed the state first: what the store says holds, also at a revision that was seen before.
                if let Some(view) = view
                    && self.revision_of(&view) <= view.revision
                {
                    self.replace_view(&view);
                }
            }
            Input::Tenant(view) => self.apply_view(&view),
            Input::Commands(commands) => {
                for command in commands {
                    // One that was read for a shard that has been lost since is the next owner's; if that is this worker again, it is new then.
                    let is_ours = self.epochs.contains_key(&command.shard);
                    if is_ours && self.commands_seen.is_new(&command) {
                        tracing::debug!(endpoint = %command.endpoint, kind = name(&command.kind), "a command");
                        self.engine.handle_command(command, now);
                    }
                }
            }
        }
    }

    /// Configures the engine by a tenant's view, unless it has seen this one or a newer one. Secrets that can be opened after all change no revision.
    pub(super) fn apply_view(&mut self, view: &Arc<TenantView>) {
        let is_opened = self.served.get(&view.tenant).is_some_and(|known| {
            known.revision == view.revision
                && known.sealed.len() > view.sealed.len()
                && known.sealed.is_superset(&view.sealed)
        });
        if is_opened || self.revision_of(view) < view.revision {
            self.replace_view(view);
        }
    }

    /// The revision that the engine is configured by.
    fn revision_of(&self, view: &TenantView) -> Revision {
        self.served.get(&view.tenant).map(|known| known.revision).unwrap_or_default()
    }

    fn replace_view(&mut self, view: &Arc<TenantView>) {
        let now = self.deps.clock.now();
        let known = self.served.remove(&view.tenant).unwrap_or_default();
        for uid in known.endpoints.into_iter().filter(|uid| !view.endpoints.contains_key(uid)) {
            self.targets.remove(&uid);
            self.tenant_of.remove(&uid);
            self.engine.remove(uid);
        }
        for (uid, (spec, target)) in &view.endpoints {
            self.targets.insert(*uid, target.clone());
            self.tenant_of.insert(*uid, view.tenant.clone());
            self.engine.configure(spec.clone(), now);
        }
        let endpoints = view.endpoints.keys().copied().collect();
        let (revision, sealed) = (view.revision, view.sealed.clone());
        self.served.insert(view.tenant.clone(), Served { revision, endpoints, sealed });
    }
}

fn name(kind: &CommandKind) -> &'static str {
    match kind {
        CommandKind::Redrive { .. } => "redrive",
        CommandKind::Replay { .. } => "replay",
        CommandKind::Resend { .. } => "resend",
        CommandKind::Test { .. } => "test",
        CommandKind::Resume { .. } => "resume",
        CommandKind::Cancel { .. } => "cancel",
        CommandKind::Probe => "probe",
    }
}
