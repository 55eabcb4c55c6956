//! Makes the engine's writes durable, in their order, again and again until they are.

use std::sync::Arc;
use std::time::Duration;

use delivery::{Write, WriteToken};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use ports::{Clock, StoredEvent};
use tokio::sync::mpsc;

use crate::config::Deps;
use crate::worker::Input;

/// Writes that go to the store together.
const BATCH_MAX: usize = 512;
/// Between tries while the store is away.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Takes writes until the channel closes. The order of groups within a write, and of writes, is kept: a group of a batch is durable before the next
/// group begins, and so a successor (row, dead letter) is durable before its attempt, and a body before what needs it.
pub(crate) async fn record(
    deps: Deps,
    mut writes: mpsc::Receiver<Box<Write>>,
    done: mpsc::Sender<Input>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    // What deleted endpoints leave may be a million rows: it goes while nothing else is written.
    let mut clearing = FuturesUnordered::new();
    loop {
        tokio::select! {
            count = writes.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    return;
                }
                let batch = Batch::collect(&mut batch);
                let deleted = batch.deleted.clone();
                let tokens = batch.store(&deps).await;
                clearing.extend(deleted.into_iter().map(|lane| clear(&deps, lane)));
                if done.send(Input::Written(tokens)).await.is_err() {
                    return;
                }
            }
            Some(()) = clearing.next(), if !clearing.is_empty() => {}
        }
    }
}

/// Takes the lane of a deleted endpoint out of the store, with its rows.
async fn clear(deps: &Deps, lane: domain::LaneKey) {
    let everything = domain::BacklogKey::end_of(domain::Timestamp::MAX);
    until_done(&deps.clock, "a lane to forget", || deps.backlog.trim(lane, everything)).await;
    until_done(&deps.clock, "a lane to forget", || deps.lanes.remove(lane)).await;
}

/// The rows of several writes, by group.
#[derive(Default)]
struct Batch {
    tokens: Vec<WriteToken>,
    lanes: Vec<domain::LaneRow>,
    events: Vec<StoredEvent>,
    rows: Vec<(domain::LaneKey, domain::BacklogRow)>,
    dead_letters: Vec<domain::DeadLetter>,
    facts: Vec<domain::Fact>,
    resolved: Vec<(domain::EndpointUid, domain::DeadLetterId, domain::RunId)>,
    commands: Vec<(domain::Shard, domain::CommandId)>,
    /// Lanes to forget; one that a later write of the batch saves stays.
    removed: std::collections::BTreeMap<domain::LaneKey, domain::BacklogKey>,
    deleted: Vec<domain::LaneKey>,
}

impl Batch {
    #[expect(clippy::vec_box, reason = "the channel moves pointers, not 200-byte values")]
    fn collect(writes: &mut Vec<Box<Write>>) -> Self {
        let mut batch = Self::default();
        for write in writes.drain(..) {
            batch.tokens.push(write.token);
            for lane in &write.lanes {
                batch.removed.remove(&lane.key);
            }
            batch.lanes.extend(write.lanes);
            batch.removed.extend(write.removed);
            batch.deleted.extend(write.deleted);
            batch
                .events
                .extend(write.events.into_iter().map(|(at, event)| StoredEvent { at, event }));
            batch.rows.extend(write.rows);
            batch.dead_letters.extend(write.dead_letters);
            batch.facts.extend(write.facts);
            batch.resolved.extend(write.resolved);
            batch.commands.extend(write.commands);
        }
        batch
    }

    async fn store(self, deps: &Deps) -> Vec<WriteToken> {
        let clock = &deps.clock;
        if !self.lanes.is_empty() {
            until_done(clock, "lanes", || deps.lanes.save(&self.lanes)).await;
        }
        if !self.events.is_empty() {
            until_done(clock, "events", || deps.events.put_events(&self.events)).await;
        }
        if !self.rows.is_empty() {
            until_done(clock, "backlog rows", || deps.backlog.append(&self.rows)).await;
        }
        if !self.dead_letters.is_empty() {
            until_done(clock, "dead letters", || deps.dead_letters.put(&self.dead_letters)).await;
        }
        if !self.facts.is_empty() {
            until_done(clock, "attempts", || deps.events.record(&self.facts)).await;
        }
        for (endpoint, id, run) in &self.resolved {
            until_done(clock, "a redriven dead letter", || {
                deps.dead_letters.resolve(*endpoint, *id, *run)
            })
            .await;
        }
        for (shard, id) in &self.commands {
            until_done(clock, "a command", || deps.inbox.done(*shard, std::slice::from_ref(id)))
                .await;
        }
        for (lane, upto) in &self.removed {
            until_done(clock, "a lane to forget", || deps.backlog.trim(*lane, *upto)).await;
            until_done(clock, "a lane to forget", || deps.lanes.remove(*lane)).await;
        }
        self.tokens
    }
}

/// Repeats a write until it is durable. Rows are immutable, so a repeat of one that had happened after all changes nothing.
async fn until_done<F>(clock: &Arc<dyn Clock>, what: &str, mut write: impl FnMut() -> F)
where
    F: Future<Output = ports::Result<()>>,
{
    let mut wait = RETRY_MIN;
    let mut failed = false;
    loop {
        match write().await {
            Ok(()) => {
                if failed {
                    tracing::info!(what, "the store takes writes again");
                }
                return;
            }
            Err(error) if !failed => {
                failed = true;
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(what, %error, cause, "the store does not take a write: deliveries wait, and it is tried again until it does");
            }
            Err(_) => {}
        }
        clock.sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}
