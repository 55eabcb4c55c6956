//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used. Says where the value came from, what is wrong and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{} line {line} is not TOML: {problem}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// There is no such key.
    #[error("unknown key {key} in {origin}{hint}")]
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where.
        origin: String,
        /// `: did you mean …?`, or `: it is … now`.
        hint: String,
    },
    /// The value has the wrong shape or is out of bounds.
    #[error("{key} in {origin} {problem}")]
    BadValue {
        /// The key's path.
        key: String,
        /// Where the value came from.
        origin: String,
        /// What is wrong and what is allowed; never the value of a secret.
        problem: String,
    },
}
