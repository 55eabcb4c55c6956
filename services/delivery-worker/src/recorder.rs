//! Makes the engine's writes durable, in their order, again and again until they are.
//!
//! Each shard has a line of its own, since nothing depends on the order between shards: a part of the store that is slow or away holds up the shards
//! that need it, and no other.

mod batch;
mod group;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use delivery::{Forgotten, Write};
use domain::Shard;
use ports::Lease;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::batch::{Batch, Recorded};
use self::group::store_all;
use crate::config::Deps;
use crate::worker::Input;

/// Writes of one shard that go to the store together.
const BATCH_MAX: usize = 512;
/// Writes that wait for their shard's turn. More than the engine has open before it stops its intake (20 000), so that one shard that stands still
/// does not keep the writes of the others out.
const WAITING_MAX: usize = 32 * 1_024;

/// A write, and the lease of the assignment that it belongs to.
pub(crate) struct Recording {
    pub(crate) write: Box<Write>,
    /// None: it belongs to no shard, or is the late success of one that is lost.
    pub(crate) lease: Option<Lease>,
}

impl Recording {
    fn is_under(&self, lease: &Option<Lease>) -> bool {
        match (&self.lease, lease) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Takes writes until the channel closes and all are durable. The order of the writes of a shard is kept.
pub(crate) async fn record(
    deps: Deps,
    mut writes: mpsc::Receiver<Recording>,
    done: mpsc::Sender<Input>,
) {
    let mut lines = Lines::default();
    let mut fresh = Vec::with_capacity(BATCH_MAX);
    let mut open = true;
    // What deleted endpoints leave goes beside everything else; what is left at the end goes after the next start.
    let mut clearing = JoinSet::new();
    while open || !lines.running.is_empty() {
        // What ends frees its line; new writes are bounded by the engine.
        tokio::select! {
            biased;
            Some(stored) = lines.running.join_next(), if !lines.running.is_empty() => {
                let Ok((line, recorded)) = stored else {
                    tracing::error!("writing to the store panicked: a bug");
                    return;
                };
                lines.busy.remove(&line);
                clear(&mut clearing, &deps, recorded.deleted);
                if done.send(Input::Written(recorded.tokens)).await.is_err() {
                    return;
                }
            }
            taken = writes.recv_many(&mut fresh, BATCH_MAX), if open && lines.waiting < WAITING_MAX => {
                open = taken > 0;
                fresh.drain(..).for_each(|write| lines.add(write));
            }
            Some(_) = clearing.join_next(), if !clearing.is_empty() => {}
        }
        lines.start(&deps);
    }
}

/// Takes the lanes of deleted endpoints out of the store, with their rows.
fn clear(clearing: &mut JoinSet<()>, deps: &Deps, deleted: Vec<Forgotten>) {
    if deleted.is_empty() {
        return;
    }
    let deps = deps.clone();
    clearing.spawn(async move { store_all(&deps, None, deleted).await });
}

/// Writes by shard; those without one are in a line of their own.
#[derive(Default)]
struct Lines {
    queues: BTreeMap<Line, VecDeque<Recording>>,
    /// Writes in `queues`.
    waiting: usize,
    busy: BTreeSet<Line>,
    running: JoinSet<(Line, Recorded)>,
}

type Line = Option<Shard>;

impl Lines {
    fn add(&mut self, recording: Recording) {
        self.waiting += 1;
        self.queues.entry(recording.write.shard).or_default().push_back(recording);
    }

    /// Starts a batch of every line that has writes and none under way.
    fn start(&mut self, deps: &Deps) {
        let Self { queues, waiting, busy, running } = self;
        queues.retain(|line, queue| {
            if busy.insert(*line) {
                // A batch is of one assignment: it is written while that holds.
                let lease = queue.front().and_then(|first| first.lease.clone());
                let same = queue.iter().take(BATCH_MAX).take_while(|next| next.is_under(&lease));
                let writes = queue.drain(..same.count());
                *waiting = waiting.saturating_sub(writes.len());
                let batch = Batch::collect(writes.map(|recording| recording.write), lease);
                let (line, deps) = (*line, deps.clone());
                running.spawn(async move { (line, batch.store(&deps).await) });
            }
            !queue.is_empty()
        });
    }
}
