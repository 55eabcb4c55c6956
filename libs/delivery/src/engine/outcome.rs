//! From an outcome to its consequences: health of the endpoint, then the fate of the delivery.

use domain::{
    Attempt, BacklogKey, DeadLetter, DeadLetterId, DeadLetterReason, DisableReason, Disposition,
    EndpointState, EndpointUid, Fact, FactKind, Observation, OutcomeKind, RunId, Timestamp,
    Trigger, WaitReason, limits,
};

use super::settle::{Settlement, row_of};
use super::{Engine, InFlight, Jitter};
use crate::breaker::Tripped;
use crate::effect::{AttemptReport, AttemptToken, Effect, Write};
use crate::endpoint::Endpoint;
use crate::lane::Origin;
use crate::schedule::{retry_after, retry_delay};
use crate::verdict::{Health, Verdict, verdict};

/// What becomes of a delivery, with everything decided.
#[derive(Clone, Copy)]
enum Fate {
    Delivered,
    Retry(Timestamp),
    DeadLetter(DeadLetterReason),
    /// A probe failed: the row waits on.
    WaitOn(Timestamp),
    /// A test failed: it is shown and nothing else.
    TestFailed(DeadLetterReason),
}

impl Engine {
    /// An attempt has ended.
    pub fn handle_outcome(
        &mut self,
        token: AttemptToken,
        report: AttemptReport,
        jitter: Jitter,
        now: Timestamp,
    ) {
        let Some(flight) = self.in_flight.remove(&token) else {
            return;
        };
        let (verdict, health) = match report.own_fault {
            true => (Verdict::Retry, Health::Neutral),
            false => verdict(&report.outcome),
        };
        let disabled = self.learn(&flight, &report, verdict, health, now);
        if self.lanes.get(&flight.lane).is_some_and(|lane| lane.epoch == flight.epoch) {
            let fate = self.fate(&flight, &report, verdict, disabled, jitter, now);
            self.settle_attempt(flight, report, fate, now);
        } else if verdict == Verdict::Delivered {
            // The shard has another owner, or the endpoint is gone: a success may still be recorded, nothing else.
            let mut write = self.new_write();
            self.observe(&flight, &report, Disposition::Delivered);
            write.facts.push(fact(&flight, &report, Disposition::Delivered));
            write.resolved.extend(resolved(&flight));
            self.unwritten += 1;
            self.write(write, Settlement { outcomes: 1, ..Settlement::default() });
        }
        self.pump(now);
    }

    /// An attempt was not made: its endpoint was deleted between the decision and the request.
    pub fn handle_abandoned(&mut self, token: AttemptToken) {
        if let Some(flight) = self.in_flight.remove(&token) {
            self.place_freed(flight.lane.endpoint, flight.sole);
        }
    }

