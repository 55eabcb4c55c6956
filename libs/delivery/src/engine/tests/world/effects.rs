//! Carries out what the engine asks for.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use domain::{
    AttemptId, CommandKind, Disposition, EndpointState, EndpointUid, EventRef, FactKind, Outcome,
    Position, Revision, RunId, Shard, Timestamp, Trigger,
};

use super::{Pending, Sent, World};
use crate::engine::tests::store::GROUPS;
use crate::{AttemptReport, AttemptStart, Effect, Jitter, Write};

impl World {
    pub(super) fn take_effects(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            // To tell is no work to come to rest from.
            self.effects += usize::from(!matches!(effect, Effect::Observe(_)));
            let mut hasher = DefaultHasher::new();
            (self.trace, format!("{effect:?}")).hash(&mut hasher);
            self.trace = hasher.finish();
            self.take_effect(effect);
        }
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Attempt(start) => self.send(start),
            Effect::Observe(_) => {}
            Effect::Write(write) => {
                self.last_write = self.last_write.max(self.store_time());
                self.later(self.last_write, Pending::Written(write));
            }
            Effect::ReadBacklog { lane, after, upto, limit } => {
                let at = self.store_time();
                self.later(at, Pending::Page { lane, after, upto, limit });
            }
            Effect::Load { token, endpoint, event, run, body } => {
                let at = self.store_time();
                self.later(at, Pending::Loaded { token, endpoint, event, run, body });
            }
            Effect::ReadLine { lane, line, from, before, limit } => {
                let at = self.store_time();
                self.later(at, Pending::Line { lane, line, bounds: (from, before), limit });
            }
            Effect::Scan { lane, from, to, limit } => {
                let at = self.store_time();
                self.later(at, Pending::Scan { lane, from, to, limit });
            }
            Effect::SetState { endpoint, from, to, .. } => {
                let at = self.store_time();
                self.later(at, Pending::SetState { endpoint, from, to });
            }
            Effect::Ack { shard, upto, .. } => self.ack(shard, upto),
        }
    }

    fn store_time(&mut self) -> Timestamp {
        let ms = if self.store_ms_max == 0 { 0 } else { self.random() % self.store_ms_max };
        self.now + Duration::from_millis(ms)
    }

    fn later(&mut self, at: Timestamp, pending: Pending) {
        self.counter += 1;
        self.pending.insert((at, self.counter), pending);
    }

    fn ack(&mut self, shard: Shard, upto: Position) {
        let old = self.store.acked.insert(shard, upto);
        assert!(old.is_none_or(|old| old < upto), "DL-2: acked {upto:?} after {old:?}");
        let records = &self.store.log[&shard];
        let first = records.partition_point(|r| old.is_some_and(|old| r.at.at.position <= old));
        for record in records[first..].iter().take_while(|r| r.at.at.position <= upto) {
            for uid in &record.uids {
                let at = record.at.at;
                assert!(self.store.is_handed_off(*uid, at), "DL-2: {at} {uid} is not handed off");
            }
        }
    }

    fn send(&mut self, start: AttemptStart) {
        let AttemptStart { token, endpoint, run, number, trigger, .. } = start;
        let key = (endpoint, start.at.at, run);
        let not_before = self.not_before.get(&(key.0, key.1, key.2, number));
        assert!(start.event.deliver_at.is_none_or(|due| self.now >= due), "DL-3: {start:?}");
        let twin = self.in_flight.values().find(|s| (s.endpoint, s.at.at, s.run) == key);
        let risky = self.at_risk.contains_key(&key);
        // An attempt that died unrecorded is made again; the row that its first making left is due by itself.
        let due = not_before.is_none_or(|due| self.now >= *due);
        assert!(risky || due, "DL-3: too early: {start:?}");
        assert!(risky || twin.is_none(), "two attempts of one run: {start:?}");
        if !risky {
            let ended = self.store.run(endpoint, start.at.at, run).has_ended();
            // A mark that was on its way when the shard changed hands may come too late.
            let late = self.taken_over && self.store.is_cancelled(endpoint, start.at.at);
            assert!(late || !ended, "DL-4: sent after its end: {start:?}");
        }
        self.check_order(&start);
        let script = self.scripts.get_mut(&endpoint).expect("a receiver");
        let answer = script(&start, self.now);
        let (time, at) = (self.now, start.at);
        let sent = Sent { time, endpoint, at, run, trigger, answer };
        self.sent.push(sent.clone());
        self.in_flight.insert(token, sent);
        let report = AttemptReport {
            id: AttemptId::from_uuid(self.uuid()),
            started: self.now,
            outcome: Outcome {
                kind: answer.kind,
                duration: answer.after,
                excerpt: Bytes::new(),
                retry_after: answer.retry_after,
                detail: String::new(),
            },
            signatures: 1,
            url: "https://example.com/".into(),
            own_fault: answer.own_fault,
        };
        self.later(self.now + answer.after, Pending::Outcome(token, report));
    }

    /// DL-6: what was published before with the same key has ended, durably.
    fn check_order(&self, start: &AttemptStart) {
        let spec = &self.store.specs[&start.endpoint];
        let is_ordered = spec.policy.ordering == domain::Ordering::ByKey
            && start.run == RunId::LOG
            && start.event.deliver_at.is_none();
        let Some(key) = start.event.ordering_key.as_ref().filter(|_| is_ordered) else {
            return;
        };
        let at = start.at.at;
        let before = self.store.log[&at.shard].iter().take_while(|record| record.at.at < at);
        let mut before = before.filter(|record| {
            record.event.ordering_key.as_ref() == Some(key)
                && record.event.deliver_at.is_none()
                && record.uids.contains(&start.endpoint)
        });
        // What a person cancelled never goes, also before its mark is durable.
        let is_cancelled = |at: &EventRef| {
            self.inbox.values().any(|command| {
                matches!(&command.kind, CommandKind::Cancel { event, .. } if event == at)
                    && command.endpoint == start.endpoint
            })
        };
        let open = before.find(|record| {
            !self.store.run(start.endpoint, record.at.at, RunId::LOG).has_ended()
                && !is_cancelled(&record.at)
        });
        assert!(open.is_none(), "DL-6: {at} of {key} before {:?}", open.map(|open| &open.at));
    }

    pub(super) fn carry_out(&mut self, pending: Pending) {
        let now = self.now;
        match pending {
            Pending::Outcome(token, report) => {
                self.in_flight.remove(&token);
                let jitter = self.jitter.unwrap_or_else(|| self.random() << 32);
                self.engine.handle_outcome(token, report, Jitter(jitter), now);
            }
            Pending::Written(mut write) => {
                let token = write.token;
                self.note_due_times(&write);
                self.store.apply(&mut write, 0..GROUPS);
                self.engine.handle_written(token, now);
            }
            Pending::Page { lane, after, upto, limit } => {
                let (rows, next_due) = self.store.page(lane, after, upto, limit);
                self.engine.handle_page(lane, rows, next_due, now);
            }
            Pending::Loaded { token, endpoint, event, run, body } => {
                let mut loaded = self.store.load(endpoint, &event, run);
                loaded.event = loaded.event.filter(|_| body);
                // What was read is old by the time that it comes.
                let at = self.store_time();
                self.later(at, Pending::Answered(token, loaded));
            }
            Pending::Answered(token, loaded) => self.engine.handle_loaded(token, loaded, now),
            Pending::Scan { lane, from, to, limit } => {
                let (matched, next) = self.store.scan(lane, from, to, limit);
                self.engine.handle_scan(lane, matched, next, now);
            }
            Pending::Line { lane, line, bounds, limit } => {
                let rows = self.store.line(lane, line, bounds, limit);
                // What was read is old by the time that it comes.
                let at = self.store_time();
                self.later(at, Pending::LineRead(lane, line, rows));
            }
            Pending::LineRead(lane, line, rows) => {
                self.engine.handle_line(lane, line, &rows, now);
            }
            Pending::SetState { endpoint, from, to } => self.compare_and_set(endpoint, from, to),
        }
    }

    fn compare_and_set(&mut self, uid: EndpointUid, from: EndpointState, to: EndpointState) {
        let Some(spec) = self.store.specs.get_mut(&uid) else {
            return self.engine.handle_state_set(uid, None);
        };
        if spec.state != from {
            let spec = spec.clone();
            self.engine.handle_state_set(uid, None);
            return self.engine.configure(spec, self.now);
        }
        spec.state = to;
        spec.state_time = self.now;
        spec.revision = Revision(spec.revision.0 + 1);
        let revision = spec.revision;
        self.engine.handle_state_set(uid, Some(revision));
    }

    fn note_due_times(&mut self, write: &Write) {
        for fact in &write.facts {
            if let FactKind::Attempt(attempt) = &fact.kind
                && let Disposition::Retry { next } = attempt.disposition
                && attempt.trigger != Trigger::Probe
            {
                let key = (fact.endpoint, fact.event.at, fact.run, attempt.number + 1);
                self.not_before.insert(key, next);
            }
        }
    }
}
