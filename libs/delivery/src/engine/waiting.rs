//! From a backlog row to an attempt: read a page, look what has happened since, send.

use domain::{
    BacklogRow, DeadLetterReason, EndpointUid, EventRef, LaneKey, RunId, Timestamp, Trigger,
    WaitReason, limits,
};

use super::dispatch::LOAD_AHEAD;
use super::renewal::Met;
use super::{Engine, LoadedDelivery, PendingLoad};
use crate::effect::{Effect, LoadToken};
use crate::endpoint::Endpoint;
use crate::lane::{Item, LeftAsked, Origin};
use crate::timers::Timer;

impl Engine {
    /// Keeps `ahead` rows of a lane loaded or on their way from the store; sets a timer when the next one is not due yet.
    pub(super) fn feed(&mut self, key: LaneKey, ahead: usize, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let mut rows = Vec::new();
        while lane.loading + lane.ready.len() < ahead
            && let Some(row) = lane.backlog.take_waiting()
        {
            lane.loading += 1;
            rows.push(row);
        }
        rows.into_iter().for_each(|row| self.load_row(key, row));
        self.go_on_in_order(key, now);
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if lane.backlog.has_waiting() || matches!(lane.left, LeftAsked::Reading(_)) {
            return;
        }
        if let Some((after, upto)) = lane.backlog.request_page(now) {
            let limit = limits::BACKLOG_PAGE_ROWS;
            self.effects.push_back(Effect::ReadBacklog { lane: key, after, upto, limit });
        } else if let Some(due) = lane.backlog.next_due().filter(|due| *due > now) {
            self.timers.set(Timer::Lane(key), due);
        }
    }

    pub(super) fn load_row(&mut self, key: LaneKey, row: BacklogRow) {
        let (event, run) = (row.event.clone(), row.run);
        self.load(PendingLoad::Row(key, row), key.endpoint, event, run);
    }

    pub(super) fn load(
        &mut self,
        what: PendingLoad,
        endpoint: EndpointUid,
        event: EventRef,
        run: RunId,
    ) {
        let token = LoadToken(self.token());
        self.loads.insert(token, what);
        self.effects.push_back(Effect::Load { token, endpoint, event, run, body: true });
    }

    /// Looks at rows of what a person asked for: at once, but so many bodies at a time.
    pub(super) fn look_for_asked(&mut self, key: LaneKey) {
        while let Some(lane) = self.lanes.get_mut(&key)
            && lane.asked.len() + lane.asking < LOAD_AHEAD
            && let Some(row) = lane.to_ask.pop_front()
        {
            lane.asking += 1;
            let (event, run) = (row.event.clone(), row.run);
            self.load(PendingLoad::Asked(key, row), key.endpoint, event, run);
        }
    }

    /// A page of a lane's backlog has come.
    pub fn handle_page(
        &mut self,
        key: LaneKey,
        rows: Vec<BacklogRow>,
        next_due: Option<Timestamp>,
        now: Timestamp,
    ) {
        let Some(rows) = self.take_left(key, rows) else {
            // The backlog proper has its turn, then the next page of these.
            self.wake(key);
            return self.pump(now);
        };
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let before = (lane.backlog.cursor(), lane.backlog.size());
        // Read to its end: new arrivals go straight to the queue again.
        if lane.backlog.take_page(rows, next_due, limits::BACKLOG_PAGE_ROWS) {
            lane.draining = false;
        }
        if before != (lane.backlog.cursor(), lane.backlog.size()) {
            self.touch(key, now);
        }
        self.wake(key);
        self.pump(now);
    }

