//! Sealing of secrets at rest.

use async_trait::async_trait;
use bytes::Bytes;

/// Seals and opens key material. The context is bound to what is sealed: opening under another context fails.
///
/// KP-1  `open(seal(plain, context), context)` is `plain`; two seals of the same plain text differ.
/// KP-2  Opening what was changed, cut, or sealed under another context or key is an error and never a panic.
/// KP-3  An error names the key that is missing, never key material.
#[async_trait]
pub trait KeyProvider: Send + Sync + 'static {
    /// Seals `plain` for `context` (tenant, endpoint uid, field and version, joined by `/`).
    ///
    /// # Errors
    /// When the key is not available.
    async fn seal(&self, plain: &[u8], context: &str) -> Result<Bytes, KeyError>;

    /// Opens what [`KeyProvider::seal`] made for the same context.
    ///
    /// # Errors
    /// When the key is not available, or what was sealed is damaged.
    async fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, KeyError>;
}

/// A secret that could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key that sealed it is not here.
    #[error(
        "key {0} is not available: give the process the key file that sealed this data directory"
    )]
    MissingKey(String),
    /// Damaged, or sealed for something else.
    #[error("sealed secret is damaged or belongs to something else")]
    Damaged,
}
