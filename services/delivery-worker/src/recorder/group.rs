//! Rows of one kind, and writing them until they are durable.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use delivery::Forgotten;
use domain::{
    BacklogRow, CommandId, DeadLetter, DeadLetterId, Disposition, EndpointUid, Fact, FactKind,
    HeldRow, LaneKey, LaneRow, Line, LineRow, RunId, Shard, Timestamp,
};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ports::{ErrorKind, Hold, Lease, StoredEvent};

use crate::calls::{cause, next_wait, remedy, within};
use crate::config::Deps;

/// First wait while the store is away.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// How often a write asks again whether its shard is still ours.
const LEASE_POLL: Duration = Duration::from_millis(100);
/// Calls that are made at the same time, where each row has one of its own.
const AT_ONCE: usize = 16;
/// Bodies and excerpts of one call: what a slow store takes well within the deadline of a call.
const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A kind of row.
pub(super) trait Row: Sized + Send + Sync {
    /// What a log line calls it.
    const WHAT: &'static str;

    /// One call.
    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>>;

    /// Its body or excerpt.
    fn bytes(&self) -> usize {
        0
    }

    /// What a former owner of the shard may still record: a success, and nothing else (`architecture.md` §5).
    fn successes(_rows: &[Self]) -> Vec<Self> {
        Vec::new()
    }

    /// Leaves out what may be left out of a row that is too large. Returns whether there was anything.
    fn shrink(&mut self) -> bool {
        false
    }
}

/// A dead letter whose redrive succeeded.
pub(super) struct Resolved {
    endpoint: EndpointUid,
    id: DeadLetterId,
    run: RunId,
}

impl From<(EndpointUid, DeadLetterId, RunId)> for Resolved {
    fn from((endpoint, id, run): (EndpointUid, DeadLetterId, RunId)) -> Self {
        Self { endpoint, id, run }
    }
}

/// Commands of one inbox that are done.
pub(super) struct Done {
    pub(super) shard: Shard,
    pub(super) ids: Vec<CommandId>,
}

/// Writes rows until they are durable. One that the store refuses for its size is set apart, so that it holds up no other of its call.
///
/// What the shard's next owner decides is not written once the lease has ended; while it has lapsed, writes wait.
pub(super) async fn store_all<R: Row>(deps: &Deps, lease: Option<&Lease>, mut rows: Vec<R>) {
    let mut parts = calls(&rows);
    while let Some(part) = parts.pop() {
        let Some(these) = rows.get_mut(part.clone()) else { continue };
        match until_stored(deps, lease, these).await {
            Stored::Yes => {}
            Stored::Split => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            Stored::NotOurs => {
                let left = R::successes(rows.get(part.start..).unwrap_or_default());
                tracing::info!(
                    what = R::WHAT,
                    "a shard was lost before rows of it were written: its next owner writes its own"
                );
                if !left.is_empty() {
                    Box::pin(store_all(deps, None, left)).await;
                }
                return;
            }
        }
    }
}

/// Divides rows into calls of bounded size, the first one last.
fn calls<R: Row>(rows: &[R]) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, row) in rows.iter().enumerate() {
        if bytes > 0 && bytes + row.bytes() > CALL_BYTES_MAX {
            parts.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += row.bytes();
    }
    parts.extend((start < rows.len()).then_some(start..rows.len()));
    parts.reverse();
    parts
}

#[derive(PartialEq, Eq)]
enum Stored {
    Yes,
    /// One of these rows is too large, or all of them together.
    Split,
    /// The shard is another's.
    NotOurs,
}

/// Waits while the lease has lapsed; whether it holds.
async fn holds(deps: &Deps, lease: Option<&Lease>) -> bool {
    let Some(lease) = lease else { return true };
    loop {
        match lease.hold(deps.clock.monotonic()) {
            Hold::Held => return true,
            Hold::Lapsed => deps.clock.sleep(LEASE_POLL).await,
            Hold::Ended => return false,
        }
    }
}

/// Repeats a write until it is durable. Rows are immutable, so a repeat of one that had happened after all changes nothing.
async fn until_stored<R: Row>(deps: &Deps, lease: Option<&Lease>, rows: &mut [R]) -> Stored {
    let mut wait = RETRY_MIN;
    let mut trouble = Trouble::default();
    loop {
        if !holds(deps, lease).await {
            return Stored::NotOurs;
        }
        let error = match within(&*deps.clock, R::put(deps, rows)).await {
            Ok(()) => {
                trouble.ended(R::WHAT);
                return Stored::Yes;
            }
            Err(error) => error,
        };
        deps.metrics.store_failed(R::WHAT);
        if error.kind() == ErrorKind::TooLarge {
            match rows {
                [_, _, ..] => return Stored::Split,
                [row] => {
                    if row.shrink() {
                        tracing::warn!(what = R::WHAT, %error, "a row is too large for the store and is kept without the answer's body");
                        continue;
                    }
                }
                [] => {}
            }
        }
        trouble.tell(R::WHAT, &error);
        deps.clock.sleep(next_wait(&error, wait)).await;
        wait = wait.saturating_mul(2);
    }
}

