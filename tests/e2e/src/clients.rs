//! What `make test` sets up besides the binary: client libraries of other languages, and the form of the long tests.

use std::env;
use std::path::PathBuf;

/// Returns the Python interpreter that has the official `standardwebhooks` package; none where it was left out.
#[must_use]
pub fn python() -> Option<PathBuf> {
    env::var_os("POSTRIDER_PY_VENV").map(|venv| PathBuf::from(venv).join("bin/python"))
}

/// Returns the `node_modules` with the official `standardwebhooks` package, for `NODE_PATH`; none where it was left out.
#[must_use]
pub fn node_modules() -> Option<PathBuf> {
    env::var_os("POSTRIDER_NODE_MODULES").map(PathBuf::from)
}

/// Returns the directory of Kafka's jars, with its own tools; none where they were left out.
#[must_use]
pub fn kafka_jars() -> Option<PathBuf> {
    env::var_os("POSTRIDER_KAFKA_JARS").map(PathBuf::from)
}

/// Tells whether to run the long forms (`make test-long`).
#[must_use]
pub fn long_forms() -> bool {
    env::var_os("POSTRIDER_LONG").is_some_and(|value| value == "1")
}
