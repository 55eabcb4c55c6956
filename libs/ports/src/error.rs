//! What every port says when it could not do something.

use std::fmt;

/// Result of a port.
pub type Result<T> = std::result::Result<T, Error>;

/// A port could not do what it was asked. Coarse on purpose: a kind exists only where callers act differently.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the caller should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The dependency is away or overloaded; nothing happened. Try again later.
    Unavailable,
    /// It may or may not have happened. Repeat the same write.
    Unknown,
    /// The caller lost the right to do this (its epoch ended). Stop.
    Fenced,
    /// What was given is too large for the adapter. Do not repeat.
    TooLarge,
    /// No space or no quota left. Try again when there is.
    Full,
    /// What was read is damaged. A person must look.
    Corrupt,
    /// Our own bug.
    Bug,
}

impl Error {
    /// Makes an error; `message` says what failed, in lower case and without its cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure once more, for another one of those that it befell; without its cause.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.kind, self.message.clone())
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Unknown | ErrorKind::Full)
    }

    /// Whether it may have happened all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.kind == ErrorKind::Unknown
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
