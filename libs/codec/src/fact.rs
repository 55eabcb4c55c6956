//! What happened to deliveries: attempts, outcomes, reasons. The stable numbers of their kinds live here.

use domain::{Attempt, DeadLetterReason, Disposition, ErrorClass, FactKind, OutcomeKind, Trigger};

use super::{In, Out, Read};

const FORMAT: u8 = 1;

pub fn encode_fact_kind(kind: &FactKind) -> Vec<u8> {
    let capacity = match kind {
        FactKind::Attempt(attempt) => attempt.excerpt.len() + attempt.detail.len() + 40,
        FactKind::DeadLettered(_) | FactKind::Cancelled => 4,
    };
    let mut out = Out::new(FORMAT, capacity);
    match kind {
        FactKind::Attempt(attempt) => {
            out.byte(1)
                .uint(attempt.number.into())
                .byte(trigger_code(attempt.trigger))
                .outcome(attempt.outcome)
                .duration(attempt.duration)
                .bytes(&attempt.excerpt)
                .text(&attempt.detail)
                .byte(attempt.signatures)
                .disposition(attempt.disposition);
        }
        FactKind::DeadLettered(reason) => {
            out.byte(2).byte(reason_code(*reason));
        }
        FactKind::Cancelled => {
            out.byte(3);
        }
    }
    out.end()
}

pub fn decode_fact_kind(bytes: &[u8]) -> Read<FactKind> {
    let mut input = In::new(bytes, FORMAT, "fact")?;
    let kind = match input.byte()? {
        1 => FactKind::Attempt(Attempt {
            number: input.small()?,
            trigger: input.trigger()?,
            outcome: input.outcome()?,
            duration: input.duration()?,
            excerpt: input.owned()?,
            detail: input.string()?,
            signatures: input.byte()?,
            disposition: input.disposition()?,
        }),
        2 => FactKind::DeadLettered(input.reason()?),
        3 => FactKind::Cancelled,
        _ => return Err(input.damaged()),
    };
    input.end()?;
    Ok(kind)
}

impl Out {
    pub(crate) fn outcome(&mut self, outcome: OutcomeKind) -> &mut Self {
        match outcome {
            OutcomeKind::Answered(status) => self.byte(1).uint(status.into()),
            OutcomeKind::Failed(class) => self.byte(2).byte(class_code(class)),
        }
    }

    fn disposition(&mut self, disposition: Disposition) -> &mut Self {
        match disposition {
            Disposition::Delivered => self.byte(1),
            Disposition::Retry { next } => self.byte(2).time(next),
            Disposition::DeadLettered(reason) => self.byte(3).byte(reason_code(reason)),
        }
    }
}

impl In<'_> {
    pub(crate) fn outcome(&mut self) -> Read<OutcomeKind> {
        match self.byte()? {
            1 => self.small().map(OutcomeKind::Answered),
            2 => {
                let code = self.byte()?;
                let class = class_of(code).ok_or_else(|| self.damaged())?;
                Ok(OutcomeKind::Failed(class))
            }
            _ => Err(self.damaged()),
        }
    }

    fn disposition(&mut self) -> Read<Disposition> {
        match self.byte()? {
            1 => Ok(Disposition::Delivered),
            2 => self.time().map(|next| Disposition::Retry { next }),
            3 => self.reason().map(Disposition::DeadLettered),
            _ => Err(self.damaged()),
        }
    }

    pub(crate) fn trigger(&mut self) -> Read<Trigger> {
        let code = self.byte()?;
        trigger_of(code).ok_or_else(|| self.damaged())
    }

    pub(crate) fn reason(&mut self) -> Read<DeadLetterReason> {
        let code = self.byte()?;
        reason_of(code).ok_or_else(|| self.damaged())
    }
}

pub(crate) const fn trigger_code(trigger: Trigger) -> u8 {
    match trigger {
        Trigger::Event => 1,
        Trigger::Retry => 2,
        Trigger::Redrive => 3,
        Trigger::Replay => 4,
        Trigger::Resend => 5,
        Trigger::Probe => 6,
        Trigger::Test => 7,
    }
}

const fn trigger_of(code: u8) -> Option<Trigger> {
    Some(match code {
        1 => Trigger::Event,
        2 => Trigger::Retry,
        3 => Trigger::Redrive,
        4 => Trigger::Replay,
        5 => Trigger::Resend,
        6 => Trigger::Probe,
        7 => Trigger::Test,
        _ => return None,
    })
}

/// The number of a reason in rows and indexes.
pub const fn reason_code(reason: DeadLetterReason) -> u8 {
    match reason {
        DeadLetterReason::Exhausted => 1,
        DeadLetterReason::Rejected => 2,
        DeadLetterReason::EndpointDisabled => 3,
        DeadLetterReason::BlockedDestination => 4,
        DeadLetterReason::Expired => 5,
    }
}

const fn reason_of(code: u8) -> Option<DeadLetterReason> {
    Some(match code {
        1 => DeadLetterReason::Exhausted,
        2 => DeadLetterReason::Rejected,
        3 => DeadLetterReason::EndpointDisabled,
        4 => DeadLetterReason::BlockedDestination,
        5 => DeadLetterReason::Expired,
        _ => return None,
    })
}

const fn class_code(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Dns => 1,
        ErrorClass::Connect => 2,
        ErrorClass::Tls => 3,
        ErrorClass::Timeout => 4,
        ErrorClass::Http => 5,
        ErrorClass::Blocked => 6,
    }
}

const fn class_of(code: u8) -> Option<ErrorClass> {
    Some(match code {
        1 => ErrorClass::Dns,
        2 => ErrorClass::Connect,
        3 => ErrorClass::Tls,
        4 => ErrorClass::Timeout,
        5 => ErrorClass::Http,
        6 => ErrorClass::Blocked,
        _ => return None,
    })
}
