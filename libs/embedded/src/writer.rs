//! The one thread that writes a file, with group commit.

use std::sync::Mutex;
use std::thread::JoinHandle;

use ports::{Error, ErrorKind};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Fault, HealthCell, closed};
use crate::open_mark::SetError;
use crate::{Health, OpenError};

/// Calls that may wait for the writer; more callers wait for a place.
const QUEUE: usize = 4_096;
/// A transaction ends when it holds so many rows or bytes (`embedded.md` §3).
const ROWS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1024 * 1024;

/// What a writer thread owns.
pub(crate) trait State: Send + 'static {
    fn conn(&self) -> &Connection;
    /// Writes what the calls of this transaction left behind together.
    fn before_commit(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    /// The transaction is durable.
    fn committed(&mut self) {}
    /// The transaction is taken back, or its end is not known.
    fn rolled_back(&mut self) {}
    /// Ends cleanly: everything is in the file, and the next start need not ask for the WAL.
    fn close(&mut self) -> Result<(), SetError>;
}

/// How much a call adds to its transaction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl Cost {
    pub(crate) const ONE: Self = Self { rows: 1, bytes: 0 };

    pub(crate) const fn rows(rows: usize) -> Self {
        Self { rows, bytes: 0 }
    }
}

/// Hands calls to the writer thread of one file.
pub(crate) struct Writer<S> {
    file: &'static str,
    jobs: mpsc::Sender<Job<S>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Job<S> {
    /// Part of a transaction.
    Write(Cost, Box<dyn Call<S>>),
    /// Runs between two transactions.
    Alone(Box<dyn Call<S>>),
    Stop(oneshot::Sender<()>),
}

/// A call that waits for its answer.
trait Call<S>: Send {
    fn apply(&mut self, state: &mut S) -> Result<(), Fault>;
    fn answer(self: Box<Self>, outcome: Result<(), Error>);
}

struct Pending<T, F> {
    run: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<ports::Result<T>>,
}

impl<S, T: Send, F: FnOnce(&mut S) -> Result<T, Fault> + Send> Call<S> for Pending<T, F> {
    fn apply(&mut self, state: &mut S) -> Result<(), Fault> {
        if let Some(run) = self.run.take() {
            self.value = Some(run(state)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let Self { value, reply, .. } = *self;
        let answer = outcome.and_then(|()| {
            value.ok_or_else(|| Error::new(ErrorKind::Bug, "a write was answered before it ran"))
        });
        // A caller that went away does not want to know.
        let _ = reply.send(answer);
    }
}

impl<S: State> Writer<S> {
    /// Starts the thread. `held` lives as long as the thread does.
    pub(crate) fn start(
        file: &'static str,
        state: S,
        health: HealthCell,
        held: impl Send + 'static,
    ) -> Result<Self, OpenError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name(format!("{file} writer"))
            .spawn(move || {
                let mut worker = Worker { file, state, health };
                let stopped = worker.run(queue);
                drop(worker);
                drop(held);
                if let Some(stopped) = stopped {
                    let _ = stopped.send(());
                }
            })
            .map_err(|source| OpenError::Io {
                dir: file.into(),
                what: "the writer thread cannot be started",
                source,
            })?;
        Ok(Self { file, jobs, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `run` in a transaction; answers once it is durable.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        cost: Cost,
        run: impl FnOnce(&mut S) -> Result<T, Fault> + Send + 'static,
    ) -> ports::Result<T> {
        let (call, answer) = pending(run);
        self.send(Job::Write(cost, call)).await?;
        answer.await.map_err(|_| unanswered(self.file))?
    }

    /// Runs `run` between two transactions.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut S) -> Result<T, Fault> + Send + 'static,
    ) -> ports::Result<T> {
        let (call, answer) = pending(run);
        self.send(Job::Alone(call)).await?;
        answer.await.map_err(|_| unanswered(self.file))?
    }

    /// Finishes what was handed in before, then ends the thread.
    pub(crate) async fn stop(&self) {
        let (stopped, wait) = oneshot::channel();
        if self.send(Job::Stop(stopped)).await.is_ok() {
            let _ = wait.await;
        }
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread has said that it is at its end: this does not block.
            let _ = thread.join();
        }
    }

    async fn send(&self, job: Job<S>) -> ports::Result<()> {
        let sent = self.jobs.send(job).await;
        sent.map_err(|_| closed(self.file))
    }
}

fn unanswered(file: &str) -> Error {
    let message = format!("the writer of {file} ended before it answered; it may have happened");
    Error::new(ErrorKind::Unknown, message)
}

type Answer<T> = oneshot::Receiver<ports::Result<T>>;

fn pending<S, T: Send + 'static>(
    run: impl FnOnce(&mut S) -> Result<T, Fault> + Send + 'static,
) -> (Box<dyn Call<S>>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let call = Pending { run: Some(run), value: None, reply };
    (Box::new(call), answer)
}

struct Worker<S> {
    file: &'static str,
    state: S,
    health: HealthCell,
}

impl<S: State> Worker<S> {
    fn run(&mut self, mut queue: mpsc::Receiver<Job<S>>) -> Option<oneshot::Sender<()>> {
        let mut next = queue.blocking_recv();
        while let Some(job) = next {
            next = match job {
                Job::Write(cost, call) => self.transaction(cost, call, &mut queue),
                Job::Alone(mut call) => {
                    let outcome = self.checked().and_then(|()| {
                        call.apply(&mut self.state)
                            .map_err(|fault| self.health.tell(self.file, fault))
                    });
                    call.answer(outcome);
                    None
                }
                Job::Stop(stopped) => {
                    if self.checked().is_ok()
                        && let Err(error) = self.state.close()
                    {
                        tracing::warn!(file = self.file, %error, "not closed cleanly; the next start reads the WAL");
                    }
                    return Some(stopped);
                }
            };
            if next.is_none() {
                next = queue.blocking_recv();
            }
        }
        None
    }

