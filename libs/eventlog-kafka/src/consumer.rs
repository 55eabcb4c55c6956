//! The port's side of a member of a group.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Epoch, Shard};
use ports::{Ack, AckError, Consumer, ConsumerItem, Error, ErrorKind};
use tokio::sync::{Notify, oneshot};

/// Batches that wait for the worker; more of them wait in librdkafka's queues, which are bounded.
const BATCHES_MAX: usize = 2;

/// What the member's thread and the port's side share.
#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// There is something for the port's side.
    filled: Notify,
    /// There is something for the thread.
    awake: Mutex<bool>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    items: VecDeque<ConsumerItem>,
    batches: usize,
    failure: Option<Error>,
    acks: Vec<AckAsked>,
    released: Vec<(Shard, Epoch)>,
    is_stopped: bool,
    has_ended: bool,
}

/// An ack that waits to be committed.
pub(crate) struct AckAsked {
    pub(crate) ack: Ack,
    pub(crate) answer: oneshot::Sender<Result<(), AckError>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread's sleep.
    pub(crate) fn wake(&self) {
        *self.awake.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }

    /// Sleeps until somebody wakes the thread.
    pub(crate) fn sleep(&self, at_most: Duration) {
        let awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self.wake.wait_timeout_while(awake, at_most, |awake| !*awake);
        *slept.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// Gives an item to the port's side.
    pub(crate) fn push(&self, item: ConsumerItem) {
        let mut state = self.state();
        state.batches += usize::from(is_batch(&item));
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
    }

    /// Whether another batch may be pushed.
    pub(crate) fn has_place(&self) -> bool {
        self.state().batches < BATCHES_MAX
    }

    /// Takes back what the port's side has not heard of a shard, and says that it is gone where it has heard that it came.
    pub(crate) fn revoke(&self, shard: Shard) {
        self.end_of(shard, ConsumerItem::Revoked { shard });
    }

    /// Takes back what the port's side has not heard of a shard, and says that another member waits for it. Whether it has heard that it came.
    pub(crate) fn leave(&self, shard: Shard) -> bool {
        self.end_of(shard, ConsumerItem::Leaving { shard })
    }

    fn end_of(&self, shard: Shard, end: ConsumerItem) -> bool {
        let mut state = self.state();
        let mut unheard = false;
        state.items.retain(|item| {
            let (of, is_assigned) = match item {
                ConsumerItem::Assigned { shard, .. } => (*shard, true),
                ConsumerItem::Records { shard, .. } | ConsumerItem::Gap { shard, .. } => {
                    (*shard, false)
                }
                // What ended before stays.
                ConsumerItem::Leaving { .. } | ConsumerItem::Revoked { .. } => return true,
            };
            unheard |= of == shard && is_assigned;
            of != shard
        });
        state.batches = state.items.iter().filter(|item| is_batch(item)).count();
        if !unheard {
            state.items.push_back(end);
        }
        drop(state);
        self.filled.notify_one();
        !unheard
    }

    /// Tells the port's side of a failure, once; it goes on.
    pub(crate) fn fail(&self, error: Error) {
        self.state().failure = Some(error);
        self.filled.notify_one();
    }

    /// The acks that came meanwhile.
    pub(crate) fn take_acks(&self) -> Vec<AckAsked> {
        std::mem::take(&mut self.state().acks)
    }

    /// The shards that the port's side is done with.
    pub(crate) fn take_released(&self) -> Vec<(Shard, Epoch)> {
        std::mem::take(&mut self.state().released)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// The thread has ended: nothing comes any more.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        state.acks.clear();
        drop(state);
        self.filled.notify_one();
    }
}

fn is_batch(item: &ConsumerItem) -> bool {
    matches!(item, ConsumerItem::Records { .. })
}

/// One member of a group. Dropping it leaves the group.
pub(crate) struct KafkaConsumer {
    pub(crate) shared: Arc<Shared>,
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn next(&mut self) -> ports::Result<ConsumerItem> {
        loop {
            {
                let mut state = self.shared.state();
                if let Some(item) = state.items.pop_front() {
                    let was_batch = is_batch(&item);
                    state.batches -= usize::from(was_batch);
                    drop(state);
                    if was_batch {
                        self.shared.wake();
                    }
                    return Ok(item);
                }
                if let Some(error) = state.failure.take() {
                    return Err(error);
                }
                if state.has_ended {
                    return Err(crate::error::gone("the member of the consumer group"));
                }
            }
            self.shared.filled.notified().await;
        }
    }

    async fn ack(&mut self, acks: &[Ack]) -> Vec<Result<(), AckError>> {
        let mut answers = Vec::with_capacity(acks.len());
        {
            // The thread takes them together: they are one commit.
            let mut state = self.shared.state();
            for ack in acks {
                let (answer, answered) = oneshot::channel();
                answers.push(answered);
                if !state.has_ended {
                    state.acks.push(AckAsked { ack: *ack, answer });
                }
            }
        }
        self.shared.wake();
        let mut acked = Vec::with_capacity(acks.len());
        for answered in answers {
            let lost = |_| Err(Error::new(ErrorKind::Unknown, "a position was not saved").into());
            acked.push(answered.await.unwrap_or_else(lost));
        }
        acked
    }

    fn release(&mut self, shard: Shard, epoch: Epoch) {
        self.shared.state().released.push((shard, epoch));
        self.shared.wake();
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.shared.state().is_stopped = true;
        self.shared.wake();
    }
}
