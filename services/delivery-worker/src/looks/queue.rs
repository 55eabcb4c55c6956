//! Looks that wait, run, or wait to be tried again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use domain::{Epoch, Shard, Timestamp};
use tokio::task::{JoinError, JoinSet};

use super::{Look, Looks};
use crate::calls::{cause, next_wait, remedy};
use crate::worker::Input;

/// Reads that run at once.
const READS_MAX: usize = 64;
/// Changes of state that run at once, in places of their own: reads never keep them waiting.
const CHANGES_MAX: usize = 8;
/// First wait while the store is away.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The assignment that a look belongs to, if to any: an answer that comes after the shard has changed hands is dropped.
pub(crate) type LookOwner = Option<(Shard, Epoch)>;

/// Does looks until there is an answer to each. One that failed gives its place up while it waits: what can be read does not stand behind what cannot.
pub(crate) struct LookQueue {
    looks: Looks,
    reads: Places,
    changes: Places,
    /// By when they are tried again.
    later: BTreeMap<(Timestamp, u64), Waiting>,
    /// Looks that were put into `later` so far.
    failed: u64,
    /// The store is away, and that was said.
    away: bool,
}

struct Places {
    max: usize,
    waiting: VecDeque<Waiting>,
    running: JoinSet<Ended>,
}

struct Waiting {
    owner: LookOwner,
    look: Look,
    wait: Duration,
    /// A person is needed, and that was said.
    told: bool,
}

type Ended = (Waiting, ports::Result<Input>);

impl LookQueue {
    pub(crate) fn new(looks: Looks) -> Self {
        Self {
            looks,
            reads: Places::new(READS_MAX),
            changes: Places::new(CHANGES_MAX),
            later: BTreeMap::new(),
            failed: 0,
            away: false,
        }
    }

    pub(crate) fn push(&mut self, owner: LookOwner, look: Look) {
        self.enqueue(Waiting { owner, look, wait: RETRY_MIN, told: false });
    }

    /// Forgets what waits for a shard that is ours no more.
    pub(crate) fn forget(&mut self, shard: Shard) {
        let is_left = |waiting: &Waiting| waiting.owner.is_none_or(|(of, _)| of != shard);
        self.reads.waiting.retain(is_left);
        self.later.retain(|_, waiting| is_left(waiting));
    }

    /// Waits for the next answer. Cancel safe.
    pub(crate) async fn next(&mut self) -> (LookOwner, Input) {
        loop {
            self.start();
            let clock = self.looks.deps.clock.clone();
            let wake = self.later.first_key_value().map(|((time, _), _)| *time);
            let ended = tokio::select! {
                biased;
                Some(ended) = self.changes.running.join_next() => ended,
                Some(ended) = self.reads.running.join_next() => ended,
                () = clock.sleep_until(wake.unwrap_or(Timestamp::MAX)), if wake.is_some() => {
                    self.try_again();
                    continue;
                }
                else => std::future::pending().await,
            };
            if let Some(answer) = self.take(ended) {
                return answer;
            }
        }
    }

    /// Starts what there is a place for.
    pub(crate) fn start(&mut self) {
        self.changes.start(&self.looks);
        self.reads.start(&self.looks);
    }

    fn enqueue(&mut self, waiting: Waiting) {
        match waiting.look {
            Look::SetState { .. } => self.changes.waiting.push_back(waiting),
            Look::Page { .. } | Look::Line { .. } | Look::Load { .. } | Look::Scan { .. } => {
                self.reads.waiting.push_back(waiting);
            }
        }
    }

    fn try_again(&mut self) {
        let now = self.looks.deps.clock.now();
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let waiting = first.remove();
            self.enqueue(waiting);
        }
    }

    fn take(&mut self, ended: Result<Ended, JoinError>) -> Option<(LookOwner, Input)> {
        match ended {
            Ok((waiting, Ok(input))) => {
                if std::mem::take(&mut self.away) {
                    tracing::info!("the store can be read again");
                }
                Some((waiting.owner, input))
            }
            Ok((waiting, Err(error))) => {
                self.put_off(waiting, &error);
                None
            }
            Err(error) => {
                tracing::error!(%error, "a look into the store ended badly: a bug");
                None
            }
        }
    }

    fn put_off(&mut self, mut waiting: Waiting, error: &ports::Error) {
        let cause = cause(error);
        if error.is_retryable() {
            // Once for all: many look at the same time when the store is away.
            if waiting.wait == RETRY_MIN && !std::mem::replace(&mut self.away, true) {
                tracing::warn!(%error, cause, "cannot read what deliveries need; they wait, and it is tried again until it can be read");
            }
        } else if !std::mem::replace(&mut waiting.told, true) {
            let (remedy, look) = (remedy(error), &waiting.look);
            tracing::error!(?look, kind = ?error.kind(), %error, cause, remedy, "what a delivery needs cannot be had from the store: it waits, and that is tried again every 30 s");
        }
        let again = self.looks.deps.clock.now() + next_wait(error, waiting.wait);
        waiting.wait = waiting.wait.saturating_mul(2);
        self.failed += 1;
        self.later.insert((again, self.failed), waiting);
    }
}

impl Places {
    fn new(max: usize) -> Self {
        Self { max, waiting: VecDeque::new(), running: JoinSet::new() }
    }

    fn start(&mut self, looks: &Looks) {
        while self.running.len() < self.max
            && let Some(waiting) = self.waiting.pop_front()
        {
            let looks = looks.clone();
            self.running.spawn(async move {
                let answer = looks.look(&waiting.look).await;
                (waiting, answer)
            });
        }
    }
}