    /// Lets the endpoint's window, breaker and state learn from an outcome. Returns whether the endpoint is disabled by this answer.
    fn learn(
        &mut self,
        flight: &InFlight,
        report: &AttemptReport,
        verdict: Verdict,
        health: Health,
        now: Timestamp,
    ) -> bool {
        let uid = flight.lane.endpoint;
        let in_flight = self.endpoints.get(&uid).map_or(0, |endpoint| endpoint.in_flight);
        self.place_freed(uid, flight.sole);
        self.learn_pace(uid, report.outcome.duration);
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return false;
        };
        endpoint.window.learn(&report.outcome, in_flight);
        if let Some(wait) = retry_after(&report.outcome, now) {
            endpoint.hold_until = endpoint.hold_until.max(now + wait.min(limits::LANE_HOLD_MAX));
        }
        self.wake(flight.lane);
        // A test changes nothing; neither does what was in flight when the breaker opened (spec §3).
        if flight.item.trigger == Trigger::Test {
            return false;
        }
        self.egress.learn(uid, report.outcome.kind, now);
        if let Some(lane) = self.lanes.get_mut(&flight.lane) {
            match health {
                Health::Success => lane.last_success = Some(now),
                Health::Failure => lane.last_failure = Some(now),
                Health::Neutral => {}
            }
            self.touch_health(flight.lane, now);
        }
        let degraded = self.egress.is_degraded();
        if let Verdict::Refused(status) = verdict
            && !degraded
            && self.refused(flight, status, now)
        {
            return true;
        }
        let counted = if degraded && health == Health::Failure { Health::Neutral } else { health };
        self.learn_health(flight, counted, now);
        false
    }

    fn learn_health(&mut self, flight: &InFlight, health: Health, now: Timestamp) {
        let uid = flight.lane.endpoint;
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return;
        };
        if flight.generation != endpoint.breaker.generation() {
            return;
        }
        // What a person asked for goes out beside an open breaker's own attempts: only its success says something, or a burst of redrives would disable.
        if endpoint.breaker.is_open() && !flight.sole && health != Health::Success {
            return;
        }
        if flight.probe {
            endpoint.probe_failed(now);
        }
        let schedule = endpoint.spec.policy.retry_schedule.clone();
        let before = endpoint.breaker.state();
        match health {
            Health::Success => {
                endpoint.breaker.succeeded();
                if endpoint.spec.state == EndpointState::Disabled(DisableReason::Failing) {
                    self.change_state(uid, EndpointState::Active, now);
                }
            }
            Health::Neutral => endpoint.breaker.neutral(&schedule, now),
            Health::Failure => match endpoint.breaker.failed(&schedule, now) {
                Tripped::No => {}
                Tripped::Opened => self.hold_back(uid, now),
                Tripped::Disable if endpoint.spec.state == EndpointState::Active => {
                    let failing = EndpointState::Disabled(DisableReason::Failing);
                    self.change_state(uid, failing, now);
                }
                Tripped::Disable => {}
            },
        }
        let is_other = |known: &Endpoint| known.breaker.state() != before;
        if self.endpoints.get(&uid).is_some_and(is_other) {
            self.touch_all(uid, now);
        }
    }

    /// One more 401, 403, 404 or 410. Returns whether the endpoint is disabled by it.
    fn refused(&mut self, flight: &InFlight, status: u16, now: Timestamp) -> bool {
        let uid = flight.lane.endpoint;
        let Some(endpoint) = self.endpoints.get_mut(&uid) else {
            return false;
        };
        if endpoint.takes_tests_only() {
            return true;
        }
        // What was sent before a resume says nothing about the endpoint that was resumed.
        if flight.generation != endpoint.breaker.generation() {
            return false;
        }
        let enough = endpoint.breaker.refused() >= endpoint.spec.policy.disable_after;
        self.touch_all(uid, now);
        if !enough {
            return false;
        }
        self.change_state(uid, EndpointState::Disabled(DisableReason::Answer(status)), now);
        true
    }

    fn fate(
        &self,
        flight: &InFlight,
        report: &AttemptReport,
        verdict: Verdict,
        disabled: bool,
        jitter: Jitter,
        now: Timestamp,
    ) -> Fate {
        let dead = |reason| match flight.item.trigger {
            Trigger::Test => Fate::TestFailed(reason),
            Trigger::Event
            | Trigger::Retry
            | Trigger::Redrive
            | Trigger::Replay
            | Trigger::Resend
            | Trigger::Probe => Fate::DeadLetter(reason),
        };
        match verdict {
            Verdict::Delivered => Fate::Delivered,
            Verdict::DeadLetter(reason) => dead(reason),
            Verdict::Refused(_) if disabled => dead(DeadLetterReason::EndpointDisabled),
            Verdict::Retry | Verdict::Refused(_) if flight.item.trigger == Trigger::Test => {
                Fate::TestFailed(DeadLetterReason::Exhausted)
            }
            Verdict::Retry | Verdict::Refused(_) if flight.probe => {
                let next = self.endpoints.get(&flight.lane.endpoint).and_then(|e| e.probe_next);
                Fate::WaitOn(next.unwrap_or(now))
            }
            Verdict::Retry | Verdict::Refused(_) => {
                let Some(endpoint) = self.endpoints.get(&flight.lane.endpoint) else {
                    return Fate::DeadLetter(DeadLetterReason::Exhausted);
                };
                let schedule = &endpoint.spec.policy.retry_schedule;
                // Nobody waits for a redrive that was cancelled: its letter comes back now rather than when its next attempt would be due.
                if flight.cancelled && flight.item.trigger == Trigger::Redrive {
                    return Fate::DeadLetter(DeadLetterReason::Exhausted);
                }
                match retry_delay(schedule, flight.item.number, &report.outcome, jitter, now) {
                    Some(delay) => Fate::Retry(now + delay),
                    None => Fate::DeadLetter(DeadLetterReason::Exhausted),
                }
            }
        }
    }

    /// Writes what an attempt led to: the successor (row or dead letter) first, then the attempt.
    fn settle_attempt(
        &mut self,
        flight: InFlight,
        report: AttemptReport,
        fate: Fate,
        now: Timestamp,
    ) {
        let key = flight.lane;
        let mut write = self.new_write();
        let mut settlement = Settlement { lane: Some(key), outcomes: 1, ..Settlement::default() };
        let disposition = match fate {
            Fate::Delivered => {
                write.resolved.extend(resolved(&flight));
                Disposition::Delivered
            }
            Fate::Retry(due) => {
                let Some(row) = self.append_retry(&flight, due, &mut write) else {
                    return;
                };
                settlement.appended.push(row);
                if let Origin::Live(_) = flight.item.origin {
                    let (at, event) = (&flight.item.at, &flight.item.event);
                    self.block(key, at, event, &mut write, &mut settlement);
                }
                Disposition::Retry { next: row.due }
            }
            Fate::DeadLetter(reason) => {
                write.dead_letters.push(dead_letter(&flight, &report, reason, now));
                Disposition::DeadLettered(reason)
            }
            Fate::WaitOn(next) => Disposition::Retry { next },
            Fate::TestFailed(reason) => Disposition::DeadLettered(reason),
        };
        self.note_order(&flight, fate, &mut settlement);
        if matches!(fate, Fate::Retry(_) | Fate::DeadLetter(_)) && !flight.item.stored {
            write.events.push((flight.item.at.clone(), flight.item.event.clone()));
        }
        self.observe(&flight, &report, disposition);
        write.facts.push(fact(&flight, &report, disposition));
        match (fate, flight.item.origin) {
            (Fate::WaitOn(_), Origin::Row(row)) => {
                if let Some(lane) = self.lanes.get_mut(&key) {
                    lane.active.remove(&(flight.item.at.at, flight.item.run));
                    lane.backlog.put_back(row);
                }
            }
            (_, origin) => {
                settlement.done.push(origin);
                settlement.ended.push((flight.item.at.at, flight.item.run));
            }
        }
        if self.lanes.get(&key).is_some_and(|lane| !lane.stored) && !write.rows.is_empty() {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        self.unwritten += 1;
        self.write(write, settlement);
    }

    /// DL-6: a delivery whose order counts has ended, or was attempted.
    fn note_order(&mut self, flight: &InFlight, fate: Fate, settlement: &mut Settlement) {
        let at = flight.item.at.at;
        let Some(lane) = self.lanes.get_mut(&flight.lane) else {
            return;
        };
        if flight.item.run != RunId::LOG || !lane.order.counts(at.position) {
            return;
        }
        match fate {
            Fate::Delivered | Fate::DeadLetter(_) => settlement.over.push(at),
            Fate::Retry(_) => lane.order.attempted(at.position),
            Fate::WaitOn(_) | Fate::TestFailed(_) => {}
        }
    }

    /// Tells those who watch, unless the endpoint is gone.
    fn observe(&mut self, flight: &InFlight, report: &AttemptReport, disposition: Disposition) {
        let Some(endpoint) = self.endpoints.get(&flight.lane.endpoint) else {
            return;
        };
        self.effects.push_back(Effect::Observe(Box::new(Observation {
            event: flight.item.at.clone(),
            event_type: flight.item.event.event_type.clone(),
            endpoint: endpoint.spec.id.clone(),
            attempt: report.id,
            time: report.started,
            number: flight.item.number,
            trigger: flight.item.trigger_of(flight.probe),
            outcome: report.outcome.kind,
            duration: report.outcome.duration,
            disposition,
        })));
    }

    fn append_retry(
        &mut self,
        flight: &InFlight,
        due: Timestamp,
        write: &mut Write,
    ) -> Option<BacklogKey> {
        let lane = self.lanes.get_mut(&flight.lane)?;
        let row_key = lane.backlog.issue(due);
        let number = flight.item.number + 1;
        write.rows.push((flight.lane, row_of(&flight.item, row_key, number, WaitReason::Schedule)));
        Some(row_key)
    }
}