    /// After a COMMIT that failed nothing is written any more: what is on disk is not known.
    fn checked(&self) -> Result<(), Error> {
        match self.health.get() {
            Health::Ok | Health::Damaged { .. } => Ok(()),
            Health::Failed { file, reason } => Err(Error::new(
                ErrorKind::Unavailable,
                format!("{file} failed earlier and takes no writes: {reason}"),
            )),
        }
    }

    /// Applies the call and those that wait behind it in one transaction; gives back a job that does not belong in one.
    fn transaction(
        &mut self,
        first_cost: Cost,
        first: Box<dyn Call<S>>,
        queue: &mut mpsc::Receiver<Job<S>>,
    ) -> Option<Job<S>> {
        if let Err(error) = self.checked() {
            first.answer(Err(error));
            return None;
        }
        if let Err(fault) = self.sql("BEGIN IMMEDIATE") {
            first.answer(Err(self.health.tell(self.file, fault)));
            return None;
        }
        let mut done: Vec<Box<dyn Call<S>>> = Vec::new();
        let mut cost = Cost::default();
        let mut next = Some(Job::Write(first_cost, first));
        while let Some(Job::Write(more, mut call)) = next {
            cost.rows += more.rows;
            cost.bytes += more.bytes;
            if let Err(fault) = call.apply(&mut self.state) {
                self.roll_back(done, Some((call, fault)));
                return None;
            }
            done.push(call);
            if cost.rows >= ROWS_MAX || cost.bytes >= BYTES_MAX {
                next = None;
                break;
            }
            next = queue.try_recv().ok();
        }
        self.commit(done);
        next
    }

    fn commit(&mut self, done: Vec<Box<dyn Call<S>>>) {
        if let Err(fault) = self.state.before_commit() {
            return self.roll_back(done, Some((Box::new(Nobody), fault)));
        }
        match self.sql("COMMIT") {
            Ok(()) => {
                self.state.committed();
                done.into_iter().for_each(|call| call.answer(Ok(())));
            }
            Err(fault) => self.commit_failed(done, &fault),
        }
    }

    fn commit_failed(&mut self, done: Vec<Box<dyn Call<S>>>, fault: &Fault) {
        let reason = fault.to_string();
        tracing::error!(file = self.file, reason, "COMMIT failed");
        let rolled_back = self.sql("ROLLBACK").is_ok() || self.state.conn().is_autocommit();
        self.state.rolled_back();
        // A full disk heals; after any other failure the pages that were not written may be gone from the system's cache, and nobody would notice.
        if !(fault.is_full() && rolled_back) {
            let reason =
                format!("COMMIT failed ({reason}): restart postrider once the disk is well");
            self.health.fail(self.file, &reason);
        }
        for call in done {
            call.answer(Err(Error::new(
                ErrorKind::Unknown,
                format!("COMMIT of {} failed ({reason}); it may have happened", self.file),
            )));
        }
    }

    /// Takes the transaction back: the call that failed hears why, the others that nothing happened.
    fn roll_back(
        &mut self,
        done: Vec<Box<dyn Call<S>>>,
        failed: Option<(Box<dyn Call<S>>, Fault)>,
    ) {
        // SQLite may have rolled back by itself; what counts is that no transaction is open.
        let _ = self.sql("ROLLBACK");
        self.state.rolled_back();
        if !self.state.conn().is_autocommit() {
            self.health.fail(self.file, "a transaction could not be taken back");
        }
        let mut full = false;
        if let Some((call, fault)) = failed {
            full = fault.is_full();
            call.answer(Err(self.health.tell(self.file, fault)));
        }
        for call in done {
            let error = if full {
                Error::new(ErrorKind::Full, format!("no space left on the disk for {}", self.file))
            } else {
                let message = format!(
                    "another write to {} failed and took this one back with it; repeat it",
                    self.file
                );
                Error::new(ErrorKind::Unavailable, message)
            };
            call.answer(Err(error));
        }
    }

    fn sql(&self, text: &str) -> Result<(), Fault> {
        self.state.conn().prepare_cached(text).and_then(|mut statement| statement.execute([]))?;
        Ok(())
    }
}

/// Stands for the transaction itself where it, and no call, failed.
struct Nobody;

impl<S> Call<S> for Nobody {
    fn apply(&mut self, _: &mut S) -> Result<(), Fault> {
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "a transaction failed as a whole");
        }
    }
}

#[cfg(test)]
mod tests;
