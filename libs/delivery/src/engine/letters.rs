//! Dead letters that no attempt ends with: what has waited too long, and what a cancelled redrive puts back.

use std::collections::VecDeque;

use domain::{
    BacklogRow, CommandId, DeadLetter, DeadLetterId, DeadLetterReason, EventRef, Fact, FactKind,
    LaneKey, RunEnd, RunId, Shard, Timestamp, Trigger,
};

use super::settle::Settlement;
use super::{Engine, LoadedDelivery, PendingLoad};
use crate::effect::Write;
use crate::lane::{Item, Origin};

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
        write.facts.push(mark(&row.event, key, row.run, reason, now));
        let done = vec![Origin::Row(row.key)];
        let over = (row.run == RunId::LOG).then_some(row.event.at).into_iter().collect();
        self.write(write, Settlement { lane: Some(key), done, over, ..Settlement::default() });
    }

    /// Ends what a person asked for of an endpoint that has been disabled since, by hand or by its answer. Tests still go out.
    pub(super) fn end_asked(&mut self, key: LaneKey, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let (tests, others): (VecDeque<Item>, _) = std::mem::take(&mut lane.asked)
            .into_iter()
            .partition(|item| item.trigger == Trigger::Test);
        lane.asked = tests;
        for item in others {
            self.end_item(key, item, DeadLetterReason::EndpointDisabled, now);
        }
        self.look_for_asked(key);
    }

    fn end_item(&mut self, key: LaneKey, item: Item, reason: DeadLetterReason, now: Timestamp) {
        let mut write = self.new_write();
        let loaded = LoadedDelivery {
            event: Some(item.event),
            stored: item.stored,
            attempts_total: item.attempts_before,
            last: item.last,
            ..LoadedDelivery::default()
        };
        write.dead_letters.push(self.letter(key, &item.at, item.run, &loaded, reason, now));
        let body = loaded.event.filter(|_| !loaded.stored);
        write.events.extend(body.map(|event| (item.at.clone(), event)));
        write.facts.push(mark(&item.at, key, item.run, reason, now));
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        settlement.done.push(item.origin);
        settlement.ended.push((item.at.at, item.run));
        self.write(write, settlement);
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

fn mark(
    event: &EventRef,
    key: LaneKey,
    run: RunId,
    reason: DeadLetterReason,
    time: Timestamp,
) -> Fact {
    let id = domain::AttemptId::of_mark(run, event.at);
    let kind = FactKind::DeadLettered(reason);
    Fact { id, event: event.clone(), endpoint: key.endpoint, run, time, kind }
}
