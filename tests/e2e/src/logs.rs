//! What a process under test printed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Lines of both streams in the order of their arrival. Cheap to clone; clones share the lines.
#[derive(Clone)]
pub(crate) struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Sender<usize>,
}

impl Logs {
    pub(crate) fn new() -> Self {
        Self { lines: Arc::default(), count: watch::Sender::new(0) }
    }

    /// Starts to collect a stream; the task ends with the stream.
    pub(crate) fn collect(
        &self,
        stream: impl AsyncRead + Unpin + Send + 'static,
    ) -> JoinHandle<()> {
        let logs = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                logs.push(String::from_utf8_lossy(&line).into_owned());
            }
        })
    }

    fn push(&self, line: String) {
        self.lock().push(line);
        self.count.send_modify(|count| *count += 1);
    }

    /// Waits for the first line that `find` accepts. Cancel safe: it only looks.
    pub(crate) async fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let mut count = self.count.subscribe();
        loop {
            count.mark_unchanged();
            if let Some(found) = self.lock().iter().find_map(|line| find(line)) {
                return found;
            }
            // The sender lives in `self`.
            let _ = count.changed().await;
        }
    }

    /// Returns all lines so far as one text.
    pub(crate) fn text(&self) -> String {
        self.lock().join("\n")
    }

    /// Returns the last `n` lines as one text.
    pub(crate) fn tail(&self, n: usize) -> String {
        let lines = self.lock();
        lines.iter().skip(lines.len().saturating_sub(n)).cloned().collect::<Vec<_>>().join("\n")
    }

    /// Returns the lines that mean a bug or a call for a human, but for those that contain one of `expected`.
    pub(crate) fn errors(&self, expected: &[String]) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|line| is_error(line) && !expected.iter().any(|e| line.contains(e.as_str())))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells an ERROR line, as text (the level stands after the time) or as JSON, and a panic.
fn is_error(line: &str) -> bool {
    line.split_whitespace().take(3).any(|word| word == "ERROR")
        || line.contains("\"level\":\"ERROR\"")
        || line.contains("panicked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_from_a_mention_of_one() {
        assert!(is_error("2026-01-01T00:00:00Z ERROR postrider: the disk is full"));
        assert!(is_error(r#"{"timestamp":"…","level":"ERROR","message":"the disk is full"}"#));
        assert!(is_error("thread 'main' panicked at src/main.rs:1:1:"));
        assert!(!is_error("2026-01-01T00:00:00Z  INFO postrider: an endpoint answered with ERROR"));
    }

    #[test]
    fn expected_errors_do_not_count() {
        let logs = Logs::new();
        logs.push("ERROR the disk is full".into());
        logs.push("ERROR the moon is full".into());
        assert_eq!(logs.errors(&["the moon".into()]), ["ERROR the disk is full"]);
    }
}
