//! Subscriptions: which events an endpoint wants.

use std::sync::Arc;

use crate::ids::is_type_segment;
use crate::{EndpointId, Event, EventType, Revision, SubscriptionId, TenantId, Timestamp, limits};

/// Which events an endpoint wants. An endpoint gets an event once if any of its subscriptions matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Whose subscription it is.
    pub tenant: TenantId,
    /// The endpoint that gets the events.
    pub endpoint: EndpointId,
    /// Its name within the endpoint.
    pub id: SubscriptionId,
    /// Types that match; at least one.
    pub event_types: Vec<EventPattern>,
    /// A [`Filter`](crate::Filter) that the event must satisfy as well; empty matches all.
    pub filter: String,
    /// Channels of which the event must name one; empty matches all.
    pub channels: Vec<Arc<str>>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// The tenant's revision of its last change; the etag.
    pub revision: Revision,
}

impl Subscription {
    /// Whether type and channels of the event are what this subscription wants; its filter is [`Matcher`](crate::Matcher)'s to ask.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.event_types.iter().any(|p| p.matches(&event.event_type))
            && (self.channels.is_empty()
                || self.channels.iter().any(|channel| event.channels.contains(channel)))
    }
}

/// A pattern over event types.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventPattern {
    /// `*`: every type but Postrider's own operational events (spec §9).
    All,
    /// `payment.*`: every type that begins with `payment.`; holds the prefix with its dot.
    Prefix(Arc<str>),
    /// `payment.completed`: that type alone.
    Exact(EventType),
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a valid event type pattern: allowed are a type such as payment.completed, a prefix \
     such as payment.*, or *"
)]
pub struct PatternError(pub String);

impl EventPattern {
    /// Parses `payment.completed`, `payment.*` or `*`.
    ///
    /// # Errors
    /// [`PatternError`] names the text and what is allowed.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let error = || PatternError(text.chars().take(80).collect());
        if text == "*" {
            return Ok(Self::All);
        }
        if let Some(prefix) = text.strip_suffix(".*") {
            let valid = text.len() <= limits::EVENT_TYPE_BYTES_MAX
                && prefix.split('.').all(is_type_segment);
            return if valid {
                Ok(Self::Prefix(format!("{prefix}.").into()))
            } else {
                Err(error())
            };
        }
        EventType::parse(text).map(Self::Exact).map_err(|_| error())
    }

    /// Whether the type is one of the pattern's.
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::All => !event_type.is_operational(),
            Self::Prefix(prefix) => event_type.as_str().starts_with(&**prefix),
            Self::Exact(exact) => exact == event_type,
        }
    }
}

impl std::fmt::Display for EventPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(exact) => exact.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, event_type: &str) -> bool {
        let event_type = EventType::parse(event_type).expect("valid type");
        EventPattern::parse(pattern).expect("valid pattern").matches(&event_type)
    }

    #[test]
    fn patterns_match_as_their_text_says() {
        assert!(matches("*", "payment.completed"));
        assert!(matches("payment.*", "payment.completed"));
        assert!(matches("payment.*", "payment.refund.created"));
        assert!(matches("payment.completed", "payment.completed"));
        assert!(!matches("payment.*", "payments.completed"));
        assert!(!matches("payment.completed", "payment.completed2"));
    }

    #[test]
    fn a_star_does_not_match_operational_events() {
        assert!(!matches("*", "postrider.endpoint.disabled"));
        assert!(matches("postrider.*", "postrider.endpoint.disabled"));
    }

    #[test]
    fn bad_patterns_are_refused_and_good_ones_print_as_given() {
        for bad in ["", "payment", "*.completed", "payment.**", "payment*", ".*", "a..*", "a.*.b"] {
            assert!(EventPattern::parse(bad).is_err(), "{bad}");
        }
        for good in ["*", "payment.*", "a.b.*", "a.b"] {
            assert_eq!(EventPattern::parse(good).expect("valid").to_string(), good);
        }
    }
}
