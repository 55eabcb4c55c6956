//! Following a tenant's events: the shards of the log are read in turns, from where the caller stands.
//!
//! # Theory of operation
//!
//! Each caller reads for itself: it goes as fast as it takes what it is given, and nothing is lost when it is slow. A round asks each shard for its end and
//! reads a page where there is more. What was read is given event by event, each with a token: for each shard, the position behind what was given.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{Event, EventPattern, Position, Shard, TenantId};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use ports::LogRecord;
use tokio::sync::OwnedSemaphorePermit;

use super::page::ListName;
use super::watchers::WATCH_TIME;
use super::{App, Error, Violation};

/// Between two rounds that found nothing.
const PAUSE: Duration = Duration::from_millis(200);
/// Records that are read of a shard at once.
const READ_MAX: usize = 16;
/// Bytes of data that are read ahead; the last page may exceed them.
const AHEAD_BYTES_MAX: usize = 1024 * 1024;
/// Shards that are asked at once.
const READS_AT_ONCE: usize = 16;

/// Which events a caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WatchEvents {
    pub(crate) tenant: TenantId,
    /// Empty: all.
    pub(crate) event_types: Vec<EventPattern>,
    /// Of the message to go on behind; empty for from now on.
    pub(crate) token: String,
}

/// What a caller is told.
#[derive(Debug)]
pub(crate) struct WatchedEvent {
    /// None in the last message.
    pub(crate) event: Option<Arc<Event>>,
    pub(crate) token: String,
}

/// One caller.
struct Follower {
    app: Arc<App>,
    tenant: TenantId,
    event_types: Vec<EventPattern>,
    /// Where to read on.
    read_to: BTreeMap<Shard, Position>,
    /// Behind what was given.
    given_to: BTreeMap<Shard, Position>,
    ready: VecDeque<(Shard, Position, Arc<Event>)>,
    /// The shard that was read last.
    turn: Shard,
    /// When it ends, on the monotonic clock.
    until: Duration,
    _place: OwnedSemaphorePermit,
}

impl App {
    /// Streams a tenant's events from now on, or from where a call before was.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a tenant that does not exist, [`Error::TooManyWatchers`]; and in the stream when the log cannot be read.
    pub(crate) async fn watch_events(
        self: &Arc<Self>,
        call: WatchEvents,
    ) -> Result<impl Stream<Item = Result<WatchedEvent, Error>> + Send + use<>, Error> {
        let place = self.watchers.enter()?;
        let (parent, types) = (call.tenant.to_string(), types(&call.event_types));
        let list = ListName(&["watched events", &parent, &types]);
        let from: Option<BTreeMap<u16, u64>> =
            self.open_token(&list, &call.token).map_err(|_| foreign_token())?;
        self.tenant(&call.tenant).await?;
        let mut read_to = self.ends().await?;
        for (shard, position) in &mut read_to {
            if let Some(from) = from.as_ref().and_then(|from| from.get(&shard.0)) {
                *position = Position(*from);
            }
        }
        let follower = Follower {
            app: self.clone(),
            tenant: call.tenant,
            event_types: call.event_types,
            given_to: read_to.clone(),
            read_to,
            ready: VecDeque::new(),
            turn: Shard(0),
            until: self.deps.clock.monotonic() + WATCH_TIME,
            _place: place,
        };
        Ok(stream::try_unfold(Some(follower), |follower| async {
            let Some(mut follower) = follower else { return Ok(None) };
            let told = follower.next().await?;
            let goes_on = told.event.is_some().then_some(follower);
            Ok(Some((told, goes_on)))
        }))
    }

    /// The next position of each shard.
    async fn ends(&self) -> Result<BTreeMap<Shard, Position>, Error> {
        let ask =
            |shard| async move { Ok::<_, Error>((shard, self.deps.log.bounds(shard).await?.next)) };
        stream::iter(self.deps.log.shards().all())
            .map(ask)
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await
    }
}

impl Follower {
    /// The next event; without one when the time is up.
    async fn next(&mut self) -> Result<WatchedEvent, Error> {
        loop {
            if let Some((shard, behind, event)) = self.ready.pop_front() {
                self.given_to.insert(shard, behind);
                return Ok(WatchedEvent { event: Some(event), token: self.token() });
            }
            self.given_to.clone_from(&self.read_to);
            if self.app.deps.clock.monotonic() >= self.until {
                return Ok(WatchedEvent { event: None, token: self.token() });
            }
            if !self.read().await? {
                self.app.deps.clock.sleep(PAUSE).await;
            }
        }
    }

    /// Reads a round. Whether there were records, whosever.
    async fn read(&mut self) -> Result<bool, Error> {
        let ends = self.app.ends().await?;
        let (before, after): (Vec<Shard>, Vec<Shard>) =
            ends.keys().partition(|shard| **shard <= self.turn);
        let (mut found, mut bytes) = (false, 0);
        for shard in after.into_iter().chain(before) {
            let (Some(from), Some(end)) = (self.read_to.get(&shard), ends.get(&shard)) else {
                continue;
            };
            if from >= end {
                continue;
            }
            let page = self.app.deps.log.read_range(shard, *from, *end, READ_MAX).await?;
            for record in &page.records {
                bytes += record.record.size();
                self.take(shard, record);
            }
            self.read_to.insert(shard, page.next.unwrap_or(*end));
            self.turn = shard;
            found = true;
            if bytes >= AHEAD_BYTES_MAX {
                break;
            }
        }
        Ok(found)
    }

    fn take(&mut self, shard: Shard, record: &LogRecord) {
        let Some(found) = self.app.decode(record, &self.tenant) else { return };
        let wanted = |pattern: &EventPattern| pattern.matches(&found.event.event_type);
        if self.event_types.is_empty() || self.event_types.iter().any(wanted) {
            self.ready.push_back((shard, record.at.position.next(), found.event));
        }
    }

    fn token(&self) -> String {
        let given: BTreeMap<u16, u64> =
            self.given_to.iter().map(|(shard, position)| (shard.0, position.0)).collect();
        let (parent, types) = (self.tenant.to_string(), types(&self.event_types));
        self.app.make_token(&ListName(&["watched events", &parent, &types]), &given)
    }
}

fn foreign_token() -> Violation {
    Violation::new(
        "resume_token",
        "not a token of this stream: take that of its last message, with the same parent and event types",
    )
}

fn types(patterns: &[EventPattern]) -> String {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    patterns.join(" ")
}
