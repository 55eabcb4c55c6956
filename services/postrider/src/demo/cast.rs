//! Who plays in the tour: the receivers with their illnesses, and the events.

/// One of the three receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Always well.
    Shop,
    /// Fails at first, then is well.
    Crm,
    /// Fails until someone repairs it.
    Warehouse,
}

/// All of them.
pub(crate) const PARTS: [Part; 3] = [Part::Shop, Part::Crm, Part::Warehouse];

/// Requests that the CRM answers with 500 before it is well: more than open a breaker (5), fewer than disable an endpoint (10).
const CRM_FAILURES: usize = 8;

impl Part {
    /// The endpoint's id.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Crm => "crm",
            Self::Warehouse => "warehouse",
        }
    }

    /// How it is, for people.
    pub(crate) fn condition(self) -> &'static str {
        match self {
            Self::Shop => "healthy",
            Self::Crm => "failing, then healthy",
            Self::Warehouse => "dead",
        }
    }

    /// What it subscribes to.
    pub(crate) fn pattern(self) -> &'static str {
        match self {
            Self::Shop => "*",
            Self::Crm => "payment.*",
            Self::Warehouse => "invoice.created",
        }
    }

    /// Waits after failed attempts, in milliseconds: short, because a tour is short (default: 10 s to 24 h). The warehouse has
    /// three attempts for each of its two events, so that it is given up before it is disabled.
    pub(crate) fn schedule_ms(self) -> &'static [u64] {
        match self {
            Self::Shop | Self::Crm => &[1_000, 2_000, 2_000, 3_000, 3_000, 5_000, 5_000],
            Self::Warehouse => &[3_000, 6_000],
        }
    }

    /// How many requests it answers with 500 before it is well.
    pub(crate) fn failures(self) -> usize {
        match self {
            Self::Shop => 0,
            Self::Crm => CRM_FAILURES,
            Self::Warehouse => usize::MAX,
        }
    }

    /// Whether it gets events of this type.
    pub(crate) fn subscribes(self, event_type: &str) -> bool {
        match self {
            Self::Shop => true,
            Self::Crm => event_type.starts_with("payment."),
            Self::Warehouse => event_type == "invoice.created",
        }
    }
}

/// Types of the events, in the order they are published.
pub(crate) const EVENTS: [&str; 12] = [
    "payment.completed",
    "user.signed_up",
    "payment.completed",
    "invoice.created",
    "payment.refunded",
    "user.signed_up",
    "payment.completed",
    "invoice.created",
    "payment.completed",
    "user.signed_up",
    "payment.refunded",
    "user.signed_up",
];

/// How many deliveries the events make when everything arrives.
pub(crate) fn deliveries_expected() -> usize {
    let of = |part: Part| EVENTS.iter().filter(|event| part.subscribes(event)).count();
    PARTS.into_iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_receiver_is_given_up_before_it_is_disabled() {
        let events = EVENTS.iter().filter(|event| Part::Warehouse.subscribes(event)).count();
        let attempts = events * (Part::Warehouse.schedule_ms().len() + 1);
        assert!(attempts < usize::try_from(domain::limits::DISABLE_FAILURES).unwrap());
        assert!(CRM_FAILURES < usize::try_from(domain::limits::DISABLE_FAILURES).unwrap());
        assert!(CRM_FAILURES > usize::try_from(domain::limits::BREAKER_FAILURES).unwrap());
        assert_eq!(deliveries_expected(), 12 + 6 + 2);
    }
    /// A number of the summary that the README shows.
    fn shown(what: &str) -> usize {
        let readme = include_str!("../../../../README.md");
        let line = readme.lines().find_map(|line| line.trim().strip_prefix(what));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.unwrap_or_else(|| panic!("the README shows {what}")).parse().unwrap()
    }

    #[test]
    fn the_readme_shows_the_numbers_of_this_cast() {
        let dead = EVENTS.iter().filter(|event| Part::Warehouse.subscribes(event)).count();
        let attempts_of_dead = dead * (Part::Warehouse.schedule_ms().len() + 1);
        let requests = deliveries_expected() + CRM_FAILURES + attempts_of_dead;
        assert_eq!(shown("published"), EVENTS.len());
        assert_eq!(shown("delivered"), deliveries_expected());
        assert_eq!(shown("verified"), requests);
        assert_eq!(shown("retried"), requests - deliveries_expected() - dead);
        assert_eq!((shown("dead-lettered"), shown("redriven")), (dead, dead));
    }
}