/// The dead letter that the success of a redrive resolves.
fn resolved(flight: &InFlight) -> Option<(EndpointUid, DeadLetterId, RunId)> {
    let uid = flight.lane.endpoint;
    let id = DeadLetterId::of(uid, &flight.item.at);
    (flight.item.trigger == Trigger::Redrive).then_some((uid, id, flight.item.run))
}

fn fact(flight: &InFlight, report: &AttemptReport, disposition: Disposition) -> Fact {
    let keep = match report.outcome.kind {
        OutcomeKind::Answered(200..=299) => limits::EXCERPT_SUCCESS_BYTES,
        OutcomeKind::Answered(_) | OutcomeKind::Failed(_) => limits::EXCERPT_FAILURE_BYTES,
    };
    let excerpt = report.outcome.excerpt.slice(..report.outcome.excerpt.len().min(keep));
    Fact {
        event: flight.item.at.clone(),
        endpoint: flight.lane.endpoint,
        run: flight.item.run,
        id: report.id,
        time: report.started,
        kind: FactKind::Attempt(Attempt {
            number: flight.item.number,
            trigger: flight.item.trigger_of(flight.probe),
            outcome: report.outcome.kind,
            duration: report.outcome.duration,
            excerpt,
            detail: report.outcome.detail.clone(),
            signatures: report.signatures,
            disposition,
        }),
    }
}

fn dead_letter(
    flight: &InFlight,
    report: &AttemptReport,
    reason: DeadLetterReason,
    now: Timestamp,
) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId::of(flight.lane.endpoint, &flight.item.at),
        tenant: flight.item.at.tenant.clone(),
        endpoint: flight.lane.endpoint,
        url: report.url.to_string(),
        event: flight.item.at.clone(),
        event_type: flight.item.event.event_type.to_string(),
        reason,
        last_outcome: Some(report.outcome.kind),
        attempts: flight.item.attempts_before + 1,
        run: flight.item.run,
        time: now,
    }
}