/// What was said of a write that fails: each thing once.
#[derive(Default)]
struct Trouble {
    waits: bool,
    needs_person: bool,
}

impl Trouble {
    fn tell(&mut self, what: &str, error: &ports::Error) {
        let cause = cause(error);
        if error.is_retryable() {
            if !std::mem::replace(&mut self.waits, true) {
                tracing::warn!(what, %error, cause, "the store does not take a write: deliveries of its shard wait, and it is tried again until it does");
            }
        } else if !std::mem::replace(&mut self.needs_person, true) {
            let remedy = remedy(error);
            tracing::error!(what, kind = ?error.kind(), %error, cause, remedy, "the store refuses a write: deliveries of its shard wait, and it is tried again every 30 s");
        }
    }

    fn ended(&self, what: &str) {
        if self.waits || self.needs_person {
            tracing::info!(what, "the store takes the write again");
        }
    }
}

impl Row for LaneRow {
    const WHAT: &'static str = "lanes";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.lanes.save(rows)
    }
}

impl Row for StoredEvent {
    const WHAT: &'static str = "events";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.events.put_events(rows)
    }

    fn bytes(&self) -> usize {
        self.event.data.len()
    }
}

impl Row for (LaneKey, BacklogRow) {
    const WHAT: &'static str = "backlog rows";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.backlog.append(rows)
    }
}

impl Row for DeadLetter {
    const WHAT: &'static str = "dead letters";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.dead_letters.put(rows)
    }
}

impl Row for Fact {
    const WHAT: &'static str = "attempts";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.events.record(rows)
    }

    fn bytes(&self) -> usize {
        match &self.kind {
            FactKind::Attempt(attempt) => attempt.excerpt.len(),
            FactKind::Cancelled | FactKind::DeadLettered(_) => 0,
        }
    }

    fn successes(rows: &[Self]) -> Vec<Self> {
        let is_success = |fact: &&Self| match &fact.kind {
            FactKind::Attempt(attempt) => attempt.disposition == Disposition::Delivered,
            FactKind::Cancelled | FactKind::DeadLettered(_) => false,
        };
        rows.iter().filter(is_success).cloned().collect()
    }

    fn shrink(&mut self) -> bool {
        match &mut self.kind {
            FactKind::Attempt(attempt) if !attempt.excerpt.is_empty() => {
                attempt.excerpt = Bytes::new();
                true
            }
            FactKind::Attempt(_) | FactKind::Cancelled | FactKind::DeadLettered(_) => false,
        }
    }
}

impl Row for LineRow {
    const WHAT: &'static str = "lines";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.lines.save(rows)
    }
}

impl Row for (LaneKey, Line, HeldRow) {
    const WHAT: &'static str = "held rows";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        deps.lines.hold(rows)
    }
}

impl Row for Resolved {
    const WHAT: &'static str = "a redriven dead letter";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        let resolve = |one: &'a Self| deps.dead_letters.resolve(one.endpoint, one.id, one.run);
        Box::pin(stream::iter(rows.iter().map(resolve)).buffer_unordered(AT_ONCE).try_collect())
    }
}

impl Row for Done {
    const WHAT: &'static str = "commands";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        let done = |inbox: &'a Self| deps.inbox.done(inbox.shard, &inbox.ids);
        Box::pin(stream::iter(rows.iter().map(done)).buffer_unordered(AT_ONCE).try_collect())
    }
}

impl Row for Forgotten {
    const WHAT: &'static str = "a lane to forget";

    fn put<'a>(deps: &'a Deps, rows: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
        let forget = move |one: &'a Self| async move {
            deps.backlog.trim(one.lane, one.upto).await?;
            if one.upto.due == Timestamp::MAX {
                // Its endpoint was deleted. An idle lane has no lines, and a newer owner's are not this one's to forget.
                deps.lines.forget(one.lane).await?;
            }
            deps.lanes.remove(one.lane, one.epoch).await
        };
        Box::pin(stream::iter(rows.iter().map(forget)).buffer_unordered(AT_ONCE).try_collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sized(usize);

    impl Row for Sized {
        const WHAT: &'static str = "rows of a test";

        fn put<'a>(_: &'a Deps, _: &'a [Self]) -> BoxFuture<'a, ports::Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_call_is_bounded_in_bytes_and_holds_at_least_one_row() {
        let rows = [1, CALL_BYTES_MAX - 1, 1, 2 * CALL_BYTES_MAX, 1, 0].map(Sized);
        let mut found = calls(&rows);
        found.reverse();
        assert_eq!(found, [0..2, 2..3, 3..4, 4..6]);
        assert!(calls::<Sized>(&[]).is_empty());
    }
}