    /// A look into the store has come back.
    pub fn handle_loaded(&mut self, token: LoadToken, loaded: LoadedDelivery, now: Timestamp) {
        let look = self.loads.remove(&token);
        let is_old = look.as_ref().is_some_and(|look| self.ended.is_after(token, look.run()));
        match look {
            None => {}
            Some(look) if is_old => self.look_again(look),
            Some(PendingLoad::Record(key, at, event)) => {
                self.record_loaded(key, at, &event, &loaded, now);
            }
            Some(PendingLoad::Row(key, row)) => {
                if let Some(lane) = self.lanes.get_mut(&key) {
                    lane.loading = lane.loading.saturating_sub(1);
                    self.row_loaded(key, row, loaded, now);
                }
            }
            Some(PendingLoad::Release(key, event, run, command)) => {
                self.release(key, &event, run, &loaded, command, now);
            }
            Some(PendingLoad::Head(key, head)) => self.head_loaded(key, &head, &loaded, now),
            Some(PendingLoad::Asked(key, row)) => {
                if let Some(lane) = self.lanes.get_mut(&key) {
                    lane.asking = lane.asking.saturating_sub(1);
                    self.row_loaded(key, row, loaded, now);
                    self.look_for_asked(key);
                }
            }
        }
        self.ended.forget(self.loads.keys().next().copied());
        self.pump(now);
    }

    /// DL-4: an attempt of this run was recorded while the look was under way, which may have read before that.
    fn look_again(&mut self, look: PendingLoad) {
        match look {
            PendingLoad::Record(key, at, event) => self.look_before_sending(key, at, &event),
            PendingLoad::Row(key, row) => self.load_row(key, row),
            PendingLoad::Release(key, event, run, command) => {
                self.look_for_release(key, event, run, command);
            }
            PendingLoad::Head(key, head) => self.look_at_head(key, head),
            PendingLoad::Asked(key, row) => {
                let (event, run) = (row.event.clone(), row.run);
                self.load(PendingLoad::Asked(key, row), key.endpoint, event, run);
            }
        }
    }

    fn row_loaded(
        &mut self,
        key: LaneKey,
        row: BacklogRow,
        loaded: LoadedDelivery,
        now: Timestamp,
    ) {
        self.wake(key);
        let may_send = self.endpoints.get(&key.endpoint).is_some_and(Endpoint::may_send);
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let asked = row.reason == WaitReason::Asked;
        if loaded.run.voids(row.number) {
            return self.row_is_void(key, &row, &loaded, now);
        }
        if lane.active.contains(&(row.event.at, row.run)) {
            return lane.backlog.defer(row.key);
        }
        if now.since(row.first_due) > limits::EXPIRY {
            return self.end_row(key, row, loaded, DeadLetterReason::Expired, now);
        }
        if !asked && !may_send {
            // Paused or disabled while the look was under way: what is known now may be old when it goes on.
            return lane.backlog.put_back(row.key);
        }
        let Some(event) = loaded.event else {
            return self.end_row(key, row, loaded, DeadLetterReason::Expired, now);
        };
        lane.active.insert((row.event.at, row.run));
        let item = Item {
            at: row.event,
            event,
            run: row.run,
            number: row.number,
            trigger: row.trigger,
            first_due: row.first_due,
            origin: Origin::Row(row.key),
            stored: loaded.stored,
            attempts_before: loaded.attempts_total,
            last: loaded.last,
            queued_at: now,
        };
        if asked { lane.asked.push_back(item) } else { lane.ready.push_back(item) }
    }

    fn row_is_void(
        &mut self,
        key: LaneKey,
        row: &BacklogRow,
        loaded: &LoadedDelivery,
        now: Timestamp,
    ) {
        if row.trigger == Trigger::Redrive && loaded.run.has_ended() {
            return self.redrive_has_ended(key, row, loaded, now);
        }
        let met = Met {
            event: &row.event,
            body: loaded.event.as_ref(),
            run: row.run,
            trigger: row.trigger,
            first_due: row.first_due,
            origin: Origin::Row(row.key),
        };
        if self.renew(key, &met, loaded) {
            return;
        }
        let moved = self.lanes.get_mut(&key).is_some_and(|lane| lane.row_done(row.key));
        if moved {
            self.touch(key, now);
        }
        if row.run == RunId::LOG && loaded.run.has_ended() {
            self.over(key, row.event.at, now);
        }
        self.go_on_catching_up(key);
        self.go_on_in_order(key, now);
    }

    /// Puts loaded rows back: the endpoint may not be sent to.
    pub(super) fn unload(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        while let Some(item) = lane.ready.pop_front() {
            lane.active.remove(&(item.at.at, item.run));
            if let Origin::Row(row) = item.origin {
                lane.backlog.put_back(row);
            }
        }
    }
}
