//! The books of both sides, compared: what Postrider says that it did, and what the receivers saw.

use wire::api::v1::{
    Attempt, Delivery, ListAttemptsRequest, ListDeadLettersRequest, ListDeliveriesRequest,
    ListEventsRequest, attempt, delivery,
};

use super::cast::{PARTS, Part, deliveries_expected};
use super::ledger::Ledger;
use crate::cli::Api;
use crate::failure::Failure;

/// Rows of a page: more than a tour makes.
const PAGE: i32 = 1_000;

/// What the API says.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Events in the log.
    pub(crate) events: usize,
    /// Deliveries that succeeded.
    pub(crate) succeeded: usize,
    /// Attempts.
    pub(crate) attempts: usize,
    /// Attempts that were retries or probes.
    pub(crate) retries: usize,
    /// Attempts of redrives that succeeded.
    pub(crate) redriven: usize,
    /// Dead letters that are left.
    pub(crate) dead_letters: usize,
}

impl Books {
    /// Reads everything through the API.
    pub(crate) async fn read(api: &Api) -> Result<Self, Failure> {
        let mut books = Self { dead_letters: dead_letters(api).await?.len(), ..Self::default() };
        let request = ListEventsRequest {
            parent: "tenants/default".to_owned(),
            page_size: PAGE,
            ..Default::default()
        };
        let events = api.events().list_events(request).await?.into_inner().events;
        books.events = events.len();
        for part in PARTS {
            for delivery in deliveries(part, api).await? {
                if delivery.state() == delivery::State::Succeeded {
                    books.succeeded += 1;
                }
                for attempt in attempts(&delivery, api).await? {
                    books.enter(&attempt);
                }
            }
        }
        Ok(books)
    }

    fn enter(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        let trigger = attempt.trigger();
        if trigger == attempt::Trigger::Retry || trigger == attempt::Trigger::Probe {
            self.retries += 1;
        }
        let succeeded = attempt.outcome() == attempt::Outcome::Succeeded;
        if trigger == attempt::Trigger::Redrive && succeeded {
            self.redriven += 1;
        }
    }
}

/// Names of the dead letters that are there now.
pub(crate) async fn dead_letters(api: &Api) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListDeadLettersRequest {
            parent: "tenants/default/endpoints/-".to_owned(),
            page_size: PAGE,
            page_token,
            ..Default::default()
        };
        let page = api.dead_letters().list_dead_letters(request).await?.into_inner();
        names.extend(page.dead_letters.into_iter().map(|letter| letter.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(names);
        }
    }
}

async fn deliveries(part: Part, api: &Api) -> Result<Vec<Delivery>, Failure> {
    let request = ListDeliveriesRequest {
        parent: format!("tenants/default/endpoints/{}", part.id()),
        page_size: PAGE,
        ..Default::default()
    };
    Ok(api.deliveries().list_deliveries(request).await?.into_inner().deliveries)
}

async fn attempts(delivery: &Delivery, api: &Api) -> Result<Vec<Attempt>, Failure> {
    let request = ListAttemptsRequest {
        parent: delivery.name.clone(),
        page_size: PAGE,
        ..Default::default()
    };
    Ok(api.deliveries().list_attempts(request).await?.into_inner().attempts)
}

/// What the tour itself asked for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Asked {
    /// Events that were acknowledged as new.
    pub(crate) published: usize,
    /// Repeats of one that were acknowledged as such.
    pub(crate) repeats: usize,
    /// Dead letters that were seen.
    pub(crate) dead_lettered: usize,
    /// Redrives that were accepted.
    pub(crate) redrives: usize,
}

/// One line of the summary, and whether all who counted it agree.
#[derive(Debug)]
pub(crate) struct Count {
    /// What was counted.
    pub(crate) what: &'static str,
    /// By whom, and how many.
    pub(crate) by: Vec<(&'static str, usize)>,
}

impl Count {
    /// Whether all numbers are the same.
    pub(crate) fn agrees(&self) -> bool {
        let mut numbers = self.by.iter().map(|(_, number)| *number);
        let first = numbers.next();
        numbers.all(|number| Some(number) == first)
    }
}

/// Compares the books.
pub(crate) fn counts(asked: Asked, ledger: &Ledger, books: &Books) -> Vec<Count> {
    let count = |what, by: &[(&'static str, usize)]| Count { what, by: by.to_vec() };
    vec![
        count("published", &[("acknowledged", asked.published), ("in the log", books.events)]),
        count(
            "delivered",
            &[
                ("taken by receivers", ledger.delivered()),
                ("succeeded in the API", books.succeeded),
                ("subscribed", deliveries_expected()),
            ],
        ),
        count(
            "verified",
            &[
                ("signatures verified by receivers", ledger.verified),
                ("requests received", ledger.requests),
                ("attempts in the API", books.attempts),
            ],
        ),
        count("retried", &[("seen by receivers", ledger.retries), ("in the API", books.retries)]),
        count(
            "dead-lettered",
            &[("seen in the API", asked.dead_lettered), ("redrives accepted", asked.redrives)],
        ),
        count(
            "redriven",
            &[
                ("taken by receivers", ledger.redriven),
                ("in the API", books.redriven),
                ("dead letters before", asked.dead_lettered),
            ],
        ),
        count("dead letters left", &[("in the API", books.dead_letters), ("expected", 0)]),
        count("duplicates", &[("seen by receivers", ledger.duplicates), ("expected", 0)]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_delivery_is_a_disagreement() {
        let books = Books { events: 12, succeeded: 20, ..Books::default() };
        let asked = Asked { published: 12, ..Asked::default() };
        let counts = counts(asked, &Ledger::default(), &books);
        let of = |what: &str| counts.iter().find(|count| count.what == what).map(Count::agrees);
        assert_eq!(of("published"), Some(true));
        assert_eq!(of("delivered"), Some(false));
    }
}
