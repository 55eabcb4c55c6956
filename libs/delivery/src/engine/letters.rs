//! Dead letters that no attempt ends with: what has waited too long, and what a cancelled redrive puts back.

use domain::{
    BacklogRow, CommandId, DeadLetter, DeadLetterId, DeadLetterReason, EventRef, Fact, FactKind,
    LaneKey, RunEnd, RunId, Shard, Timestamp,
};

use super::settle::Settlement;
use super::{Engine, LoadedDelivery, PendingLoad};
use crate::effect::Write;
use crate::lane::Origin;

impl Engine {
    /// Ends the run of a row as a dead letter.
    pub(super) fn end_row(
        &mut self,
        key: LaneKey,
        row: BacklogRow,
        loaded: LoadedDelivery,
        reason: DeadLetterReason,
        now: Timestamp,
    ) {
        let mut write = self.new_write();
        write.dead_letters.push(self.letter(key, &row.event, row.run, &loaded, reason, now));
        write
            .events
            .extend(loaded.event.filter(|_| !loaded.stored).map(|e| (row.event.clone(), e)));
        write.facts.push(Fact {
            id: domain::AttemptId::of_mark(row.run, row.event.at),
            event: row.event,
            endpoint: key.endpoint,
            run: row.run,
            time: now,
            kind: FactKind::DeadLettered(reason),
        });
        let done = vec![Origin::Row(row.key)];
        self.write(write, Settlement { lane: Some(key), done, ..Settlement::default() });
    }

    /// A redrive's row with nothing left to do. What became of its dead letter is written again: the owner before may have died in between.
    pub(super) fn redrive_has_ended(
        &mut self,
        key: LaneKey,
        row: &BacklogRow,
        loaded: &LoadedDelivery,
        now: Timestamp,
    ) {
        let mut write = self.new_write();
        self.end_redrive(&mut write, key, &row.event, row.run, loaded, now);
        let done = vec![Origin::Row(row.key)];
        self.write(write, Settlement { lane: Some(key), done, ..Settlement::default() });
    }

    /// A redrive was cancelled, durably: looks what has become of it until then.
    pub(super) fn look_for_release(
        &mut self,
        key: LaneKey,
        event: EventRef,
        run: RunId,
        command: (Shard, CommandId),
    ) {
        let what = PendingLoad::Release(key, event.clone(), run, command);
        self.load(what, key.endpoint, event, run);
    }

    /// The answer to [`Engine::look_for_release`].
    pub(super) fn release(
        &mut self,
        key: LaneKey,
        event: &EventRef,
        run: RunId,
        loaded: &LoadedDelivery,
        command: (Shard, CommandId),
        now: Timestamp,
    ) {
        let mut write = self.new_write();
        self.end_redrive(&mut write, key, event, run, loaded, now);
        write.commands.push(command);
        self.write(write, Settlement { lane: Some(key), ..Settlement::default() });
    }

    /// What a redrive that has ended leaves of its dead letter: nothing, or the letter as it was. Writing it twice is once (DS-1, DS-4).
    fn end_redrive(
        &self,
        write: &mut Write,
        key: LaneKey,
        event: &EventRef,
        run: RunId,
        loaded: &LoadedDelivery,
        now: Timestamp,
    ) {
        match loaded.run.end {
            Some(RunEnd::Delivered) => {
                let id = DeadLetterId::of(key.endpoint, event);
                write.resolved.push((key.endpoint, id, run));
            }
            Some(RunEnd::Cancelled) => {
                let reason = loaded.last.reason.unwrap_or(DeadLetterReason::Exhausted);
                write.dead_letters.push(self.letter(key, event, run, loaded, reason, now));
            }
            // The letter was there before the fact.
            Some(RunEnd::DeadLettered) | None => {}
        }
    }

    fn letter(
        &self,
        key: LaneKey,
        event: &EventRef,
        run: RunId,
        loaded: &LoadedDelivery,
        reason: DeadLetterReason,
        now: Timestamp,
    ) -> DeadLetter {
        let event_type = loaded.event.as_ref().map(|event| event.event_type.to_string());
        let url = self.endpoints.get(&key.endpoint).map(|known| known.spec.url.to_string());
        DeadLetter {
            id: DeadLetterId::of(key.endpoint, event),
            tenant: event.tenant.clone(),
            endpoint: key.endpoint,
            url: url.unwrap_or_default(),
            event: event.clone(),
            event_type: event_type.unwrap_or_default(),
            reason,
            last_outcome: loaded.last.outcome,
            attempts: loaded.attempts_total,
            run,
            time: now,
        }
    }
}
