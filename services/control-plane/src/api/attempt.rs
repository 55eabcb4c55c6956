//! Attempts on the wire.

use domain::{Disposition, ErrorClass, Fact, OutcomeKind, Trigger};
use wire::api::v1;
use wire::api::v1::attempt as proto;

use super::time;
use crate::app::AttemptView;

/// An attempt on the wire.
pub(crate) fn to_wire(view: AttemptView) -> v1::Attempt {
    let attempt = view.attempt;
    let is_success = matches!(attempt.outcome, OutcomeKind::Answered(200..=299));
    let (outcome, class) = outcome(attempt.outcome);
    let message = match (is_success, attempt.detail.is_empty()) {
        (true, _) => String::new(),
        (false, true) => outcome_text(attempt.outcome),
        (false, false) => attempt.detail,
    };
    v1::Attempt {
        name: format!("{}/attempts/{}", view.delivery, view.fact.id),
        number: i32::try_from(attempt.number).unwrap_or(i32::MAX),
        trigger: trigger(attempt.trigger).into(),
        outcome: outcome.into(),
        error_class: class.into(),
        error_message: message,
        status_code: match attempt.outcome {
            OutcomeKind::Answered(status) => i32::from(status),
            OutcomeKind::Failed(_) => 0,
        },
        start_time: Some(time::to_wire(view.fact.time)),
        duration: Some(time::duration_to_wire(attempt.duration)),
        response_excerpt: String::from_utf8_lossy(&attempt.excerpt).into_owned(),
        signature_count: i32::from(attempt.signatures),
        next_attempt_time: match attempt.disposition {
            Disposition::Retry { next } => Some(time::to_wire(next)),
            Disposition::Delivered | Disposition::DeadLettered(_) => None,
        },
        request_url: view.url,
    }
}

/// How a request ended, in words: `answered 503`, `timeout`.
pub(crate) fn outcome_text(outcome: OutcomeKind) -> String {
    match outcome {
        OutcomeKind::Answered(status) => format!("answered {status}"),
        OutcomeKind::Failed(_) => Fact::outcome_text(outcome),
    }
}

pub(super) fn outcome(kind: OutcomeKind) -> (proto::Outcome, proto::ErrorClass) {
    let class = match kind {
        OutcomeKind::Answered(200..=299) => {
            return (proto::Outcome::Succeeded, proto::ErrorClass::Unspecified);
        }
        OutcomeKind::Answered(_) | OutcomeKind::Failed(ErrorClass::Http) => proto::ErrorClass::Http,
        OutcomeKind::Failed(ErrorClass::Dns) => proto::ErrorClass::Dns,
        OutcomeKind::Failed(ErrorClass::Connect) => proto::ErrorClass::Connect,
        OutcomeKind::Failed(ErrorClass::Tls) => proto::ErrorClass::Tls,
        OutcomeKind::Failed(ErrorClass::Timeout) => proto::ErrorClass::Timeout,
        OutcomeKind::Failed(ErrorClass::Blocked) => proto::ErrorClass::Blocked,
    };
    (proto::Outcome::Failed, class)
}

pub(super) fn trigger(trigger: Trigger) -> proto::Trigger {
    match trigger {
        Trigger::Event => proto::Trigger::Event,
        Trigger::Retry => proto::Trigger::Retry,
        Trigger::Redrive => proto::Trigger::Redrive,
        Trigger::Replay => proto::Trigger::Replay,
        Trigger::Resend => proto::Trigger::Resend,
        Trigger::Probe => proto::Trigger::Probe,
        Trigger::Test => proto::Trigger::Test,
    }
}
