//! A process after its end, and its next start.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tempfile::TempDir;

use super::{Options, Server};

/// A process that has ended; its data is kept until this is dropped.
pub struct Stopped {
    pub(super) data_dir: Arc<TempDir>,
    pub(super) logs: String,
    pub(super) options: Options,
}

impl Stopped {
    /// Starts it again, in the same way on the same data, on another port.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start(self) -> Result<Server> {
        self.options.start_on(self.data_dir).await
    }

    /// Starts it again on the same data, in another way.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn start_with(self, mut options: Options) -> Result<Server> {
        options.keyspace.clone_from(&self.options.keyspace);
        options.topics.clone_from(&self.options.topics);
        options.start_on(self.data_dir).await
    }

    /// Tries to start it again on its data, in another way.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub async fn try_with(&self, mut options: Options) -> Result<Server> {
        options.keyspace.clone_from(&self.options.keyspace);
        options.topics.clone_from(&self.options.topics);
        options.start_on(Arc::clone(&self.data_dir)).await
    }

    /// Tries to start it again on its data, which has to fail, and returns what it said.
    ///
    /// # Errors
    /// When it starts.
    pub async fn refuses(&self) -> Result<String> {
        match self.options.clone().start_on(Arc::clone(&self.data_dir)).await {
            Ok(server) => Err(anyhow!("it started on {}", server.data_dir().display())),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Returns the directory of its data, to be looked at or damaged.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Returns all that it printed.
    #[must_use]
    pub fn logs(&self) -> &str {
        &self.logs
    }
}
