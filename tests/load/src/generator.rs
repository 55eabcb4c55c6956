//! Publishes events at a rate, or as fast as they are delivered.

mod bulk;
mod pace;
mod publisher;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

pub(crate) use self::bulk::publish;
pub(crate) use self::pace::Pace;
use self::publisher::Publisher;
pub(crate) use self::publisher::{Event, event_type};
use crate::options::Api;
use crate::payload::Epoch;
use crate::postrider::Postrider;

/// What is published, and how.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) api: Api,
    pub(crate) callers: u16,
    pub(crate) batch: u16,
    pub(crate) size: usize,
    /// Events go to groups of endpoints by turns.
    pub(crate) groups: u16,
    pub(crate) epoch: Epoch,
}

/// What the generator has done so far.
#[derive(Default)]
pub(crate) struct Progress {
    accepted: AtomicU64,
    refused: AtomicU64,
    first_refusal: Mutex<Option<String>>,
    recording: AtomicBool,
    /// From the scheduled time of a call to its answer, microseconds, while recording.
    acks: Mutex<Vec<u32>>,
}

impl Progress {
    /// Events that were acknowledged as durable.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Events that were not, and the first reason.
    pub(crate) fn refused(&self) -> (u64, Option<String>) {
        let reason = self.first_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.refused.load(Ordering::Relaxed), reason)
    }

    pub(crate) fn record(&self) {
        self.recording.store(true, Ordering::Relaxed);
    }

    pub(crate) fn recorded(&self) -> Vec<u32> {
        self.recording.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.acks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, answer: Result<usize>, batch: u16, scheduled: Instant) -> bool {
        let batch = u64::from(batch);
        let accepted = match answer {
            Ok(accepted) => u64::try_from(accepted).unwrap_or(batch).min(batch),
            Err(error) => {
                let mut first = self.first_refusal.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| format!("{error:#}"));
                0
            }
        };
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.refused.fetch_add(batch - accepted, Ordering::Relaxed);
        if self.recording.load(Ordering::Relaxed) {
            let micros = u32::try_from(scheduled.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.acks.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
        }
        accepted == batch
    }
}

/// Callers at work.
pub(crate) struct Generator {
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

/// How long a caller waits after a refusal, so that a server that refuses is not hammered.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);
/// How long the last calls may take.
const END_DEADLINE: Duration = Duration::from_secs(30);

impl Generator {
    /// Connects every caller, then lets them publish.
    pub(crate) async fn start(load: &Load, pace: Pace, server: &Postrider) -> Result<Self> {
        let progress = Arc::new(Progress::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut publishers = Vec::new();
        for _ in 0..load.callers {
            publishers.push(Publisher::connect(load.api, server).await?);
        }
        let pace = Arc::new(pace);
        let mut callers = JoinSet::new();
        for publisher in publishers {
            let caller = Caller {
                load: load.clone(),
                pace: Arc::clone(&pace),
                progress: Arc::clone(&progress),
                stop: Arc::clone(&stop),
                publisher,
            };
            callers.spawn(caller.publish_on());
        }
        Ok(Self { progress, stop, callers })
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Lets the calls under way end.
    pub(crate) async fn stop(mut self) -> Result<Arc<Progress>> {
        self.stop.store(true, Ordering::Relaxed);
        let all = async { while self.callers.join_next().await.is_some() {} };
        if tokio::time::timeout(END_DEADLINE, all).await.is_err() {
            bail!("calls to publish did not end within {} s", END_DEADLINE.as_secs());
        }
        Ok(self.progress)
    }
}

struct Caller {
    load: Load,
    pace: Arc<Pace>,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    publisher: Publisher,
}

impl Caller {
    async fn publish_on(mut self) {
        let mut after_refusal = tokio::time::interval(AFTER_REFUSAL);
        while !self.stop.load(Ordering::Relaxed) {
            let turn = self.pace.next(&self.stop).await;
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let batch = u64::from(self.load.batch);
            let events = (0..batch)
                .map(|index| Event {
                    group: (turn.number * batch + index) % u64::from(self.load.groups),
                    data: self.load.epoch.data(turn.scheduled, self.load.size),
                    deliver_time: None,
                })
                .collect();
            let answer = self.publisher.publish(events).await;
            if !self.progress.add(answer, self.load.batch, turn.scheduled) {
                // A refusal names no condition that could be waited for.
                after_refusal.reset();
                after_refusal.tick().await;
            }
        }
    }
}
