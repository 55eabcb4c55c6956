//! Threads with read-only connections, so that no SQLite call blocks an async thread.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::OpenError;
use crate::error::{Fault, HealthCell, closed};
use crate::file::{Kind, open_reader};

/// Reads that may wait; more callers wait for a place.
const QUEUE: usize = 1_024;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A few reader threads of one file that share a queue.
pub(crate) struct Readers {
    file: &'static str,
    health: HealthCell,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    /// Starts `count` threads. Each holds a clone of `held` as long as it lives.
    pub(crate) fn start<H: Clone + Send + 'static>(
        dir: &Path,
        kind: &'static Kind,
        count: usize,
        health: &HealthCell,
        held: &H,
    ) -> Result<Self, OpenError> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::with_capacity(count);
        for number in 1..=count {
            let conn = open_reader(dir, kind)?;
            let queue = Arc::clone(&queue);
            let held = held.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{} reader {number}", kind.name))
                .spawn(move || {
                    serve(&conn, &queue);
                    drop(conn);
                    drop(held);
                })
                .map_err(|source| OpenError::Io {
                    dir: dir.to_owned(),
                    what: "a reader thread cannot be started",
                    source,
                })?;
            threads.push(thread);
        }
        Ok(Self {
            file: kind.name,
            health: health.clone(),
            jobs: Mutex::new(Some(jobs)),
            threads: Mutex::new(threads),
        })
    }

    /// Runs `run` on a reader thread. Cancel safe: dropping the future drops the answer alone.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> ports::Result<T> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            if !reply.is_closed() {
                let _ = reply.send(run(conn));
            }
        });
        let jobs = jobs.ok_or_else(|| closed(self.file))?;
        jobs.send(job).await.map_err(|_| closed(self.file))?;
        drop(jobs);
        let answer = answer.await.map_err(|_| closed(self.file))?;
        answer.map_err(|fault| self.health.tell(self.file, fault))
    }

    /// Finishes what was asked before, then ends the threads.
    pub(crate) async fn stop(&self) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The queue closes once the last sender is gone; each thread then leaves its loop.
        drop(jobs);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (ended, wait) = oneshot::channel();
        let joiner =
            std::thread::Builder::new().name(format!("{} close", self.file)).spawn(move || {
                for thread in threads {
                    let _ = thread.join();
                }
                let _ = ended.send(());
            });
        if joiner.is_ok() {
            let _ = wait.await;
        }
    }
}

fn serve(conn: &Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // One thread waits for the next job, the others wait for its place.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        job(conn);
    }
}
