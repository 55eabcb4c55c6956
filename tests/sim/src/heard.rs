//! What a history says at level ERROR: each is a bug, or something that a person would be woken for, and no misfortune of a plan is that.

use std::fmt::{Debug, Write as _};

use ports::Clock as _;
use testkit::SimClock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::journal::{Journal, What};

/// Notes the errors of this thread in the journal.
pub(crate) struct Heard {
    journal: Journal,
    clock: SimClock,
}

impl Heard {
    /// Listens until the guard is dropped.
    pub(crate) fn listen(journal: Journal, clock: SimClock) -> DefaultGuard {
        tracing::subscriber::set_default(Self { journal, clock })
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.journal.note(self.clock.now(), What::Error(line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's fields, each as `field=value`.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
