//! What a person reads: a history line by line, or the piece of it that belongs to a violation.

use std::fmt::Write as _;

use domain::{Disposition, EventRef, FactKind, LaneKey, OutcomeKind, Timestamp};

use crate::check::Violation;
use crate::history::History;
use crate::journal::{Entry, What};

/// Lines of a violation's piece at most: the first half and the last half of what belongs to it.
const LINES_MAX: usize = 60;

impl History {
    /// The whole history.
    #[must_use]
    pub fn trace(&self) -> String {
        self.lines(|_| true).join("\n")
    }

    /// What belongs to a violation: its delivery, and who owned what when.
    #[must_use]
    pub fn piece(&self, violation: &Violation) -> String {
        let mut lines = self.lines(|entry| self.belongs(entry, violation));
        if lines.len() > LINES_MAX {
            let left_out = format!("… {} lines left out …", lines.len() - LINES_MAX);
            let tail = lines.split_off(lines.len() - LINES_MAX / 2);
            lines.truncate(LINES_MAX / 2);
            lines.push(left_out);
            lines.extend(tail);
        }
        lines.join("\n")
    }

    fn lines(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<String> {
        let start = self.entries.first().map_or(Timestamp::ZERO, |entry| entry.time);
        let entries = self.entries.iter().filter(|entry| wanted(entry));
        entries.map(|entry| self.line(entry, start)).collect()
    }

    fn belongs(&self, entry: &Entry, violation: &Violation) -> bool {
        let is_event =
            |event: &EventRef| violation.event.as_ref().is_none_or(|wanted| event.id == *wanted);
        let is_endpoint = |endpoint| violation.endpoint.is_none_or(|wanted| wanted == endpoint);
        let is_request = |number| {
            let requests = violation.endpoint.zip(violation.event.clone());
            let requests = requests.and_then(|of| self.requests.get(&of));
            requests.into_iter().flatten().any(|request| request.sent.request == number)
        };
        match &entry.what {
            What::Step(step) => !step.starts_with("Publish") && !step.starts_with("Wait"),
            What::Sent(sent) => is_request(sent.request),
            What::Answered { request, .. } | What::Dropped { request } => is_request(*request),
            What::Recorded(fact) => is_endpoint(fact.endpoint) && is_event(&fact.event),
            What::Appended(lane, row) => is_endpoint(lane.endpoint) && is_event(&row.event),
            What::Held(lane, _, row) => is_endpoint(lane.endpoint) && is_event(&row.event),
            What::LineSaved(row) => violation.endpoint == Some(row.lane.endpoint),
            What::LaneSaved(row) => violation.endpoint == Some(row.key.endpoint),
            What::LaneRemoved(lane) => violation.endpoint == Some(lane.endpoint),
            What::LetterPut { endpoint, event, .. } => is_endpoint(*endpoint) && is_event(event),
            What::LetterResolved { endpoint, .. } => violation.endpoint == Some(*endpoint),
            What::Failed(_) => false,
            What::Acked { .. } => violation.event.is_none(),
            What::Assigned { .. } | What::Deleted(_) | What::Error(_) => true,
        }
    }

    fn line(&self, entry: &Entry, start: Timestamp) -> String {
        let mut line = format!("{:>14.3} s  ", entry.time.since(start).as_secs_f64());
        // Writing to a string cannot fail.
        let _ = self.say(&mut line, &entry.what);
        line
    }

    fn say_line(&self, line: &mut String, row: &domain::LineRow) -> std::fmt::Result {
        write!(
            line,
            "durable: line {} of {}/{}, epoch {}: {}, from {}, head {:?}, after {:?}",
            name_of(row.line),
            self.name(row.lane.endpoint),
            row.lane.shard.0,
            row.epoch.0,
            if row.is_open { "open" } else { "closed" },
            row.from.0,
            row.head.as_ref().map(|head| head.at.position.0),
            row.after.map(|after| after.0)
        )
    }

    fn say(&self, line: &mut String, what: &What) -> std::fmt::Result {
        match what {
            What::Step(step) => write!(line, "--- {step}"),
            What::Sent(sent) => write!(
                line,
                "request {} of worker {}: {} to {}, attempt {} ({}), will be {} after {:?}",
                sent.request,
                sent.worker,
                sent.event,
                self.name(sent.endpoint),
                sent.attempt,
                sent.trigger,
                outcome(sent.outcome),
                sent.takes
            ),
            What::Answered { request, outcome: kind } => {
                write!(line, "request {request}: {}", outcome(*kind))
            }
            What::Dropped { request } => write!(line, "request {request}: its worker has gone"),
            What::Recorded(fact) => {
                let name = self.name(fact.endpoint);
                let what = fact_text(&fact.kind);
                write!(line, "durable: {} to {name}, run {}: {what}", fact.event.id, fact.run)
            }
            What::Appended(lane, row) => write!(
                line,
                "durable: row of {} for attempt {}, run {}, {:?}, due {}",
                self.lane(*lane, &row.event),
                row.number,
                row.run,
                row.reason,
                row.key.due
            ),
            What::Held(lane, held, row) => {
                let place = self.lane(*lane, &row.event);
                write!(line, "durable: held {place} in line {}", name_of(*held))
            }
            What::LineSaved(row) => self.say_line(line, row),
            What::LaneSaved(row) => write!(
                line,
                "durable: lane {}/{} of epoch {}: cursor {}, skips from {:?}",
                self.name(row.key.endpoint),
                row.key.shard.0,
                row.epoch.0,
                row.cursor.due,
                row.skip_from.map(|from| from.0)
            ),
            What::LaneRemoved(lane) => {
                write!(line, "removed: lane {}/{}", self.name(lane.endpoint), lane.shard.0)
            }
            What::LetterPut { endpoint, event, run } => {
                let name = self.name(*endpoint);
                write!(line, "durable: dead letter of {} to {name}, run {run}", event.id)
            }
            What::LetterResolved { endpoint, letter, run } => {
                let name = self.name(*endpoint);
                write!(line, "durable: dead letter {letter} of {name} resolved by run {run}")
            }
            What::Failed(what) => write!(line, "failed on purpose: {what}"),
            What::Acked { worker, shard, epoch, upto, taken } => write!(
                line,
                "worker {worker} acks {}/{} in epoch {}, taken: {taken}",
                shard.0, upto.0, epoch.0
            ),
            What::Assigned { worker, shard, epoch } => {
                write!(line, "worker {worker} owns shard {} in epoch {}", shard.0, epoch.0)
            }
            What::Deleted(endpoint) => write!(line, "{} is deleted", self.name(*endpoint)),
            What::Error(error) => write!(line, "ERROR {error}"),
        }
    }

    fn lane(&self, lane: LaneKey, event: &EventRef) -> String {
        format!("{} ({}) to {}", event.id, event.at, self.name(lane.endpoint))
    }
}

fn outcome(kind: OutcomeKind) -> String {
    domain::Fact::outcome_text(kind)
}

fn fact_text(kind: &FactKind) -> String {
    match kind {
        FactKind::Cancelled => "cancelled".to_owned(),
        FactKind::DeadLettered(reason) => format!("dead letter, {}", reason.as_str()),
        FactKind::Attempt(attempt) => {
            let then = match attempt.disposition {
                Disposition::Delivered => "delivered".to_owned(),
                Disposition::Retry { next } => format!("next {next}"),
                Disposition::DeadLettered(reason) => format!("dead letter, {}", reason.as_str()),
            };
            let (number, trigger) = (attempt.number, attempt.trigger.as_str());
            format!("attempt {number} ({trigger}): {}, {then}", outcome(attempt.outcome))
        }
    }
}

/// The first bytes of a line's name tell it from the others of a history.
fn name_of(line: domain::Line) -> String {
    line.as_bytes().iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}
