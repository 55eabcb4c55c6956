//! The tour itself, chapter by chapter. Everything goes through the API, as any client would do it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use ports::Clock as _;
use runtime::{Shutdown, SystemClock, TaskGroup};
use signing::Secret;
use tokio::sync::mpsc;
use wire::api::v1::{
    CreateEndpointRequest, DeliveryPolicy, Endpoint, GetEndpointRequest, NewEvent,
    PublishEventsRequest, RedriveDeadLetterRequest, Subscription, endpoint_health,
};

use super::audit::{Asked, Books, counts, dead_letters};
use super::cast::{EVENTS, PARTS, Part, deliveries_expected};
use super::ledger::Ledger;
use super::receiver::{Arrival, Receiver};
use super::screen::Screen;
use crate::cli::Api;
use crate::failure::Failure;

/// Arrivals that may wait for the tour.
const ARRIVALS_MAX: usize = 256;
/// Longest wait for a chapter to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the API is asked how far things are.
const POLL: Duration = Duration::from_millis(250);
/// Quiet before the books are closed: a request too many would come by then.
const QUIET: Duration = Duration::from_millis(1_500);
/// Between two events, so that a viewer can follow.
const PACE: Duration = Duration::from_millis(900);

/// A tour with its receivers.
pub(crate) struct Tour<'a> {
    api: Api,
    screen: &'a Screen,
    clock: SystemClock,
    receivers: Vec<(Part, Receiver)>,
    arrivals: mpsc::Receiver<Arrival>,
    ledger: Ledger,
    asked: Asked,
    /// Endpoints whose breaker was open when last looked at.
    open_breakers: BTreeSet<&'static str>,
    /// Holds the receivers' tasks, which end with the tour.
    _tasks: TaskGroup,
}

impl<'a> Tour<'a> {
    /// Starts the receivers.
    pub(crate) async fn start(
        api: Api,
        screen: &'a Screen,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let (tell, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let mut tasks = TaskGroup::new(shutdown.child_token());
        let mut receivers = Vec::new();
        for part in PARTS {
            receivers.push((part, Receiver::start(part, tell.clone(), &mut tasks).await?));
        }
        Ok(Self {
            api,
            screen,
            clock: SystemClock::new(),
            receivers,
            arrivals,
            ledger: Ledger::default(),
            asked: Asked::default(),
            open_breakers: BTreeSet::new(),
            _tasks: tasks,
        })
    }

    /// Guides through all chapters; true when every count agrees.
    pub(crate) async fn guide(&mut self, url: &str) -> Result<bool, Failure> {
        self.screen
            .say(&format!("postrider runs in this process, as `postrider dev` would: {url}"));
        self.create_endpoints().await?;
        self.publish().await?;
        self.deliver().await?;
        self.give_up().await?;
        self.redrive().await?;
        self.settle().await?;
        let books = Books::read(&self.api).await?;
        let counts = counts(self.asked, &self.ledger, &books);
        self.screen.summary(&counts, self.clock.monotonic());
        for why in &self.ledger.unverified {
            self.screen.say(&format!("   not verified: {why}"));
        }
        Ok(counts.iter().all(super::audit::Count::agrees))
    }

    /// Shows what arrives, until the tour is dropped.
    pub(crate) async fn watch_on(&mut self) -> Result<(), Failure> {
        while let Some(arrival) = self.arrivals.recv().await {
            self.enter(&arrival);
        }
        Ok(())
    }

