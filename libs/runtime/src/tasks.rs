//! Tasks that somebody owns.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use crate::Shutdown;

/// Why a group of tasks did not end well. Names the task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The task returned although nobody had asked it to stop.
    #[error("task {0} ended early")]
    EndedEarly(String),
    /// The task returned an error.
    #[error("task {name} failed: {message}")]
    Failed {
        /// The task.
        name: String,
        /// Its error with all causes.
        message: String,
    },
    /// The task panicked: a bug.
    #[error("task {0} panicked")]
    Panicked(String),
    /// The tasks were still running at the drain deadline and were aborted.
    #[error("still running at the drain deadline: {0}")]
    Overdue(String),
}

/// Owns tasks by name and joins them all.
///
/// A task that ends before [`Shutdown`] is cancelled, well or not, cancels it: the others are asked to stop, and
/// [`TaskGroup::run`] names the one that ended. Dropping a group aborts its tasks.
#[derive(Debug)]
pub struct TaskGroup {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, String>,
    shutdown: Shutdown,
}

impl TaskGroup {
    /// Makes an empty group that stops with `shutdown`, and stops it when a task ends early. Give it a child token to keep the
    /// stop inside the group.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), shutdown }
    }

    /// The token that tasks watch.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a task. It should run until the token is cancelled, then finish its work and return.
    pub fn spawn<E: Display>(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let task = async move { task.await.map_err(|error| format!("{error:#}")) };
        let handle = self.tasks.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// Waits until every task has ended. After the token is cancelled they have `drain` left; then they are aborted.
    ///
    /// # Errors
    /// The first task that ended early, failed or panicked, or those that were overdue.
    pub async fn run(mut self, drain: Duration) -> Result<(), TaskError> {
        let mut first_error = None;
        while !self.shutdown.is_cancelled() {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {}
                ended = self.tasks.join_next_with_id() => {
                    let Some(ended) = ended else { return Ok(()) };
                    first_error = self.ended(ended, true);
                    self.shutdown.cancel();
                }
            }
        }
        let drained = tokio::time::timeout(drain, self.drain()).await;
        let drained = drained.unwrap_or_else(|_| {
            let mut names: Vec<_> = self.names.values().cloned().collect();
            names.sort();
            Some(TaskError::Overdue(names.join(", ")))
        });
        self.tasks.shutdown().await;
        first_error.or(drained).map_or(Ok(()), Err)
    }

    async fn drain(&mut self) -> Option<TaskError> {
        let mut first_error = None;
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let error = self.ended(ended, false);
            first_error = first_error.or(error);
        }
        first_error
    }

    fn ended(
        &mut self,
        ended: Result<(Id, Result<(), String>), JoinError>,
        early: bool,
    ) -> Option<TaskError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        match ended {
            Ok((_, Ok(()))) if early => Some(TaskError::EndedEarly(name)),
            Ok((_, Ok(()))) => None,
            Ok((_, Err(message))) => Some(TaskError::Failed { name, message }),
            Err(error) if error.is_panic() => Some(TaskError::Panicked(name)),
            Err(_) => Some(TaskError::EndedEarly(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn until(shutdown: Shutdown) -> Result<(), Infallible> {
        shutdown.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_cancelled_group_ends_well() {
        let shutdown = Shutdown::new();
        let mut group = TaskGroup::new(shutdown.clone());
        group.spawn("reader", until(shutdown.clone()));
        shutdown.cancel();
        assert_eq!(group.run(LONG).await, Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_ends_early_stops_the_others_and_is_named() {
        let shutdown = Shutdown::new();
        let mut group = TaskGroup::new(shutdown.clone());
        group.spawn("reader", until(shutdown.clone()));
        group.spawn("sweeper", async { Ok::<_, Infallible>(()) });
        assert_eq!(group.run(LONG).await, Err(TaskError::EndedEarly("sweeper".into())));
        assert!(shutdown.is_cancelled());
    }

    #[tokio::test]
    async fn a_failure_is_told_with_its_name() {
        let mut group = TaskGroup::new(Shutdown::new());
        group.spawn("reader", async { Err("the store is full") });
        let error = group.run(LONG).await.expect_err("failed");
        assert_eq!(error.to_string(), "task reader failed: the store is full");
    }

    #[tokio::test]
    async fn overdue_tasks_are_aborted_and_named() {
        let shutdown = Shutdown::new();
        let mut group = TaskGroup::new(shutdown.clone());
        group.spawn("stuck", std::future::pending::<Result<(), Infallible>>());
        shutdown.cancel();
        assert_eq!(group.run(Duration::ZERO).await, Err(TaskError::Overdue("stuck".into())));
    }
}