    async fn create_endpoints(&mut self) -> Result<(), Failure> {
        self.screen.chapter(
            1,
            "Three customers register their endpoints",
            "Each says which events it wants, and gets a secret, with which it verifies what comes.",
        );
        for (part, receiver) in self.receivers.clone() {
            let waits: Vec<_> =
                part.schedule_ms().iter().map(|ms| format!("{}s", ms / 1_000)).collect();
            self.screen.command(&format!(
                "postrider endpoint create {} --id {} --event '{}' --retry-schedule {}",
                receiver.url(),
                part.id(),
                part.pattern(),
                waits.join(",")
            ));
            let request = endpoint(part, receiver.url());
            let answer = self.api.endpoints().create_endpoint(request).await?.into_inner();
            let key = answer.secret.map(|secret| secret.key).unwrap_or_default();
            let secret = Secret::parse(&key).context("the API gave no secret")?;
            receiver.trust(secret);
            self.screen.say(&format!("     {} is {}", part.id(), part.condition()));
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), Failure> {
        self.screen.chapter(
            2,
            "Events are published; Postrider signs and delivers them",
            "The answer comes once an event is on disk: from then on it arrives, or is kept as a dead letter.",
        );
        self.screen.explain(
            "What fails is retried. After 5 failures in a row an endpoint's breaker opens: one attempt at a time, the rest waits.",
        );
        self.screen.explain("Nobody else notices: each endpoint has a lane of its own.");
        let data = r#"{"order":1001,"amount":4200}"#;
        self.screen.command(&format!(
            "postrider event publish payment.completed --idempotency-key order-1001 --data '{data}'"
        ));
        for (index, event_type) in EVENTS.iter().enumerate() {
            let event = NewEvent {
                r#type: (*event_type).to_owned(),
                data: format!(r#"{{"order":{},"amount":4200}}"#, 1_001 + index).into(),
                idempotency_key: format!("order-{}", 1_001 + index),
                ..Default::default()
            };
            // A client that is not sure repeats its call: the key makes that harmless.
            let repeat = (index == 0).then(|| event.clone());
            self.publish_one(event).await?;
            if let Some(repeat) = repeat {
                self.publish_one(repeat).await?;
            }
            let next = self.clock.monotonic() + PACE;
            self.until("the next event", async |tour| Ok(tour.clock.monotonic() >= next)).await?;
        }
        self.screen.say(&format!(
            "     {} events acknowledged, {} repeat recognised by its idempotency key",
            self.asked.published, self.asked.repeats
        ));
        Ok(())
    }

    async fn publish_one(&mut self, event: NewEvent) -> Result<(), Failure> {
        let event_type = event.r#type.clone();
        let request = PublishEventsRequest {
            parent: "tenants/default".to_owned(),
            events: vec![event],
            ..Default::default()
        };
        let answer = self.api.events().publish_events(request).await?.into_inner();
        for result in answer.results {
            match (result.error, result.duplicate) {
                (Some(error), _) => {
                    return Err(Failure::Other(anyhow::anyhow!("publish: {}", error.message)));
                }
                (None, true) => {
                    self.asked.repeats += 1;
                    self.screen.published(&event_type, &result.id, "same key, same event");
                }
                (None, false) => {
                    self.asked.published += 1;
                    self.screen.published(&event_type, &result.id, "durable");
                }
            }
        }
        Ok(())
    }

    async fn deliver(&mut self) -> Result<(), Failure> {
        let wanted = deliveries_expected() - self.expected(Part::Warehouse);
        self.until("shop and crm have everything", async |tour| {
            Ok(tour.ledger.delivered() >= wanted)
        })
        .await
    }

    async fn give_up(&mut self) -> Result<(), Failure> {
        self.screen.chapter(
            3,
            "What cannot be delivered becomes a dead letter",
            "The warehouse answered every attempt of its schedule with 500. Nothing is lost: its events are kept.",
        );
        let wanted = self.expected(Part::Warehouse);
        self.until("the warehouse's events are dead letters", async |tour| {
            Ok(dead_letters(&tour.api).await?.len() >= wanted)
        })
        .await?;
        self.asked.dead_lettered = dead_letters(&self.api).await?.len();
        self.screen.command("postrider dead-letter list");
        self.screen.say(&format!("     {} dead letters", self.asked.dead_lettered));
        Ok(())
    }

    async fn redrive(&mut self) -> Result<(), Failure> {
        self.screen.chapter(
            4,
            "The warehouse is repaired, and its dead letters are redriven",
            "Each goes out anew, at once, with a whole retry schedule; a success removes the dead letter.",
        );
        for (part, receiver) in &self.receivers {
            if *part == Part::Warehouse {
                receiver.repair();
            }
        }
        self.screen.command("postrider dead-letter redrive --all");
        for name in dead_letters(&self.api).await? {
            let request = RedriveDeadLetterRequest { name, ..Default::default() };
            self.api.dead_letters().redrive_dead_letter(request).await?;
            self.asked.redrives += 1;
        }
        let wanted = self.expected(Part::Warehouse);
        self.until("the warehouse has everything", async |tour| {
            let delivered = tour.ledger.delivered_to(Part::Warehouse);
            Ok(delivered >= wanted && dead_letters(&tour.api).await?.is_empty())
        })
        .await
    }

    /// Waits until both sides have written everything down, and nothing more comes.
    async fn settle(&mut self) -> Result<(), Failure> {
        let mut quiet_since = self.clock.monotonic();
        let mut requests = self.ledger.requests;
        self.until("the books are closed", async |tour| {
            if tour.ledger.requests != requests {
                requests = tour.ledger.requests;
                quiet_since = tour.clock.monotonic();
            }
            Ok(tour.clock.monotonic() - quiet_since >= QUIET)
        })
        .await
    }

    fn expected(&self, part: Part) -> usize {
        EVENTS.iter().filter(|event| part.subscribes(event)).count()
    }

    /// Counts what arrives until `done`. Giving up is no error: the summary then says what is missing.
    async fn until<F>(&mut self, what: &str, mut done: F) -> Result<(), Failure>
    where
        F: AsyncFnMut(&Self) -> Result<bool, Failure>,
    {
        let deadline = self.clock.monotonic() + PATIENCE;
        let mut ask_at = Duration::ZERO;
        loop {
            if self.clock.monotonic() >= ask_at {
                self.watch_breakers().await?;
                if done(self).await? {
                    return Ok(());
                }
                ask_at = self.clock.monotonic() + POLL;
            }
            if self.clock.monotonic() >= deadline {
                let seconds = PATIENCE.as_secs();
                self.screen.say(&format!("   gave up after {seconds} s waiting until {what}"));
                return Ok(());
            }
            let arrival = tokio::select! {
                arrival = self.arrivals.recv() => arrival,
                () = self.clock.sleep(POLL) => None,
            };
            if let Some(arrival) = arrival {
                self.enter(&arrival);
            }
        }
    }

    /// Tells when a breaker has opened or closed.
    async fn watch_breakers(&mut self) -> Result<(), Failure> {
        for part in PARTS {
            let name = format!("tenants/default/endpoints/{}", part.id());
            let answer = self.api.endpoints().get_endpoint(GetEndpointRequest { name }).await?;
            let health = answer.into_inner().endpoint.and_then(|endpoint| endpoint.health);
            let Some(health) = health else { continue };
            let is_open = health.breaker() == endpoint_health::Breaker::Open;
            let was_open = if is_open {
                !self.open_breakers.insert(part.id())
            } else {
                self.open_breakers.remove(part.id())
            };
            if is_open != was_open {
                self.screen.breaker(part, is_open, health.consecutive_failures);
            }
        }
        Ok(())
    }

    fn enter(&mut self, arrival: &Arrival) {
        self.ledger.enter(arrival);
        self.screen.arrival(arrival, &self.ledger);
    }
}

fn endpoint(part: Part, url: String) -> CreateEndpointRequest {
    let wait = |ms: &u64| prost_types::Duration {
        seconds: i64::try_from(ms / 1_000).unwrap_or(0),
        nanos: i32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000,
    };
    let delivery = DeliveryPolicy {
        retry_schedule: part.schedule_ms().iter().map(wait).collect(),
        ..Default::default()
    };
    CreateEndpointRequest {
        parent: "tenants/default".to_owned(),
        endpoint_id: part.id().to_owned(),
        endpoint: Some(Endpoint { url, delivery: Some(delivery), ..Default::default() }),
        subscriptions: vec![Subscription {
            event_types: vec![part.pattern().to_owned()],
            ..Default::default()
        }],
        ..Default::default()
    }
}
